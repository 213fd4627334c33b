/* The model against what another owner has of the slice, and against all copies at the end. */
#include "tests/sim/mirror_load_inside.h"

/* --- another owner --- */

static const MemRow *row_of(const MNode *node, StoreTable table, const void *key, gsize klen)
{
	RowKey k = memrow_key(table, key, klen);

	return g_tree_lookup(node->disk->rows, &k);
}

static gboolean has_change(const MNode *node, guint64 id)
{
	guint8 key[8];

	load_be64(key, id);
	return row_of(node, TAB_REPLY, key, 8) != NULL;
}

static void check_rows(Load *l, const MNode *node)
{
	guint64 expect[ROWS] = { 0 };

	for (guint i = 0; i < l->history->len; i++) {
		const Change *c = &g_array_index(l->history, Change, i);
		for (guint k = 0; k < c->n; k++)
			expect[c->rows[k] & 0x7f] = c->rows[k] & 0x80 ? 0 : c->id;
	}
	for (guint i = 0; i < ROWS; i++) {
		guint8 key[16] = "counter ";
		key[8] = i;
		const MemRow *r = row_of(node, TAB_ENTRY, key, 9);
		guint64 has = r && r->vlen == 8 ? magma_be64_load(r->val) : 0;
		if (has != expect[i])
			world_fail(load_world(l), "row %u at volcano %u is of %" G_GUINT64_FORMAT ", not of %" G_GUINT64_FORMAT, i, node->i + 1, has, expect[i]);
	}
}

/* What survived is a beginning of the line, and has all that was acknowledged. */
static void inherit(Load *l, const MNode *node)
{
	guint kept = 0;

	for (guint i = 0; i < l->history->len; i++) {
		Change *c = &g_array_index(l->history, Change, i);
		gboolean has = has_change(node, c->id);
		if (!has && (l->power_failed ? c->durable : c->acked))
			world_fail(load_world(l), "transaction %" G_GUINT64_FORMAT " (index %" G_GUINT64_FORMAT ") was promised; volcano %u does not have it", c->id, c->index, node->i + 1);
		if (has && kept < i) {
			const Change *m = &g_array_index(l->history, Change, kept);
			world_fail(load_world(l), "volcano %u has transaction %" G_GUINT64_FORMAT " (index %" G_GUINT64_FORMAT "), and not %" G_GUINT64_FORMAT " (index %" G_GUINT64_FORMAT "); it ends at %" G_GUINT64_FORMAT, node->i + 1, c->id, c->index, m->id, m->index, node->disk->pos.index);
		}
		kept += has;
		if (!has)
			g_array_append_val(l->gone, c->id);
	}
	g_array_set_size(l->history, kept);
	check_rows(l, node);
}

gboolean load_may_own(const Load *l, const MNode *node)
{
	for (guint i = 0; i < l->gone->len; i++)
		if (has_change(node, g_array_index(l->gone, guint64, i)))
			return FALSE;
	return TRUE;
}

static guint64 flare_size(const MNode *node, const Flare *f, gboolean *exists)
{
	guint8 ino[8];
	FlareRow row;

	load_be64(ino, f->fid.ino);
	const MemRow *r = row_of(node, TAB_FLARE, ino, 8);
	*exists = r != NULL;
	return r && flare_row_decode(r->val, r->vlen, &row) ? row.attr.size : 0;
}

static void resolve_next(Flare *f);

/* What the new owner shows of a content, against what it may be. */
static void resolved(void *user, int error, GBytes *data)
{
	Flare *f = flare_redeem(user);
	gsize n;

	if (!f)
		return;
	Load *l = f->l;
	if (f->bytes->len <= MAGMA_DATA_MAX)      /* nobody asks for more at once but this test */
		load_check_unread(f, error);
	if (error) {                  /* nobody has it: as if the disk thought better of it */
		memdisk_read_again(l->n->nodes[l->n->owner].disk);
		store_content_read(mnet_store(l->n), &f->fid, 0, MAX(f->bytes->len, 1), resolved, flare_ticket(f));
		return;
	}
	const guint8 *p = g_bytes_get_data(data, &n);
	for (gsize i = 0; i < f->bytes->len; i++) {
		guint8 got = i < n ? p[i] : 0, *old = &f->bytes->data[i];
		gboolean touched = f->after && i >= f->touched_lo && i < f->touched_hi;
		guint8 new = f->after && i < f->after->len ? f->after->data[i] : 0;
		if ((touched && f->kind == DROP) || f->found) {
			*old = got;
			continue;
		}
		if (got != *old && !(touched && got == new) && !left_may(f, i, got))
			world_fail(load_world(l), "flare %" G_GUINT64_FORMAT " has %02x at %" G_GSIZE_FORMAT " under the new owner, not %02x", f->fid.ino, got, i, *old);
		if (touched && f->seen && i < f->seen->len && f->seen->data[i] && got != new)
			world_fail(load_world(l), "flare %" G_GUINT64_FORMAT " had shown %02x at %" G_GSIZE_FORMAT ", and it is gone", f->fid.ino, new, i);
		*old = got;
	}
	left_known(f, 0, f->bytes->len);
	f->stage = RESOLVED;
	if (f->found && f->exists) {
		/* intents that were not on disk are gone too, so the copies may differ and nobody knows: not for the copies to mend */
		flare_end(f);
		f->found = FALSE;
		flare_begin(f, DROP);
		return;
	}
	f->found = FALSE;
	resolve_next(f);
}

static void tail_cut(void *user, int error)
{
	Flare *f = flare_redeem(user);

	if (!f)
		return;
	if (!error)
		left_known(f, f->bytes->len, G_MAXUINT64);
	flare_end(f);
}

/* As gc.c does after a start: a truncation that was noted is completed, a drop is done again, and what is behind the row's size is cut. */
static void resolve_next(Flare *f)
{
	Load *l = f->l;
	Kind kind = f->kind;
	gboolean noted = f->noted, drop = f->lost && kind == DROP && f->exists;
	guint64 off = f->off;

	flare_end(f);
	if (noted && off <= f->bytes->len) {
		f->kind = TRUNCATE;
		f->off = off;
		f->len = 0;
		flare_apply(f);
		f->noted = TRUE;
		f->stage = INTENT;
		f->index = 0;
		flare_go_on(f);
	} else if (drop) {
		flare_begin(f, DROP);
	} else {
		f->stage = RESOLVING;
		store_content_truncate(mnet_store(l->n), &f->fid, f->bytes->len, tail_cut, flare_ticket(f));
	}
}

static void cleared(void *user, int error)
{
	Flare *f = flare_redeem(user);

	if (!f || error || f->stage != RESOLVING || f->noted || f->after)
		return;
	Txn *t = txn_new();
	load_put_dirty(t, f, FALSE, G_MAXUINT64);
	f->dirty = FALSE;
	load_commit(f->l, t, 0);
}

/* After a power cut everywhere only what was synced is promised; of the rest it is as it is found. */
static void flare_found(Flare *f, const MNode *node)
{
	guint8 ino[8];

	load_be64(ino, f->fid.ino);
	flare_end(f);
	if (f->durable)
		return;
	f->content_durable = FALSE;
	guint64 size = flare_size(node, f, &f->exists);
	flare_resize(f->bytes, f->exists ? size : 0);
	const MemRow *dirty = row_of(node, TAB_DIRTY, ino, 8);
	f->dirty = dirty != NULL;
	f->found = TRUE;
}

static void flare_inherit(Flare *f, const MNode *node)
{
	guint8 ino[8];
	gboolean exists, was_running = f->stage == INTENT || f->stage == RUNNING || f->stage == COMMITTED;

	load_be64(ino, f->fid.ino);
	if (f->l->power_failed || f->found) {
		flare_found(f, node);
		was_running = FALSE;
	}
	guint64 size = flare_size(node, f, &exists);
	const MemRow *dirty = row_of(node, TAB_DIRTY, ino, 8);
	f->dirty = dirty != NULL;
	if (f->stage == RESOLVING && f->after)
		was_running = TRUE;   /* nobody has looked at it yet */
	if (f->adopted && !has_change(node, f->txn)) {
		g_byte_array_unref(f->bytes);
		f->bytes = g_steal_pointer(&f->old);
		f->exists = f->old_exists;
		f->adopted = FALSE;
	} else if (f->stage == COMMITTED && has_change(node, f->txn)) {
		f->old = f->bytes;
		f->old_exists = f->exists;
		f->bytes = g_byte_array_ref(f->after);
		f->exists = f->kind != DROP;
		f->adopted = TRUE;
	}
	if (f->row_adopted && !f->adopted && !exists)
		f->row_adopted = f->exists = FALSE;
	if (!was_running)
		flare_end(f);
	f->lost = f->after != NULL;
	f->noted = f->lost && !f->adopted && f->kind == TRUNCATE && dirty && dirty->vlen == 8;
	if (f->lost && f->kind == TRUNCATE && !f->noted && !f->adopted)
		flare_end(f);            /* it had not begun */
	if (f->lost && !f->exists && exists && !f->adopted)
		f->row_adopted = f->exists = TRUE;
	if (exists != f->exists || (exists && size != f->bytes->len))
		world_fail(f->l->n->w, "flare %" G_GUINT64_FORMAT " %s with %" G_GUINT64_FORMAT " bytes, not %u", f->fid.ino, exists ? "is there" : "is gone", size, f->bytes->len);
	f->stage = RESOLVING;
	f->index = 0;
	store_content_read(mnet_store(f->l->n), &f->fid, 0, MAX(f->bytes->len, 1), resolved, flare_ticket(f));
	if (f->dirty && !f->after && world_chance(load_world(f->l), 1, 3))      /* as gc.c clears at leisure */
		store_content_sync(mnet_store(f->l->n), &f->fid, cleared, flare_ticket(f));
}

void load_on_lost(void *user)
{
	Load *l = user;

	l->generation++;
	/* an operation on a flare that was being looked at has not begun */
}

void load_on_owner(void *user)
{
	Load *l = user;
	const MNode *node = &l->n->nodes[l->n->owner];

	l->generation++;
	inherit(l, node);
	for (guint i = 0; i < FLARES; i++)
		flare_inherit(&l->flares[i], node);
	l->power_failed = FALSE;
}

void load_power_failed(Load *l)
{
	l->power_failed = TRUE;
	for (guint i = 0; i < l->history->len; i++) {
		Change *c = &g_array_index(l->history, Change, i);
		c->acked = c->durable;
	}
}

void load_fenced(Load *l, Store *s)
{
	guint n = world_pick(load_world(l), 5);

	while (n--) {
		Txn *t = txn_new();
		guint8 key[8];
		load_be64(key, ++l->next_id);
		g_array_append_val(l->gone, l->next_id);
		txn_put(t, TAB_REPLY, key, 8, NULL, "", 0);
		store_commit(s, t);
	}
}

/* --- at the end --- */

typedef struct {
	Load *l;
	const MNode *a, *b;
} Comparing;

static gboolean own_row(const MemRow *r) { return r->key.table == TAB_META; }

static gboolean compare_row(gpointer key, gpointer value, gpointer user)
{
	Comparing *c = user;
	const MemRow *r = value, *other = g_tree_lookup(c->b->disk->rows, key);

	if (own_row(r))
		return FALSE;
	if (!other || other->vlen != r->vlen || (r->vlen && memcmp(other->val, r->val, r->vlen)) || magma_key_cmp(&other->rk, &r->rk))
		world_fail(load_world(c->l), "a row of table %u at volcano %u is %s at volcano %u", r->key.table, c->a->i + 1, other ? "another" : "missing", c->b->i + 1);
	return FALSE;
}

static void check_content(Load *l, const MNode *node, const Flare *f)
{
	const MemFile *file = g_hash_table_lookup(node->disk->files, &f->fid);

	if (!f->exists) {
		if (file && file->live && !l->n->power_cuts)       /* a power cut may bring back what was dropped: rubbish, not harm */
			world_fail(load_world(l), "flare %" G_GUINT64_FORMAT " is gone, and volcano %u still has its content", f->fid.ino, node->i + 1);
		return;
	}
	gsize n = 0;
	g_autoptr(GBytes) data = file && file->live ? memcontent_read(file->live, 0, f->bytes->len) : NULL;
	const guint8 *p = data ? g_bytes_get_data(data, &n) : NULL;
	for (gsize i = 0; i < f->bytes->len; i++) {
		guint8 got = i < n ? p[i] : 0;
		if (got != f->bytes->data[i])
			world_fail(load_world(l), "at the end flare %" G_GUINT64_FORMAT " has %02x at %" G_GSIZE_FORMAT " at volcano %u, not %02x", f->fid.ino, got, i, node->i + 1, f->bytes->data[i]);
	}
	if (file && file->live && memcontent_size(file->live) > f->bytes->len)
		world_fail(load_world(l), "at the end flare %" G_GUINT64_FORMAT " is %" G_GUINT64_FORMAT " long at volcano %u, not %u", f->fid.ino, memcontent_size(file->live), node->i + 1, f->bytes->len);
}

void load_check_all(Load *l)
{
	MNet *n = l->n;

	for (guint i = 0; i < n->cfg.nodes; i++) {
		const MNode *a = &n->nodes[i], *b = &n->nodes[(i + 1) % n->cfg.nodes];
		Comparing c = { l, a, b };
		check_rows(l, a);
		g_tree_foreach(a->disk->rows, compare_row, &c);
		for (guint k = 0; k < FLARES; k++)
			check_content(l, a, &l->flares[k]);
	}
	for (guint i = 0; i < l->history->len; i++)
		if (!g_array_index(l->history, Change, i).acked)
			world_fail(load_world(l), "transaction %" G_GUINT64_FORMAT " was never acknowledged", g_array_index(l->history, Change, i).id);
}
