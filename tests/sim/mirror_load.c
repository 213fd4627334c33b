/* What clients do, and the model that grows by it. */
#include "tests/sim/mirror_load_inside.h"
#include <linux/falloc.h>
#include <sys/stat.h>

World *load_world(const Load *l) { return l->n->w; }

void load_be64(guint8 *p, guint64 v)
{
	for (guint i = 0; i < 8; i++)
		p[i] = v >> (56 - 8 * i);
}

/* --- transactions --- */

guint64 load_commit(Load *l, Txn *t, guint rows)
{
	Change c = { .id = ++l->next_id, .n = rows };
	guint8 id[8];

	load_be64(id, c.id);
	txn_put(t, TAB_REPLY, id, 8, NULL, "", 0);
	for (guint i = 0; i < rows; i++) {
		guint8 key[16] = "counter ";
		c.rows[i] = world_pick(load_world(l), ROWS);
		key[8] = c.rows[i];
		if (world_chance(load_world(l), 1, 8)) {
			txn_del(t, TAB_ENTRY, key, 9, NULL);
			c.rows[i] |= 0x80;
		} else {
			txn_put(t, TAB_ENTRY, key, 9, NULL, id, 8);
		}
	}
	c.index = store_commit(mnet_store(l->n), t);
	g_array_append_val(l->history, c);
	return c.index;
}

static void put_flare(Txn *t, const Flare *f, guint64 size)
{
	FlareRow row = { .attr = { .fid = f->fid, .mode = S_IFREG | 0644, .nlink = 1, .size = size }, .content = CONTENT_FILE, .intents = f->intents };
	g_autoptr(GByteArray) b = g_byte_array_new();
	guint8 ino[8];

	load_be64(ino, f->fid.ino);
	flare_row_encode(&row, b);
	txn_put(t, TAB_FLARE, ino, 8, &f->fid.key, b->data, b->len);
}

void load_put_dirty(Txn *t, const Flare *f, gboolean on, guint64 truncate_to)
{
	guint8 ino[8], val[8];

	load_be64(ino, f->fid.ino);
	load_be64(val, truncate_to);
	if (on)
		txn_put(t, TAB_DIRTY, ino, 8, &f->fid.key, val, truncate_to == G_MAXUINT64 ? 0 : 8);
	else
		txn_del(t, TAB_DIRTY, ino, 8, &f->fid.key);
}

/* --- the invariant of an acknowledgement --- */

static void check_acked(Load *l, guint64 index)
{
	MNet *n = l->n;

	for (guint i = 0; i < n->cfg.nodes; i++) {
		MNode *node = &n->nodes[i];
		if (!n->in_sync[i] || node->damaged)
			continue;
		guint64 has = node->store ? memstore_written(node->store) : node->disk->pos.index;
		if (has < index)
			world_fail(load_world(l), "frame %" G_GUINT64_FORMAT " is acknowledged, and volcano %u, in sync, has %" G_GUINT64_FORMAT, index, i + 1, has);
	}
}

void flare_go_on(Flare *f);

static void on_acked(void *user, guint64 index)
{
	Load *l = user;

	check_acked(l, index);
	for (guint i = l->history->len; i-- > 0; ) {
		Change *c = &g_array_index(l->history, Change, i);
		if (c->acked)
			break;
		if (c->index <= index) {
			c->acked = TRUE;
			l->done++;
		}
	}
	/* the array is ordered: those before an acked one are acked too, once this loop has passed them */
	for (guint i = 0; i < FLARES; i++)
		flare_go_on(&l->flares[i]);
}

/* --- contents --- */

Ticket *flare_ticket(Flare *f)
{
	Ticket *t = g_new0(Ticket, 1);

	t->f = f;
	t->generation = f->l->generation;
	t->ended = f->ended;
	return t;
}

Flare *flare_redeem(Ticket *t)
{
	Flare *f = t->generation == t->f->l->generation ? t->f : NULL;

	g_free(t);
	return f;
}

static guint64 acked_index(Load *l) { return store_acked(mnet_store(l->n)); }

void flare_end(Flare *f)
{
	world_trace(load_world(f->l), "-- flare %" G_GUINT64_FORMAT ": end at stage %u", f->fid.ino, f->stage);
	f->stage = IDLE;
	f->ended++;
	g_clear_pointer(&f->after, g_byte_array_unref);
	g_clear_pointer(&f->seen, g_byte_array_unref);
	g_clear_pointer(&f->old, g_byte_array_unref);
	f->noted = f->lost = f->adopted = f->row_adopted = FALSE;
}

/* --- what failed --- */

static void left_add(Flare *f)
{
	Left l = { f->off, f->off + f->len, f->kind == WRITE ? f->fill : 0 };

	if (f->kind == DROP)
		l.lo = 0;
	if (f->kind == TRUNCATE || f->kind == DROP)
		l.hi = G_MAXUINT64;
	g_array_append_val(f->left, l);
}

gboolean left_may(const Flare *f, guint64 at, guint8 byte)
{
	for (guint i = 0; i < f->left->len; i++) {
		const Left *l = &g_array_index(f->left, Left, i);
		if (at >= l->lo && at < l->hi && byte == l->byte)
			return TRUE;
	}
	return FALSE;
}

/* What is there is known now. */
void left_known(Flare *f, guint64 lo, guint64 hi)
{
	GArray *rest = g_array_new(FALSE, FALSE, sizeof(Left));

	for (guint i = 0; i < f->left->len; i++) {
		Left l = g_array_index(f->left, Left, i), below = { l.lo, MIN(l.hi, lo), l.byte }, above = { MAX(l.lo, hi), l.hi, l.byte };
		if (below.lo < below.hi)
			g_array_append_val(rest, below);
		if (above.lo < above.hi)
			g_array_append_val(rest, above);
	}
	g_array_unref(f->left);
	f->left = rest;
}

static void left_done(Flare *f)
{
	switch (f->kind) {
	case WRITE:
	case PUNCH: left_known(f, f->off, f->off + f->len); return;
	case TRUNCATE: left_known(f, f->off, G_MAXUINT64); return;
	case DROP: left_known(f, 0, G_MAXUINT64); return;
	case SYNC: return;
	}
}

static void content_done(void *user, int error)
{
	Flare *f = flare_redeem(user);

	if (!f)
		return;
	Load *l = f->l;
	if (error) {
		left_add(f);
		if (f->kind == TRUNCATE) {
			Txn *t = txn_new();
			load_put_dirty(t, f, TRUE, G_MAXUINT64);
			load_commit(l, t, 0);
		}
		f->exists = TRUE;     /* its row came with the intent */
		flare_end(f);
		return;
	}
	Txn *t = txn_new();
	if (f->kind == DROP) {
		guint8 ino[8];
		load_be64(ino, f->fid.ino);
		txn_del(t, TAB_FLARE, ino, 8, &f->fid.key);
		load_put_dirty(t, f, FALSE, G_MAXUINT64);
		f->dirty = FALSE;
	} else {
		put_flare(t, f, f->after->len);
		if (f->kind == TRUNCATE)
			load_put_dirty(t, f, TRUE, G_MAXUINT64);
	}
	f->stage = COMMITTED;
	f->index = load_commit(l, t, 1);
	f->txn = l->next_id;
	flare_go_on(f);
}

static void run(Flare *f)
{
	Store *s = mnet_store(f->l->n);

	f->stage = RUNNING;
	switch (f->kind) {
	case WRITE: {
		guint8 *p = g_malloc(f->len);
		memset(p, f->fill, f->len);
		g_autoptr(GBytes) data = g_bytes_new_take(p, f->len);
		store_content_write(s, &f->fid, f->off, data, content_done, flare_ticket(f));
		break;
	}
	case TRUNCATE: store_content_truncate(s, &f->fid, f->off, content_done, flare_ticket(f)); break;
	case PUNCH: store_content_fallocate(s, &f->fid, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, f->off, f->len, content_done, flare_ticket(f)); break;
	case DROP: store_content_drop(s, &f->fid, content_done, flare_ticket(f)); break;
	case SYNC: break;
	}
}

static void sync_done(void *user, int error)
{
	Flare *f = flare_redeem(user);

	if (!f)
		return;
	if (error || f->stage != SYNCING) {
		flare_end(f);
		return;
	}
	Txn *t = txn_new();
	left_known(f, 0, G_MAXUINT64);
	f->content_durable = TRUE;
	load_put_dirty(t, f, FALSE, G_MAXUINT64);
	f->dirty = FALSE;
	f->stage = CLEARING;
	f->index = load_commit(f->l, t, 0);
	flare_go_on(f);
}

void flare_go_on(Flare *f)
{
	Load *l = f->l;

	if (f->index > acked_index(l))
		return;
	switch (f->stage) {
	case INTENT:
		run(f);
		return;
	case COMMITTED:
		g_byte_array_unref(f->bytes);
		f->bytes = g_byte_array_ref(f->after);
		f->exists = f->kind != DROP;
		left_done(f);
		flare_end(f);
		return;
	case CLEARING:
		flare_end(f);
		return;
	default:
		return;
	}
}

void flare_resize(GByteArray *b, guint64 size)
{
	guint64 old = b->len;

	g_byte_array_set_size(b, size);
	if (size > old)
		memset(b->data + old, 0, size - old);
}

void flare_apply(Flare *f)
{
	GByteArray *b = f->after = g_byte_array_new();
	guint64 old = f->bytes->len;

	g_byte_array_append(b, f->bytes->data, f->bytes->len);
	f->touched_lo = f->off;
	f->touched_hi = f->off + f->len;
	switch (f->kind) {
	case WRITE:
		flare_resize(b, MAX(old, f->off + f->len));
		memset(b->data + f->off, f->fill, f->len);
		f->touched_lo = MIN(f->off, old);
		break;
	case TRUNCATE:
		flare_resize(b, f->off);
		f->touched_hi = MAX(old, f->off);
		break;
	case PUNCH:
		if (f->off < old)
			memset(b->data + f->off, 0, MIN(f->len, old - f->off));
		break;
	case DROP:
		flare_resize(b, 0);
		f->touched_lo = 0;
		f->touched_hi = G_MAXUINT64;
		break;
	case SYNC:
		break;
	}
	f->seen = g_byte_array_new();
	flare_resize(f->seen, old);
}

void flare_begin(Flare *f, Kind kind)
{
	Load *l = f->l;
	World *w = load_world(l);

	f->kind = kind;
	f->content_durable = f->durable = FALSE;
	f->off = world_pick(w, SIZE_MAX_ - 9000);
	f->len = 1 + world_pick(w, world_chance(w, 1, 3) ? 9000 : 300);
	f->fill = 1 + world_pick(w, 255);
	if (f == &l->flares[0] && world_chance(w, 1, 6))
		f->off = FAR + world_pick(w, 100000);
	if (kind == TRUNCATE)
		f->off = world_pick(w, f->bytes->len + 1);
	flare_apply(f);
	Txn *t = txn_new();
	if (!f->exists)
		f->fid.ino = ++l->next_ino;       /* never used again */
	if (!f->exists || !f->dirty || kind == TRUNCATE) {
		f->intents++;
		put_flare(t, f, f->exists ? f->bytes->len : 0);
	}
	load_put_dirty(t, f, TRUE, kind == TRUNCATE ? f->off : G_MAXUINT64);
	f->noted = kind == TRUNCATE;
	f->stage = INTENT;
	if (f->dirty && f->exists && kind != TRUNCATE) {
		txn_free(t);
		f->index = 0;
	} else {
		f->index = load_commit(l, t, 0);
	}
	f->dirty = TRUE;
	static const char *const names[] = { "write", "truncate", "punch", "drop", "sync" };
	world_trace(w, "-- flare %" G_GUINT64_FORMAT ": %s %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT " %02x of %u", f->fid.ino, names[kind], f->off, f->len, f->fill, f->bytes->len);
	flare_go_on(f);
}

/* --- reads --- */

void load_check_unread(const Flare *f, int error)
{
	const MNet *n = f->l->n;

	for (guint i = 0; error == EIO && i < n->cfg.nodes; i++)
		if ((gint)i != n->owner && n->in_sync[i])
			world_fail(n->w, "flare %" G_GUINT64_FORMAT " does not read, and volcano %u has it", f->fid.ino, i + 1);
}

static void read_done(void *user, int error, GBytes *data)
{
	Ticket *t = user;
	guint64 off = t->off, len = t->len, ended = t->ended;
	Flare *f = flare_redeem(t);
	gsize n;

	if (f)
		load_check_unread(f, error);
	if (!f || error || f->ended != ended)
		return;
	const guint8 *p = g_bytes_get_data(data, &n);
	/* what was being changed while it was read may be either; what was shown must not vanish */
	for (gsize i = 0; i < len && off + i < f->bytes->len; i++) {
		guint64 at = off + i;
		guint8 got = i < n ? p[i] : 0, old = f->bytes->data[at];
		gboolean touched = f->after && at >= f->touched_lo && at < f->touched_hi;
		if (got == old)
			continue;
		/* a truncation that shows was noted, and will be completed */
		if (!touched || got != (at < f->after->len ? f->after->data[at] : 0))
			world_fail(load_world(f->l), "a read of flare %" G_GUINT64_FORMAT " shows %02x at %" G_GUINT64_FORMAT ", not %02x", f->fid.ino, got, at, old);
		f->seen->data[at] = f->kind == WRITE || f->kind == PUNCH;
	}
	left_known(f, off, off + MIN(len, f->bytes->len - MIN(off, f->bytes->len)));
}

/* Only where nothing ended since it began is the model of the end that of the beginning. */
static void read_some(Flare *f)
{
	World *w = load_world(f->l);
	Ticket *t = flare_ticket(f);

	t->off = world_pick(w, f->bytes->len + 1);
	t->len = 1 + world_pick(w, 20000);
	world_trace(w, "-- flare %" G_GUINT64_FORMAT ": read %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT, f->fid.ino, t->off, t->len);
	store_content_read(mnet_store(f->l->n), &f->fid, t->off, t->len, read_done, t);
}

/* --- what clients do --- */

static void go_flare(Flare *f)
{
	World *w = load_world(f->l);

	if (f->stage == RESOLVING || f->stage == RESOLVED)
		return;
	if (f->exists && f->stage != COMMITTED && f->stage != IDLE && world_chance(w, 1, 3)) {
		read_some(f);
		return;
	}
	if (f->stage != IDLE)
		return;
	guint what = world_pick(w, 100);
	if (!f->exists || what < 50) {
		flare_begin(f, WRITE);
	} else if (what < 62) {
		if (f->bytes->len)
			flare_begin(f, TRUNCATE);
	} else if (what < 72) {
		flare_begin(f, PUNCH);
	} else if (what < 76) {
		flare_begin(f, DROP);
	} else if (f->dirty) {
		f->stage = SYNCING;
		f->kind = SYNC;
		store_content_sync(mnet_store(f->l->n), &f->fid, sync_done, flare_ticket(f));
	}
}

typedef struct {
	Load *l;
	guint64 generation, index;
	guint64 ended[FLARES];
	gboolean content[FLARES];
} Syncing;

static void all_synced(void *user, int error)
{
	g_autofree Syncing *y = user;
	Load *l = y->l;

	if (error || y->generation != l->generation)
		return;
	for (guint i = 0; i < l->history->len && g_array_index(l->history, Change, i).index <= y->index; i++)
		g_array_index(l->history, Change, i).durable = TRUE;
	for (guint i = 0; i < FLARES; i++)
		if (y->content[i] && l->flares[i].content_durable && l->flares[i].ended == y->ended[i])
			l->flares[i].durable = TRUE;
}

static void sync_all(Load *l)
{
	Syncing *y = g_new0(Syncing, 1);

	y->l = l;
	y->generation = l->generation;
	y->index = memstore_index(l->n->nodes[l->n->owner].store);
	for (guint i = 0; i < FLARES; i++) {
		y->ended[i] = l->flares[i].ended;
		y->content[i] = l->flares[i].content_durable && l->flares[i].stage == IDLE;
	}
	store_sync(mnet_store(l->n), all_synced, y);
}

void load_go(Load *l)
{
	World *w = load_world(l);

	if (l->stopped || !mnet_store(l->n))
		return;
	guint what = world_pick(w, 10);
	if (what < 5) {
		guint times = world_chance(w, 1, 10) ? 40 : 1;
		while (times--)
			load_commit(l, txn_new(), 1 + world_pick(w, 4));
	} else if (what < 9) {
		go_flare(&l->flares[world_pick(w, FLARES)]);
	} else {
		sync_all(l);
	}
}

void load_break(Load *l, MNode *node)
{
	Flare *f = &l->flares[world_pick(load_world(l), FLARES)];
	MemFile *file = g_hash_table_lookup(node->disk->files, &f->fid);

	if (!file || !file->live || !memcontent_size(file->live))
		return;
	guint64 pages = (memcontent_size(file->live) + MEMFILE_PAGE - 1) / MEMFILE_PAGE, page = world_pick(load_world(l), pages);
	memfile_break(file, page, 1 + world_pick(load_world(l), pages - page));
	world_trace(load_world(l), "-- flare %" G_GUINT64_FORMAT ": pages %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT " do not read at %u", f->fid.ino, page, (file->bad_end - file->bad_from) / MEMFILE_PAGE, node->i + 1);
}

void load_stop(Load *l) { l->stopped = TRUE; }
guint64 load_done(const Load *l) { return l->done; }

gboolean load_idle(const Load *l)
{
	for (guint i = 0; i < FLARES; i++)
		if (l->flares[i].stage != IDLE)
			return FALSE;
	return TRUE;
}

void load_tell(const Load *l)
{
	for (guint i = 0; i < FLARES; i++)
		if (l->flares[i].stage != IDLE)
			world_trace(load_world(l), "-- flare %" G_GUINT64_FORMAT " is at stage %u of %u", l->flares[i].fid.ino, l->flares[i].stage, l->flares[i].kind);
}

Load *load_new(MNet *n)
{
	Load *l = g_new0(Load, 1);

	l->n = n;
	l->gone = g_array_new(FALSE, FALSE, sizeof(guint64));
	l->history = g_array_new(FALSE, FALSE, sizeof(Change));
	for (guint i = 0; i < FLARES; i++) {
		Flare *f = &l->flares[i];
		*f = (Flare){ .l = l, .fid = { .ino = ++l->next_ino }, .bytes = g_byte_array_new(), .left = g_array_new(FALSE, FALSE, sizeof(Left)) };
		f->fid.key.b[0] = i * 40;
	}
	n->user = l;
	n->on_acked = on_acked;
	n->on_lost = load_on_lost;
	n->on_owner = load_on_owner;
	return l;
}

void load_free(Load *l)
{
	for (guint i = 0; i < FLARES; i++) {
		flare_end(&l->flares[i]);
		g_byte_array_unref(l->flares[i].bytes);
		g_array_unref(l->flares[i].left);
	}
	g_array_unref(l->history);
	g_array_unref(l->gone);
	g_free(l);
}
