#include "libmagma/lava/map.h"
#include <string.h>

#define MAP_FORMAT 2
#define NAME_MAX_BYTES 63
#define FQDN_MAX_BYTES 255
#define PORT_MAX (G_MAXUINT16 - 2)      /* node port and console come behind it */

static void volcano_free(gpointer p)
{
	MagmaVolcano *v = p;

	g_free(v->name);
	g_free(v->fqdn);
	g_free(v);
}

static MagmaVolcano *volcano_at(const MagmaMap *m, guint i)
{
	return g_ptr_array_index(m->volcanos, i);
}

static MagmaSlice *slice_at(const MagmaMap *m, guint i)
{
	return &g_array_index(m->slices, MagmaSlice, i);
}

MagmaMap *magma_map_new(const guint8 network[16], guint16 copies_wanted)
{
	MagmaMap *m = g_new0(MagmaMap, 1);

	m->refs = 1;
	m->epoch = 1;
	memcpy(m->network, network, sizeof m->network);
	m->copies_wanted = copies_wanted;
	m->copies_kept = 1;
	m->next_id = 1;
	m->volcanos = g_ptr_array_new_with_free_func(volcano_free);
	m->slices = g_array_new(FALSE, TRUE, sizeof(MagmaSlice));
	return m;
}

MagmaMap *magma_map_ref(MagmaMap *m)
{
	g_atomic_int_inc(&m->refs);
	return m;
}

void magma_map_unref(MagmaMap *m)
{
	if (!m || !g_atomic_int_dec_and_test(&m->refs))
		return;
	g_ptr_array_unref(m->volcanos);
	g_array_unref(m->slices);
	g_free(m);
}

MagmaMap *magma_map_copy(const MagmaMap *m)
{
	MagmaMap *c = magma_map_new(m->network, m->copies_wanted);

	for (guint i = 0; i < m->volcanos->len; i++)
		magma_map_add(c, volcano_at(m, i));
	if (m->slices->len)
		g_array_append_vals(c->slices, m->slices->data, m->slices->len);
	c->incarnation = m->incarnation;
	c->epoch = m->epoch;
	c->copies_kept = m->copies_kept;
	c->coordinator = m->coordinator;
	c->next_id = m->next_id;
	c->move = m->move;
	return c;
}

/* The first volcano with an id of at least id; volcanos are in the order of their ids. */
static guint lower_bound(const MagmaMap *m, guint id)
{
	guint lo = 0, hi = m->volcanos->len;

	while (lo < hi) {
		guint mid = lo + (hi - lo) / 2;
		if (volcano_at(m, mid)->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

MagmaVolcano *magma_map_add(MagmaMap *m, const MagmaVolcano *v)
{
	MagmaVolcano *n = g_new(MagmaVolcano, 1);

	*n = *v;
	n->name = g_strdup(v->name);
	n->fqdn = g_strdup(v->fqdn);
	g_ptr_array_insert(m->volcanos, (gint)lower_bound(m, v->id + 1u), n);
	if (v->id >= m->next_id && v->id < G_MAXUINT16)
		m->next_id = v->id + 1;
	return n;
}

MagmaSlice *magma_map_add_slice(MagmaMap *m, const MagmaSlice *s)
{
	g_array_append_vals(m->slices, s, 1);
	if (s->id >= m->next_id && s->id < G_MAXUINT16)
		m->next_id = s->id + 1;
	return slice_at(m, m->slices->len - 1);
}

static int by_id(gconstpointer a, gconstpointer b)
{
	const MagmaVolcano *x = *(MagmaVolcano *const *)a, *y = *(MagmaVolcano *const *)b;
	return (int)x->id - (int)y->id;
}

static int by_range(gconstpointer a, gconstpointer b)
{
	const MagmaSlice *x = a, *y = b;
	return magma_key_cmp(&x->range.lo, &y->range.lo);
}

static gboolean name_is_valid(const char *s)
{
	gsize n = s ? strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") : 0;
	return n >= 1 && n <= NAME_MAX_BYTES && s[n] == '\0';
}

static gboolean fqdn_is_valid(const char *s)
{
	gsize n = 0;

	while (s && g_ascii_isgraph(s[n]))
		n++;
	return n >= 1 && n <= FQDN_MAX_BYTES && s[n] == '\0';
}

static const char *check_volcano(const MagmaVolcano *v)
{
	if (v->id == 0)
		return "a volcano has the number 0";
	if (v->state != MAGMA_JOINING && v->state != MAGMA_ACTIVE)
		return "a volcano has an unknown state";
	if (v->flags & ~(MAGMA_VOLCANO_DOWN | MAGMA_VOLCANO_VOTER))
		return "a volcano has an unknown flag";
	if (!name_is_valid(v->name))
		return "a volcano's name is not 1 to 63 letters, digits, '.', '_' or '-'";
	if (!fqdn_is_valid(v->fqdn))
		return "a volcano's fully qualified name is not 1 to 255 printable characters";
	if ((v->addr.family != 4 && v->addr.family != 6) || v->addr.port == 0 || v->addr.port > PORT_MAX)
		return "a volcano's address is not one";
	return NULL;
}

static const char *check_volcanos(const MagmaMap *m)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) fqdns = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) addrs = g_hash_table_new(magma_addr_hash, (GEqualFunc)magma_addr_equal);

	if (m->volcanos->len > MAGMA_VOLCANOS_MAX)
		return "too many volcanos";
	for (guint i = 0; i < m->volcanos->len; i++) {
		MagmaVolcano *v = volcano_at(m, i);
		const char *broken = check_volcano(v);
		if (broken)
			return broken;
		if (i && volcano_at(m, i - 1)->id == v->id)
			return "two volcanos have the same number";
		if (v->id >= m->next_id)
			return "a volcano's number is not below the next one to give out";
		if (!g_hash_table_add(names, v->name))
			return "two volcanos have the same name";
		if (!g_hash_table_add(fqdns, v->fqdn))
			return "two volcanos have the same fully qualified name";
		if (!g_hash_table_add(addrs, &v->addr))
			return "two volcanos have the same address";
	}
	if (m->coordinator && !magma_map_by_id(m, m->coordinator))
		return "the coordinator is not among the volcanos";
	return NULL;
}

static const char *check_copies(const MagmaMap *m, const MagmaSlice *s)
{
	if (s->ncopies > MAGMA_COPIES_MAX)
		return "a slice has too many copies";
	for (guint i = 0; i < s->ncopies; i++) {
		if (!magma_map_by_id(m, s->copies[i].volcano) || s->copies[i].volcano == s->owner)
			return "a slice has a copy that is nowhere, or where its owner is";
		for (guint k = 0; k < i; k++)
			if (s->copies[k].volcano == s->copies[i].volcano)
				return "a slice has two copies in one place";
	}
	return NULL;
}

static const char *check_slice(const MagmaMap *m, const MagmaSlice *s)
{
	const MagmaVolcano *home = magma_map_by_id(m, s->home), *owner = magma_map_by_id(m, s->owner);

	if (s->id == 0 || s->id >= m->next_id || s->epoch == 0)
		return "a slice's number or epoch is not one";
	if (!home || home->state != MAGMA_ACTIVE)
		return "a slice is at home where no volcano is, or at one that is still joining";
	if (!owner)
		return "a slice's owner is not among the volcanos";
	if (magma_key_cmp(&s->range.lo, &s->range.hi) > 0)
		return "a slice ends before it begins";
	return check_copies(m, s);
}

static const char *check_tiling(const MagmaMap *m)
{
	MagmaKey want = MAGMA_KEY_MIN;
	gboolean more = TRUE;   /* keys from want on are still without an owner */

	for (guint i = 0; i < m->slices->len; i++) {
		const MagmaRange *s = &slice_at(m, i)->range;
		if (!more || magma_key_cmp(&s->lo, &want) < 0)
			return "two slices overlap";
		if (!magma_key_equal(&s->lo, &want))
			return "there is a gap between two slices";
		more = magma_key_next(&s->hi, &want);
	}
	return m->slices->len && more ? "the last slice does not reach the end of the keyspace" : NULL;
}

static const char *check_slices(const MagmaMap *m)
{
	g_autoptr(GHashTable) ids = g_hash_table_new(NULL, NULL), homes = g_hash_table_new(NULL, NULL);
	const char *broken;

	for (guint i = 0; i < m->slices->len; i++) {
		const MagmaSlice *s = slice_at(m, i);
		if ((broken = check_slice(m, s)))
			return broken;
		if (!g_hash_table_add(ids, GUINT_TO_POINTER(s->id)))
			return "two slices have the same number";
		if (!g_hash_table_add(homes, GUINT_TO_POINTER(s->home)))
			return "two slices are at home at one volcano";
	}
	for (guint i = 0; i < m->volcanos->len; i++)
		if (volcano_at(m, i)->state == MAGMA_ACTIVE && !g_hash_table_contains(homes, GUINT_TO_POINTER(volcano_at(m, i)->id)))
			return "a volcano that is not joining has no slice";
	return check_tiling(m);
}

/* Of numbers within an incarnation of the group the lower bits grow alike, and a network in which somebody may join gets no other. */
static guint64 part_epoch(guint64 move) { return move & MAGMA_EPOCH_FIRST_MAX; }

static const char *check_move(const MagmaMap *m)
{
	const MagmaSlice *from = magma_map_slice_by_id(m, m->move.from);
	const MagmaVolcano *to = magma_map_by_id(m, m->move.to);

	if (m->move.id == 0)
		return NULL;
	if (!from || !to || from->owner == to->id)
		return "a move is not of a slice to another volcano";
	if (magma_key_cmp(&m->move.range.lo, &m->move.range.hi) > 0 || !magma_range_has(&from->range, &m->move.range.lo)
		|| !magma_range_has(&from->range, &m->move.range.hi))
		return "a move is not of a part of its source's slice";
	if (m->move.part.id == 0 || m->move.part.id >= m->next_id || magma_map_slice_by_id(m, m->move.part.id) || m->move.part.owner != m->move.to)
		return "a move is to a slice that is there already, or not its target's";
	if (m->move.part.epoch != part_epoch(m->move.id))
		return "the epoch of what moves is not the number of the move";
	return check_copies(m, &m->move.part);
}

const char *magma_map_seal(MagmaMap *m)
{
	const char *broken;

	g_ptr_array_sort(m->volcanos, by_id);
	g_array_sort(m->slices, by_range);
	if ((broken = check_volcanos(m)) || (broken = check_slices(m)))
		return broken;
	return check_move(m);
}

void magma_map_number_move(MagmaMap *m)
{
	m->move.id = m->epoch + 1;
	m->move.part.epoch = part_epoch(m->move.id);
}

MagmaSlice *magma_map_part(MagmaMap *m, guint16 id)
{
	return m->move.id && m->move.part.id == id ? &m->move.part : (MagmaSlice *)magma_map_slice_by_id(m, id);
}

/* Where in the ring the slice with key is; the ring is not empty. */
static guint slice_find(const MagmaMap *m, const MagmaKey *key)
{
	guint lo = 0, hi = m->slices->len;      /* the slice is in [lo, hi) */

	while (hi - lo > 1) {
		guint mid = lo + (hi - lo) / 2;
		if (magma_key_cmp(&slice_at(m, mid)->range.lo, key) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

const MagmaSlice *magma_map_slice(const MagmaMap *m, const MagmaKey *key)
{
	return m->slices->len ? slice_at(m, slice_find(m, key)) : NULL;
}

const MagmaVolcano *magma_map_route(const MagmaMap *m, const MagmaKey *key)
{
	const MagmaSlice *s = magma_map_slice(m, key);
	return s ? magma_map_by_id(m, s->owner) : NULL;
}

const MagmaSlice *magma_map_slice_by_id(const MagmaMap *m, guint16 id)
{
	for (guint i = 0; i < m->slices->len; i++)
		if (slice_at(m, i)->id == id)
			return slice_at(m, i);
	return NULL;
}

const MagmaSlice *magma_map_home(const MagmaMap *m, guint16 volcano)
{
	for (guint i = 0; i < m->slices->len; i++)
		if (slice_at(m, i)->home == volcano)
			return slice_at(m, i);
	return NULL;
}

const MagmaVolcano *magma_map_by_id(const MagmaMap *m, guint16 id)
{
	guint i = lower_bound(m, id);
	return i < m->volcanos->len && volcano_at(m, i)->id == id ? volcano_at(m, i) : NULL;
}

const MagmaVolcano *magma_map_by_name(const MagmaMap *m, const char *name)
{
	for (guint i = 0; i < m->volcanos->len; i++)
		if (strcmp(volcano_at(m, i)->name, name) == 0)
			return volcano_at(m, i);
	return NULL;
}

const MagmaVolcano *magma_map_after(const MagmaMap *m, const MagmaVolcano *v)
{
	const MagmaSlice *s = magma_map_home(m, v->id);

	if (!s)
		return v;
	guint i = slice_find(m, &s->range.lo);
	return magma_map_by_id(m, slice_at(m, (i + 1) % m->slices->len)->home);
}

static void put_text(GByteArray *out, const char *s)
{
	gsize n = strlen(s);

	g_assert(n <= G_MAXUINT8);
	magma_put_u8(out, (guint8)n);
	magma_put_bytes(out, s, n);
}

/* A new string; "" (which no rule lets pass) for an error or a NUL inside. */
static char *get_text(MagmaReader *r)
{
	gsize n = magma_get_u8(r);
	const guint8 *p = magma_get_bytes(r, n);

	if (!p || memchr(p, '\0', n))
		return g_strdup("");
	return g_strndup((const char *)p, n);
}

static void put_copies(GByteArray *out, const MagmaSlice *s)
{
	magma_put_u8(out, (guint8)s->ncopies);
	for (guint i = 0; i < s->ncopies; i++) {
		magma_put_u16(out, s->copies[i].volcano);
		magma_put_u8(out, s->copies[i].in_sync ? 1 : 0);
	}
}

static void get_copies(MagmaReader *r, MagmaSlice *s)
{
	s->ncopies = magma_get_u8(r);
	if (s->ncopies > MAGMA_COPIES_MAX) {
		s->ncopies = 0;
		r->error = TRUE;
	}
	for (guint i = 0; i < s->ncopies; i++) {
		s->copies[i].volcano = magma_get_u16(r);
		guint8 in_sync = magma_get_u8(r);
		if (in_sync > 1)
			r->error = TRUE;
		s->copies[i].in_sync = in_sync;
	}
}

static void put_range(GByteArray *out, const MagmaRange *r)
{
	magma_put_key(out, &r->lo);
	magma_put_key(out, &r->hi);
}

static MagmaRange get_range(MagmaReader *r)
{
	MagmaRange g;

	g.lo = magma_get_key(r);
	g.hi = magma_get_key(r);
	return g;
}

static void put_volcano(GByteArray *out, const MagmaVolcano *v)
{
	magma_put_u16(out, v->id);
	magma_put_u8(out, (guint8)v->state);
	magma_put_u8(out, v->flags);
	put_text(out, v->name);
	put_text(out, v->fqdn);
	magma_put_addr(out, &v->addr);
	magma_put_u32(out, v->bandwidth);
	magma_put_u64(out, v->offered);
}

static void get_volcano(MagmaReader *r, MagmaMap *m)
{
	MagmaVolcano *v = g_new0(MagmaVolcano, 1);

	v->id = magma_get_u16(r);
	if (m->volcanos->len && v->id <= volcano_at(m, m->volcanos->len - 1)->id)
		r->error = TRUE;        /* in order, so that a map has one encoding */
	v->state = magma_get_u8(r);
	v->flags = magma_get_u8(r);
	v->name = get_text(r);
	v->fqdn = get_text(r);
	magma_get_addr(r, &v->addr);
	v->bandwidth = magma_get_u32(r);
	v->offered = magma_get_u64(r);
	g_ptr_array_add(m->volcanos, v);
}

static void put_slice(GByteArray *out, const MagmaSlice *s)
{
	magma_put_u16(out, s->id);
	put_range(out, &s->range);
	magma_put_u16(out, s->home);
	magma_put_u16(out, s->owner);
	magma_put_u64(out, s->epoch);
	put_copies(out, s);
}

static void get_slice(MagmaReader *r, MagmaMap *m)
{
	MagmaSlice s = { .id = magma_get_u16(r) };

	s.range = get_range(r);
	s.home = magma_get_u16(r);
	s.owner = magma_get_u16(r);
	s.epoch = magma_get_u64(r);
	if (m->slices->len && magma_key_cmp(&s.range.lo, &slice_at(m, m->slices->len - 1)->range.lo) <= 0)
		r->error = TRUE;        /* in order, so that a map has one encoding */
	get_copies(r, &s);
	g_array_append_val(m->slices, s);
}

void magma_map_encode(const MagmaMap *m, GByteArray *out)
{
	magma_put_u8(out, MAP_FORMAT);
	magma_put_u32(out, m->incarnation);
	magma_put_u64(out, m->epoch);
	magma_put_bytes(out, m->network, sizeof m->network);
	magma_put_u16(out, m->copies_wanted);
	magma_put_u16(out, m->copies_kept);
	magma_put_u16(out, m->coordinator);
	magma_put_u16(out, m->next_id);
	magma_put_u64(out, m->move.id);
	if (m->move.id) {
		magma_put_u16(out, m->move.from);
		magma_put_u16(out, m->move.to);
		put_range(out, &m->move.range);
		magma_put_u16(out, m->move.part.id);
		put_copies(out, &m->move.part);
	}
	magma_put_u16(out, (guint16)m->volcanos->len);
	for (guint i = 0; i < m->volcanos->len; i++)
		put_volcano(out, volcano_at(m, i));
	magma_put_u16(out, (guint16)m->slices->len);
	for (guint i = 0; i < m->slices->len; i++)
		put_slice(out, slice_at(m, i));
}

MagmaMap *magma_map_decode(const guint8 *p, gsize n)
{
	MagmaReader r = magma_reader(p, n);
	guint8 format = magma_get_u8(&r);
	guint32 incarnation = magma_get_u32(&r);
	guint64 epoch = magma_get_u64(&r);
	const guint8 *network = magma_get_bytes(&r, 16);
	guint16 copies_wanted = magma_get_u16(&r);
	guint count;

	if (r.error || format != MAP_FORMAT)
		return NULL;
	g_autoptr(MagmaMap) m = magma_map_new(network, copies_wanted);
	m->incarnation = incarnation;
	m->epoch = epoch;
	m->copies_kept = magma_get_u16(&r);
	m->coordinator = magma_get_u16(&r);
	m->next_id = magma_get_u16(&r);
	m->move.id = magma_get_u64(&r);
	if (m->move.id) {
		m->move.from = magma_get_u16(&r);
		m->move.to = magma_get_u16(&r);
		m->move.range = get_range(&r);
		m->move.part = (MagmaSlice){ .id = magma_get_u16(&r), .range = m->move.range, .home = m->move.to, .owner = m->move.to, .epoch = part_epoch(m->move.id) };
		get_copies(&r, &m->move.part);
	}
	count = magma_get_u16(&r);
	if (count > MAGMA_VOLCANOS_MAX)
		return NULL;
	for (guint i = 0; i < count && !r.error; i++)
		get_volcano(&r, m);
	count = magma_get_u16(&r);
	if (count > MAGMA_VOLCANOS_MAX)
		return NULL;
	for (guint i = 0; i < count && !r.error; i++)
		get_slice(&r, m);
	if (r.error || r.left || magma_map_seal(m))
		return NULL;
	return g_steal_pointer(&m);
}
