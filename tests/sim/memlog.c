/* The memory store's journal: commits, when they are written, acknowledged and durable; and the log side for copies of a slice. */
#include "tests/sim/memdisk.h"
#include <errno.h>

static guint64 written(MemStore *m) { return memdisk_index_at(m->disk, m->written_seq); }

static void tell_acked(MemStore *m)
{
	guint64 acked = MIN(written(m), m->limit);

	if (m->failed || m->change || acked <= m->acked)
		return;
	m->acked = acked;
	if (m->base.on_acked)
		m->base.on_acked(m->base.user, acked);
}

static void on_written(MemStore *m, void *arg)
{
	guint64 end = memdisk_end(m->disk);

	m->write_coming = FALSE;
	if (m->failed || m->change || m->written_seq >= end)
		return;
	m->written_seq = end;
	m->filled = m->fills;
	if (m->base.on_written)
		m->base.on_written(m->base.log_user, written(m));
	if (!m->dead)
		tell_acked(m);
}

static void write_later(MemStore *m)
{
	if (!m->write_coming) {
		m->write_coming = TRUE;
		mem_later(m, on_written, NULL, NULL);
	}
}

static void log_add(MemStore *m, StorePos pos, gboolean fill, GBytes *txn)
{
	g_assert(!m->change);
	m->fresh = FALSE;
	memdisk_append(m->disk, pos, fill, txn);
	write_later(m);
}

static guint64 mem_commit(Store *s, Txn *t)
{
	MemStore *m = MEM(s);
	StorePos at = m->disk->pos;

	if (!txn_empty(t)) {
		const GByteArray *bytes = txn_bytes(t);
		at = (StorePos){ MAX(m->epoch, at.epoch), at.index + 1 };
		log_add(m, at, FALSE, g_bytes_new(bytes->data, bytes->len));
	}
	txn_free(t);
	return at.index;
}

static guint64 mem_acked(Store *s) { return MEM(s)->acked; }

/* Only what is durable, and at every copy, goes behind the journal. */
static void log_fold(MemStore *m)
{
	MemDisk *d = m->disk;
	guint64 seq = MIN(memdisk_seq(d, m->acked), d->durable_seq);

	if (seq > d->base_seq)
		memdisk_fold(d, seq);
	memdisk_trim(d, m->keep_after, m->keep_bytes);
}

typedef struct {
	void (*done)(void *, int);
	void *user;
	guint64 seq;
	guint cuts;                   /* there were so many before */
} SyncCall;

static void on_synced(MemStore *m, void *arg)
{
	g_autofree SyncCall *c = arg;

	if (m->sync_error) {
		c->done(c->user, m->sync_error);
		return;
	}
	if (mem_unread(m, UNREAD_ALL))
		memstore_fail(&m->base, "the journal cannot be synced");
	if (!m->failed) {
		on_written(m, NULL);
		if (m->dead)
			return;
		for (guint i = c->cuts; i < m->disk->cuts->len; i++)
			c->seq = MIN(c->seq, g_array_index(m->disk->cuts, guint64, i));
		m->disk->durable_seq = MAX(m->disk->durable_seq, c->seq);
		log_fold(m);
	}
	c->done(c->user, m->failed ? EIO : 0);
}

static void mem_sync(Store *s, void (*done)(void *, int), void *user)
{
	SyncCall *c = g_new(SyncCall, 1);

	g_assert(!MEM(s)->change);
	MEM(s)->syncs++;
	*c = (SyncCall){ done, user, memdisk_end(MEM(s)->disk), MEM(s)->disk->cuts->len };
	mem_later_after(MEM(s), MEM(s)->syncs_take, on_synced, g_free, c);
}

/* --- the log side --- */

static StorePos log_position(Store *s) { return MEM(s)->disk->pos; }
static guint64 log_written(Store *s) { return written(MEM(s)); }
static guint64 log_durable(Store *s) { return memdisk_index_at(MEM(s)->disk, MEM(s)->disk->durable_seq); }

static void log_set_epoch(Store *s, guint64 epoch)
{
	g_assert(epoch >= MEM(s)->disk->pos.epoch);
	MEM(s)->epoch = epoch;
}

static void log_set_limit(Store *s, guint64 index)
{
	MemStore *m = MEM(s);

	m->limit = index;
	if (m->fresh)
		m->acked = MAX(MIN(m->acked, index), memdisk_index_at(m->disk, m->disk->base_seq));
	m->fresh = FALSE;
	tell_acked(m);
}

static gboolean any_record(void *user, const StoreRow *row, gboolean del) { return TRUE; }

static gboolean log_append(Store *s, const StoreFrame *f)
{
	MemStore *m = MEM(s);
	StorePos at = m->disk->pos;

	if (at.index == G_MAXUINT64 || f->pos.index != at.index + 1 || f->pos.epoch < at.epoch || !txn_each(f->txn, f->len, any_record, NULL))
		return FALSE;
	log_add(m, f->pos, FALSE, g_bytes_new(f->txn, f->len));
	return TRUE;
}

static guint64 log_fill(Store *s, const guint8 *txn, gsize len)
{
	MemStore *m = MEM(s);

	if (!txn_each(txn, len, any_record, NULL))
		return 0;
	log_add(m, m->disk->pos, TRUE, g_bytes_new(txn, len));
	return ++m->fills;
}

static guint64 log_filled(Store *s) { return MEM(s)->filled; }

static guint log_epochs(Store *s, const StoreEpoch **out)
{
	*out = (const StoreEpoch *)(void *)MEM(s)->disk->epochs->data;
	return MEM(s)->disk->epochs->len;
}

static void log_keep(Store *s, guint64 after, guint64 max_bytes)
{
	MEM(s)->keep_after = after;
	MEM(s)->keep_bytes = max_bytes;
	memdisk_trim(MEM(s)->disk, after, max_bytes);
}

/* --- reading: as the log is at the answer --- */

typedef struct {
	guint64 after;
	gsize max_bytes;
	void (*done)(void *, int, const StoreFrame *, guint, gboolean);
	void *user;
} ReadCall;

static void on_read(MemStore *m, void *arg)
{
	g_autofree ReadCall *c = arg;
	const MemDisk *d = m->disk;
	guint64 last = written(m), have = last > c->after ? last - c->after : 0;
	g_autoptr(GArray) frames = g_array_new(FALSE, FALSE, sizeof(StoreFrame));
	g_autoptr(GPtrArray) held = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	gsize bytes = 0;

	if (mem_unread(m, UNREAD_ALL)) {
		c->done(c->user, EIO, NULL, 0, FALSE);
		return;
	}
	if (c->after < MAX(d->read_floor, d->start.index)) {
		c->done(c->user, ENODATA, NULL, 0, FALSE);
		return;
	}
	/* behind the newest fill every frame has an index of its own */
	for (guint64 i = 0; i < have && (!i || bytes < c->max_bytes); i++) {
		const MemFrame *f = d->log->pdata[d->log->len - (d->pos.index - c->after) + i];
		gsize len;
		g_ptr_array_add(held, g_bytes_ref(f->txn));
		StoreFrame out = { .pos = f->pos, .txn = g_bytes_get_data(f->txn, &len) };
		out.len = len;
		bytes += len;
		g_array_append_val(frames, out);
	}
	c->done(c->user, 0, (const StoreFrame *)(void *)frames->data, frames->len, frames->len == have);
}

static void log_read(Store *s, guint64 after, gsize max_bytes, void (*done)(void *, int, const StoreFrame *, guint, gboolean), void *user)
{
	ReadCall *c = g_new(ReadCall, 1);

	*c = (ReadCall){ after, max_bytes, done, user };
	mem_later(MEM(s), on_read, g_free, c);
}

/* --- undoing --- */

struct MemChange {
	StorePos pos;
	enum { CUT, RESET, REBASE } what;
	GBytes *txn;                  /* of a rebase */
	void (*done)(void *, int);
	void *user;
};

void memlog_change(MemStore *m)
{
	const MemChange *c = m->change;

	m->change = NULL;
	if (c->what != CUT) {
		if (c->what == RESET)
			memdisk_reset(m->disk, c->pos);
		else
			memdisk_rebase(m->disk, c->pos, c->txn);
		m->written_seq = 0;
		m->acked = c->pos.index;
		m->epoch = MAX(m->epoch, c->pos.epoch);
		m->filled = m->fills;
		m->keep_after = G_MAXUINT64;
		m->keep_bytes = 0;
	} else {
		memdisk_cut(m->disk, memdisk_seq(m->disk, c->pos.index));
		m->written_seq = MIN(m->written_seq, memdisk_end(m->disk));
	}
	g_hash_table_remove_all(m->found);
}

gboolean memlog_resetting(const MemStore *m) { return m->change && m->change->what != CUT; }

static void change_free(void *arg)
{
	MemChange *c = arg;

	if (c->txn)
		g_bytes_unref(c->txn);
	g_free(c);
}

static void on_change(MemStore *m, void *arg)
{
	MemChange *c = arg;

	if (c->what != CUT && !memfiles_idle(m)) {      /* an owner that has ended left something behind */
		mem_later(m, on_change, change_free, c);
		return;
	}
	memlog_change(m);
	write_later(m);
	c->done(c->user, m->failed ? EIO : 0);
	if (!m->dead)
		tell_acked(m);
	change_free(c);
}

static void change(MemStore *m, MemChange c)
{
	g_assert(!m->change && memstore_pins(m) == 0);
	m->change = g_memdup2(&c, sizeof c);
	mem_later(m, on_change, change_free, m->change);
}

static void log_cut(Store *s, guint64 index, void (*done)(void *, int), void *user)
{
	g_assert(index >= MEM(s)->acked && index <= MEM(s)->disk->pos.index);
	change(MEM(s), (MemChange){ .what = CUT, .pos = { .index = index }, .done = done, .user = user });
}

static void log_reset(Store *s, StorePos pos, void (*done)(void *, int), void *user)
{
	change(MEM(s), (MemChange){ .what = RESET, .pos = pos, .done = done, .user = user });
}

static void log_rebase(Store *s, StorePos pos, const guint8 *txn, gsize len, void (*done)(void *, int), void *user)
{
	g_assert(pos.index);
	change(MEM(s), (MemChange){ .what = REBASE, .pos = pos, .txn = g_bytes_new(txn, len), .done = done, .user = user });
}

static void log_set_unread(Store *s, gboolean unread) {}      /* no page cache */

const StoreLogVt memlog_log_vt = {
	.position = log_position, .written = log_written, .durable = log_durable, .set_epoch = log_set_epoch, .set_limit = log_set_limit, .append = log_append, .epochs = log_epochs,
	.read = log_read, .keep = log_keep, .cut = log_cut, .reset = log_reset, .rebase = log_rebase, .fill = log_fill, .filled = log_filled, .set_unread = log_set_unread,
};

void memlog_vt(StoreVt *vt)
{
	vt->commit = mem_commit;
	vt->acked = mem_acked;
	vt->sync = mem_sync;
}

void memlog_open(MemStore *m)
{
	m->written_seq = memdisk_end(m->disk);
	m->epoch = m->disk->pos.epoch;
	m->acked = m->disk->pos.index;
	m->limit = m->cfg.one_of_several ? 0 : G_MAXUINT64;
	if (m->cfg.one_of_several)
		m->acked = memdisk_index_at(m->disk, m->disk->base_seq);
	m->keep_after = G_MAXUINT64;
	m->fresh = TRUE;
}
