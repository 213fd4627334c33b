/* /.dht/NICKNAME: what a volcano is, in words. From the map, and from what the volcano itself says to STATUS. The text is made when a client looks (lookup, stat, open) and kept for that client: what it
 * then reads has the size that it was told, or a kernel that reads by sizes would cut it. */
#include "magmad/core/consensus.h"
#include "magmad/core/dht.h"

#define FRESH SECOND                  /* a text this old does for another look: ls -l looks several times */
#define KEPT (60 * SECOND)            /* for who still reads */
#define KEPT_MAX 4096                 /* texts of about 1 KiB */

typedef struct {
	guint64 id[2];                /* client, volcano */
	Volcano *v;
	GBytes *text;                 /* NULL: none yet */
	MagmaTs made_real;
	MagmaTime made;
	gboolean asking;
	Waitq wait;
} Profile;

/* --- the text --- */

#define N "%" G_GUINT64_FORMAT

static const MagmaSlice *slice_at(const MagmaMap *map, guint i) { return &g_array_index(map->slices, MagmaSlice, i); }

static const char *name_of(const MagmaMap *map, guint16 id)
{
	const MagmaVolcano *o = magma_map_by_id(map, id);

	return o ? o->name : "?";
}

static const MagmaCopy *copy_of(const MagmaSlice *s, guint16 id)
{
	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].volcano == id)
			return &s->copies[i];
	return NULL;
}

static void put_slice(const MagmaMap *map, const MagmaSlice *s, guint16 id, GString *out)
{
	const MagmaCopy *copy = copy_of(s, id);
	char lo[MAGMA_KEY_HEX], hi[MAGMA_KEY_HEX];

	if (s->owner != id && !copy)
		return;
	g_string_append_printf(out, "slice: %u of %s, %s, epoch " N "\n", s->id, name_of(map, s->home), s->owner == id ? (s->home == id ? "owner" : "acting") : copy->in_sync ? "copy in sync" : "copy not in sync", s->epoch);
	g_string_append_printf(out, "start: %s\nstop: %s\n", magma_key_to_hex(&s->range.lo, lo), magma_key_to_hex(&s->range.hi, hi));
	if (s->owner != id)
		g_string_append_printf(out, "owner: %s\n", name_of(map, s->owner));
	for (guint i = 0; s->owner == id && i < s->ncopies; i++)
		g_string_append_printf(out, "mirror: %s, %s\n", name_of(map, s->copies[i].volcano), s->copies[i].in_sync ? "in sync" : "not in sync");
}

static void put_live(const struct magma_rep_status *st, GString *out)
{
	g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc((gint64)MIN(st->started, (guint64)1 << 36));
	g_autofree char *started = t ? g_date_time_format(t, "%Y-%m-%dT%H:%M:%SZ") : g_strdup("?");
	g_autofree char *software = g_utf8_make_valid((const char *)st->software.data, st->software.len);

	g_string_append_printf(out, "version: %s\nstarted: %s\nclients: " N "\nkeys: " N "\n", software, started, st->clients, st->keys);
	g_string_append_printf(out, "used: " N " bytes\nfree: " N " bytes\n", st->used, st->free);
}

void dht_profile_text(const MagmaMap *map, const MagmaVolcano *o, guint16 leader, const struct magma_rep_status *st, GString *out)
{
	g_autofree char *roles = magma_volcano_roles(map, o, leader);
	gboolean down = (o->flags & MAGMA_VOLCANO_DOWN) != 0;
	char addr[MAGMA_ADDR_TEXT];

	g_string_append_printf(out, "node: %s\nfqdn: %s\naddress: %s\n", o->name, o->fqdn, magma_addr_format_ip(&o->addr, addr));
	g_string_append_printf(out, "flare_port: %u\nnode_port: %u\nconsole_port: %u\n", o->addr.port, o->addr.port + 1, o->addr.port + 2);
	g_string_append_printf(out, "id: %u\nstate: %s\nvote: %s\nrole: %s\n", o->id, down ? "down" : st ? "up" : "silent", o->flags & MAGMA_VOLCANO_VOTER ? "voter" : "learner", roles[0] ? roles : "-");
	g_string_append_printf(out, "bandwidth: %u Kbit/s\noffered: " N " bytes\n", o->bandwidth, o->offered);
	if (st && !down)
		put_live(st, out);
	g_string_append_printf(out, "epoch: " N "\n", map->epoch);
	for (guint i = 0; i < map->slices->len; i++)
		put_slice(map, slice_at(map, i), o->id, out);
}

/* --- kept for each client --- */

static void profile_free(gpointer p)
{
	Profile *f = p;

	if (f->text)
		g_bytes_unref(f->text);
	g_queue_clear(&f->wait.waiters);
	g_free(f);
}

static gboolean is_old(gpointer key, gpointer value, gpointer now)
{
	const Profile *f = value;

	return !f->asking && g_queue_is_empty((GQueue *)&f->wait.waiters) && f->made + KEPT < *(const MagmaTime *)now;
}

static Profile *profile_get(Op *op, guint16 volcano)
{
	Volcano *v = op->v;
	guint64 id[2] = { op->hdr.client, volcano };
	MagmaTime now = core_now(v);

	if (!v->profiles)
		v->profiles = g_hash_table_new_full(core_pair_hash, core_pair_equal, NULL, profile_free);
	Profile *f = g_hash_table_lookup(v->profiles, id);
	if (f)
		return f;
	if (g_hash_table_size(v->profiles) % 64 == 63 || g_hash_table_size(v->profiles) >= KEPT_MAX)
		g_hash_table_foreach_remove(v->profiles, is_old, &now);
	if (g_hash_table_size(v->profiles) >= KEPT_MAX)
		return NULL;
	f = g_new0(Profile, 1);
	f->v = v;
	f->id[0] = id[0];
	f->id[1] = id[1];
	g_hash_table_insert(v->profiles, f->id, f);
	return f;
}

static void profile_made(Profile *f, const struct magma_rep_status *st)
{
	Volcano *v = f->v;
	const MagmaVolcano *o = v->map ? magma_map_by_id(v->map, (guint16)f->id[1]) : NULL;

	if (f->text)
		g_bytes_unref(f->text);
	f->text = NULL;
	f->made = core_now(v);
	f->made_real = v->io->real(v->iou);
	if (o) {
		GString *text = g_string_new("");
		dht_profile_text(v->map, o, consensus_leader(v), st, text);
		f->text = g_string_free_to_bytes(text);
	}
}

static void profile_answered(void *user, gboolean alive, const struct magma_rep_status *st)
{
	Profile *f = user;

	core_enter(f->v);
	f->asking = FALSE;
	profile_made(f, alive ? st : NULL);
	waitq_wake(NULL, &f->wait);
	core_leave(f->v);
}

int dht_profile(Op *op, guint16 volcano, gboolean fresh, DhtText *out)
{
	const MagmaVolcano *o = magma_map_by_id(op->v->map, volcano);
	MagmaTime now = core_now(op->v);
	Profile *f = o ? profile_get(op, volcano) : NULL;

	if (!f)
		return o ? EAGAIN : ESTALE;
	if (!f->text || f->made + (fresh ? FRESH : KEPT) < (fresh ? op->started : now)) {
		if (!(o->flags & MAGMA_VOLCANO_DOWN)) {
			op_park(op, &f->wait);
			if (!f->asking) {
				f->asking = TRUE;
				volcano_ask_status(op->v, volcano, profile_answered, f);
			}
			return WAIT;
		}
		profile_made(f, NULL);
	}
	if (!f->text)
		return ESTALE;
	*out = (DhtText){ f->text, f->made_real };
	return 0;
}

void dht_clear(Volcano *v)
{
	g_clear_pointer(&v->profiles, g_hash_table_unref);
	dht_holders_clear(v);
}
