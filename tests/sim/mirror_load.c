#include "tests/sim/mirror_load.h"
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include "magmad/core/rows.h"

enum { ROWS = 40, FLARES = 6, SIZE_MAX_ = 48 << 10, FAR = 1500 << 10 };

typedef struct {
	guint64 id, index;
	gboolean acked, durable;
	guint n;
	guint8 rows[4];
} Change;

typedef enum { IDLE, INTENT, RUNNING, COMMITTED, SYNCING, CLEARING, RESOLVING, RESOLVED } Stage;
typedef enum { WRITE, TRUNCATE, PUNCH, DROP, SYNC } Kind;

/* What an operation that failed at its owner may have left at a copy: a new owner may show it, until somebody was shown or promised the other. */
typedef struct {
	guint64 lo, hi;
	guint8 byte;
} Left;

typedef struct {
	struct Load *l;
	MagmaFid fid;
	gboolean exists, dirty;
	guint32 intents;
	gboolean content_durable, durable;   /* as it is: its content; its row too */
	GByteArray *bytes;            /* as acknowledged */
	/* the operation under way */
	Stage stage;
	Kind kind;
	guint64 off, len;
	guint8 fill;
	GByteArray *after;
	guint64 touched_lo, touched_hi;
	GByteArray *seen;             /* 1: a read has shown the new byte */
	guint64 index, txn;           /* of its commit */
	guint64 ended;                /* operations */
	/* What a new owner had of it is taken for done; yet another one may not have it, as long as nothing was acknowledged in between. */
	gboolean adopted, old_exists, row_adopted;
	GByteArray *old;
	gboolean found;               /* a power cut left it: anything may be in it */
	gboolean noted, lost;         /* a truncation that is to be completed; its owner was lost */
	GArray *left;                 /* Left */
} Flare;

struct Load {
	MNet *n;
	guint64 next_id, next_ino, generation, done;
	GArray *history;              /* Change: of this line */
	GArray *gone;                 /* guint64: changes that did not survive */
	Flare flares[FLARES];
	gboolean power_failed;        /* everywhere at once */
	gboolean stopped;
};

static World *world(const Load *l) { return l->n->w; }

static void be64(guint8 *p, guint64 v)
{
	for (guint i = 0; i < 8; i++)
		p[i] = v >> (56 - 8 * i);
}

/* --- transactions --- */

static guint64 commit(Load *l, Txn *t, guint rows)
{
	Change c = { .id = ++l->next_id, .n = rows };
	guint8 id[8];

	be64(id, c.id);
	txn_put(t, TAB_REPLY, id, 8, NULL, "", 0);
	for (guint i = 0; i < rows; i++) {
		guint8 key[16] = "counter ";
		c.rows[i] = world_pick(world(l), ROWS);
		key[8] = c.rows[i];
		if (world_chance(world(l), 1, 8)) {
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

	be64(ino, f->fid.ino);
	flare_row_encode(&row, b);
	txn_put(t, TAB_FLARE, ino, 8, &f->fid.key, b->data, b->len);
}

static void put_dirty(Txn *t, const Flare *f, gboolean on, guint64 truncate_to)
{
	guint8 ino[8], val[8];

	be64(ino, f->fid.ino);
	be64(val, truncate_to);
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
			world_fail(world(l), "frame %" G_GUINT64_FORMAT " is acknowledged, and volcano %u, in sync, has %" G_GUINT64_FORMAT, index, i + 1, has);
	}
}

static void flare_go_on(Flare *f);

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

typedef struct {
	Flare *f;
	guint64 generation;
	guint64 off, len, ended;
} Ticket;

static Ticket *ticket(Flare *f)
{
	Ticket *t = g_new0(Ticket, 1);

	t->f = f;
	t->generation = f->l->generation;
	t->ended = f->ended;
	return t;
}

static Flare *redeem(Ticket *t)
{
	Flare *f = t->generation == t->f->l->generation ? t->f : NULL;

	g_free(t);
	return f;
}

static guint64 acked_index(Load *l) { return store_acked(mnet_store(l->n)); }

static void op_end(Flare *f)
{
	world_trace(world(f->l), "-- flare %" G_GUINT64_FORMAT ": end at stage %u", f->fid.ino, f->stage);
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

static gboolean left_may(const Flare *f, guint64 at, guint8 byte)
{
	for (guint i = 0; i < f->left->len; i++) {
		const Left *l = &g_array_index(f->left, Left, i);
		if (at >= l->lo && at < l->hi && byte == l->byte)
			return TRUE;
	}
	return FALSE;
}

/* What is there is known now. */
static void left_known(Flare *f, guint64 lo, guint64 hi)
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
	Flare *f = redeem(user);

	if (!f)
		return;
	Load *l = f->l;
	if (error) {
		left_add(f);
		if (f->kind == TRUNCATE) {
			Txn *t = txn_new();
			put_dirty(t, f, TRUE, G_MAXUINT64);
			commit(l, t, 0);
		}
		f->exists = TRUE;     /* its row came with the intent */
		op_end(f);
		return;
	}
	Txn *t = txn_new();
	if (f->kind == DROP) {
		guint8 ino[8];
		be64(ino, f->fid.ino);
		txn_del(t, TAB_FLARE, ino, 8, &f->fid.key);
		put_dirty(t, f, FALSE, G_MAXUINT64);
		f->dirty = FALSE;
	} else {
		put_flare(t, f, f->after->len);
		if (f->kind == TRUNCATE)
			put_dirty(t, f, TRUE, G_MAXUINT64);
	}
	f->stage = COMMITTED;
	f->index = commit(l, t, 1);
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
		store_content_write(s, &f->fid, f->off, data, content_done, ticket(f));
		break;
	}
	case TRUNCATE: store_content_truncate(s, &f->fid, f->off, content_done, ticket(f)); break;
	case PUNCH: store_content_fallocate(s, &f->fid, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, f->off, f->len, content_done, ticket(f)); break;
	case DROP: store_content_drop(s, &f->fid, content_done, ticket(f)); break;
	case SYNC: break;
	}
}

static void sync_done(void *user, int error)
{
	Flare *f = redeem(user);

	if (!f)
		return;
	if (error || f->stage != SYNCING) {
		op_end(f);
		return;
	}
	Txn *t = txn_new();
	left_known(f, 0, G_MAXUINT64);
	f->content_durable = TRUE;
	put_dirty(t, f, FALSE, G_MAXUINT64);
	f->dirty = FALSE;
	f->stage = CLEARING;
	f->index = commit(f->l, t, 0);
	flare_go_on(f);
}

static void flare_go_on(Flare *f)
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
		op_end(f);
		return;
	case CLEARING:
		op_end(f);
		return;
	default:
		return;
	}
}

static void resize(GByteArray *b, guint64 size)
{
	guint64 old = b->len;

	g_byte_array_set_size(b, size);
	if (size > old)
		memset(b->data + old, 0, size - old);
}

static void apply(Flare *f)
{
	GByteArray *b = f->after = g_byte_array_new();
	guint64 old = f->bytes->len;

	g_byte_array_append(b, f->bytes->data, f->bytes->len);
	f->touched_lo = f->off;
	f->touched_hi = f->off + f->len;
	switch (f->kind) {
	case WRITE:
		resize(b, MAX(old, f->off + f->len));
		memset(b->data + f->off, f->fill, f->len);
		f->touched_lo = MIN(f->off, old);
		break;
	case TRUNCATE:
		resize(b, f->off);
		f->touched_hi = MAX(old, f->off);
		break;
	case PUNCH:
		if (f->off < old)
			memset(b->data + f->off, 0, MIN(f->len, old - f->off));
		break;
	case DROP:
		resize(b, 0);
		f->touched_lo = 0;
		f->touched_hi = G_MAXUINT64;
		break;
	case SYNC:
		break;
	}
	f->seen = g_byte_array_new();
	resize(f->seen, old);
}

static void begin(Flare *f, Kind kind)
{
	Load *l = f->l;
	World *w = world(l);

	f->kind = kind;
	f->content_durable = f->durable = FALSE;
	f->off = world_pick(w, SIZE_MAX_ - 9000);
	f->len = 1 + world_pick(w, world_chance(w, 1, 3) ? 9000 : 300);
	f->fill = 1 + world_pick(w, 255);
	if (f == &l->flares[0] && world_chance(w, 1, 6))
		f->off = FAR + world_pick(w, 100000);
	if (kind == TRUNCATE)
		f->off = world_pick(w, f->bytes->len + 1);
	apply(f);
	Txn *t = txn_new();
	if (!f->exists)
		f->fid.ino = ++l->next_ino;       /* never used again */
	if (!f->exists || !f->dirty || kind == TRUNCATE) {
		f->intents++;
		put_flare(t, f, f->exists ? f->bytes->len : 0);
	}
	put_dirty(t, f, TRUE, kind == TRUNCATE ? f->off : G_MAXUINT64);
	f->noted = kind == TRUNCATE;
	f->stage = INTENT;
	if (f->dirty && f->exists && kind != TRUNCATE) {
		txn_free(t);
		f->index = 0;
	} else {
		f->index = commit(l, t, 0);
	}
	f->dirty = TRUE;
	static const char *const names[] = { "write", "truncate", "punch", "drop", "sync" };
	world_trace(w, "-- flare %" G_GUINT64_FORMAT ": %s %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT " %02x of %u", f->fid.ino, names[kind], f->off, f->len, f->fill, f->bytes->len);
	flare_go_on(f);
}

/* --- reads --- */

/* What the owner's disk does not read a copy that counts has. */
static void check_unread(const Flare *f, int error)
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
	Flare *f = redeem(t);
	gsize n;

	if (f)
		check_unread(f, error);
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
			world_fail(world(f->l), "a read of flare %" G_GUINT64_FORMAT " shows %02x at %" G_GUINT64_FORMAT ", not %02x", f->fid.ino, got, at, old);
		f->seen->data[at] = f->kind == WRITE || f->kind == PUNCH;
	}
	left_known(f, off, off + MIN(len, f->bytes->len - MIN(off, f->bytes->len)));
}

/* Only where nothing ended since it began is the model of the end that of the beginning. */
static void read_some(Flare *f)
{
	World *w = world(f->l);
	Ticket *t = ticket(f);

	t->off = world_pick(w, f->bytes->len + 1);
	t->len = 1 + world_pick(w, 20000);
	world_trace(w, "-- flare %" G_GUINT64_FORMAT ": read %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT, f->fid.ino, t->off, t->len);
	store_content_read(mnet_store(f->l->n), &f->fid, t->off, t->len, read_done, t);
}

/* --- another owner --- */

static const MemRow *row_of(const MNode *node, StoreTable table, const void *key, gsize klen)
{
	RowKey k = memrow_key(table, key, klen);

	return g_tree_lookup(node->disk->rows, &k);
}

static gboolean has_change(const MNode *node, guint64 id)
{
	guint8 key[8];

	be64(key, id);
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
			world_fail(world(l), "row %u at volcano %u is of %" G_GUINT64_FORMAT ", not of %" G_GUINT64_FORMAT, i, node->i + 1, has, expect[i]);
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
			world_fail(world(l), "transaction %" G_GUINT64_FORMAT " (index %" G_GUINT64_FORMAT ") was promised; volcano %u does not have it", c->id, c->index, node->i + 1);
		if (has && kept < i) {
			const Change *m = &g_array_index(l->history, Change, kept);
			world_fail(world(l), "volcano %u has transaction %" G_GUINT64_FORMAT " (index %" G_GUINT64_FORMAT "), and not %" G_GUINT64_FORMAT " (index %" G_GUINT64_FORMAT "); it ends at %" G_GUINT64_FORMAT, node->i + 1, c->id, c->index, m->id, m->index, node->disk->pos.index);
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

	be64(ino, f->fid.ino);
	const MemRow *r = row_of(node, TAB_FLARE, ino, 8);
	*exists = r != NULL;
	return r && flare_row_decode(r->val, r->vlen, &row) ? row.attr.size : 0;
}

static void resolve_next(Flare *f);

/* What the new owner shows of a content, against what it may be. */
static void resolved(void *user, int error, GBytes *data)
{
	Flare *f = redeem(user);
	gsize n;

	if (!f)
		return;
	Load *l = f->l;
	if (f->bytes->len <= MAGMA_DATA_MAX)      /* nobody asks for more at once but this test */
		check_unread(f, error);
	if (error) {                  /* nobody has it: as if the disk thought better of it */
		memdisk_read_again(l->n->nodes[l->n->owner].disk);
		store_content_read(mnet_store(l->n), &f->fid, 0, MAX(f->bytes->len, 1), resolved, ticket(f));
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
			world_fail(world(l), "flare %" G_GUINT64_FORMAT " has %02x at %" G_GSIZE_FORMAT " under the new owner, not %02x", f->fid.ino, got, i, *old);
		if (touched && f->seen && i < f->seen->len && f->seen->data[i] && got != new)
			world_fail(world(l), "flare %" G_GUINT64_FORMAT " had shown %02x at %" G_GSIZE_FORMAT ", and it is gone", f->fid.ino, new, i);
		*old = got;
	}
	left_known(f, 0, f->bytes->len);
	f->stage = RESOLVED;
	if (f->found && f->exists) {
		/* intents that were not on disk are gone too, so the copies may differ and nobody knows: not for the copies to mend */
		op_end(f);
		f->found = FALSE;
		begin(f, DROP);
		return;
	}
	f->found = FALSE;
	resolve_next(f);
}

static void tail_cut(void *user, int error)
{
	Flare *f = redeem(user);

	if (!f)
		return;
	if (!error)
		left_known(f, f->bytes->len, G_MAXUINT64);
	op_end(f);
}

/* As gc.c does after a start: a truncation that was noted is completed, a drop is done again, and what is behind the row's size is cut. */
static void resolve_next(Flare *f)
{
	Load *l = f->l;
	Kind kind = f->kind;
	gboolean noted = f->noted, drop = f->lost && kind == DROP && f->exists;
	guint64 off = f->off;

	op_end(f);
	if (noted && off <= f->bytes->len) {
		f->kind = TRUNCATE;
		f->off = off;
		f->len = 0;
		apply(f);
		f->noted = TRUE;
		f->stage = INTENT;
		f->index = 0;
		flare_go_on(f);
	} else if (drop) {
		begin(f, DROP);
	} else {
		f->stage = RESOLVING;
		store_content_truncate(mnet_store(l->n), &f->fid, f->bytes->len, tail_cut, ticket(f));
	}
}

static void cleared(void *user, int error)
{
	Flare *f = redeem(user);

	if (!f || error || f->stage != RESOLVING || f->noted || f->after)
		return;
	Txn *t = txn_new();
	put_dirty(t, f, FALSE, G_MAXUINT64);
	f->dirty = FALSE;
	commit(f->l, t, 0);
}

/* After a power cut everywhere only what was synced is promised; of the rest it is as it is found. */
static void flare_found(Flare *f, const MNode *node)
{
	guint8 ino[8];

	be64(ino, f->fid.ino);
	op_end(f);
	if (f->durable)
		return;
	f->content_durable = FALSE;
	guint64 size = flare_size(node, f, &f->exists);
	resize(f->bytes, f->exists ? size : 0);
	const MemRow *dirty = row_of(node, TAB_DIRTY, ino, 8);
	f->dirty = dirty != NULL;
	f->found = TRUE;
}

static void flare_inherit(Flare *f, const MNode *node)
{
	guint8 ino[8];
	gboolean exists, was_running = f->stage == INTENT || f->stage == RUNNING || f->stage == COMMITTED;

	be64(ino, f->fid.ino);
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
		op_end(f);
	f->lost = f->after != NULL;
	f->noted = f->lost && !f->adopted && f->kind == TRUNCATE && dirty && dirty->vlen == 8;
	if (f->lost && f->kind == TRUNCATE && !f->noted && !f->adopted)
		op_end(f);            /* it had not begun */
	if (f->lost && !f->exists && exists && !f->adopted)
		f->row_adopted = f->exists = TRUE;
	if (exists != f->exists || (exists && size != f->bytes->len))
		world_fail(f->l->n->w, "flare %" G_GUINT64_FORMAT " %s with %" G_GUINT64_FORMAT " bytes, not %u", f->fid.ino, exists ? "is there" : "is gone", size, f->bytes->len);
	f->stage = RESOLVING;
	f->index = 0;
	store_content_read(mnet_store(f->l->n), &f->fid, 0, MAX(f->bytes->len, 1), resolved, ticket(f));
	if (f->dirty && !f->after && world_chance(world(f->l), 1, 3))      /* as gc.c clears at leisure */
		store_content_sync(mnet_store(f->l->n), &f->fid, cleared, ticket(f));
}

static void on_lost(void *user)
{
	Load *l = user;

	l->generation++;
	/* an operation on a flare that was being looked at has not begun */
}

static void on_owner(void *user)
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
	guint n = world_pick(world(l), 5);

	while (n--) {
		Txn *t = txn_new();
		guint8 key[8];
		be64(key, ++l->next_id);
		g_array_append_val(l->gone, l->next_id);
		txn_put(t, TAB_REPLY, key, 8, NULL, "", 0);
		store_commit(s, t);
	}
}

/* --- what clients do --- */

static void go_flare(Flare *f)
{
	World *w = world(f->l);

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
		begin(f, WRITE);
	} else if (what < 62) {
		if (f->bytes->len)
			begin(f, TRUNCATE);
	} else if (what < 72) {
		begin(f, PUNCH);
	} else if (what < 76) {
		begin(f, DROP);
	} else if (f->dirty) {
		f->stage = SYNCING;
		f->kind = SYNC;
		store_content_sync(mnet_store(f->l->n), &f->fid, sync_done, ticket(f));
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
	World *w = world(l);

	if (l->stopped || !mnet_store(l->n))
		return;
	guint what = world_pick(w, 10);
	if (what < 5) {
		guint times = world_chance(w, 1, 10) ? 40 : 1;
		while (times--)
			commit(l, txn_new(), 1 + world_pick(w, 4));
	} else if (what < 9) {
		go_flare(&l->flares[world_pick(w, FLARES)]);
	} else {
		sync_all(l);
	}
}

void load_break(Load *l, MNode *node)
{
	Flare *f = &l->flares[world_pick(world(l), FLARES)];
	MemFile *file = g_hash_table_lookup(node->disk->files, &f->fid);

	if (!file || !file->live || !memcontent_size(file->live))
		return;
	guint64 pages = (memcontent_size(file->live) + MEMFILE_PAGE - 1) / MEMFILE_PAGE, page = world_pick(world(l), pages);
	memfile_break(file, page, 1 + world_pick(world(l), pages - page));
	world_trace(world(l), "-- flare %" G_GUINT64_FORMAT ": pages %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT " do not read at %u", f->fid.ino, page, (file->bad_end - file->bad_from) / MEMFILE_PAGE, node->i + 1);
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
			world_trace(world(l), "-- flare %" G_GUINT64_FORMAT " is at stage %u of %u", l->flares[i].fid.ino, l->flares[i].stage, l->flares[i].kind);
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
		world_fail(world(c->l), "a row of table %u at volcano %u is %s at volcano %u", r->key.table, c->a->i + 1, other ? "another" : "missing", c->b->i + 1);
	return FALSE;
}

static void check_content(Load *l, const MNode *node, const Flare *f)
{
	const MemFile *file = g_hash_table_lookup(node->disk->files, &f->fid);

	if (!f->exists) {
		if (file && file->live && !l->n->power_cuts)       /* a power cut may bring back what was dropped: rubbish, not harm */
			world_fail(world(l), "flare %" G_GUINT64_FORMAT " is gone, and volcano %u still has its content", f->fid.ino, node->i + 1);
		return;
	}
	gsize n = 0;
	g_autoptr(GBytes) data = file && file->live ? memcontent_read(file->live, 0, f->bytes->len) : NULL;
	const guint8 *p = data ? g_bytes_get_data(data, &n) : NULL;
	for (gsize i = 0; i < f->bytes->len; i++) {
		guint8 got = i < n ? p[i] : 0;
		if (got != f->bytes->data[i])
			world_fail(world(l), "at the end flare %" G_GUINT64_FORMAT " has %02x at %" G_GSIZE_FORMAT " at volcano %u, not %02x", f->fid.ino, got, i, node->i + 1, f->bytes->data[i]);
	}
	if (file && file->live && memcontent_size(file->live) > f->bytes->len)
		world_fail(world(l), "at the end flare %" G_GUINT64_FORMAT " is %" G_GUINT64_FORMAT " long at volcano %u, not %u", f->fid.ino, memcontent_size(file->live), node->i + 1, f->bytes->len);
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
			world_fail(world(l), "transaction %" G_GUINT64_FORMAT " was never acknowledged", g_array_index(l->history, Change, i).id);
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
	n->on_lost = on_lost;
	n->on_owner = on_owner;
	return l;
}

void load_free(Load *l)
{
	for (guint i = 0; i < FLARES; i++) {
		op_end(&l->flares[i]);
		g_byte_array_unref(l->flares[i].bytes);
		g_array_unref(l->flares[i].left);
	}
	g_array_unref(l->history);
	g_array_unref(l->gone);
	g_free(l);
}
