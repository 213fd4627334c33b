/* Transactions into rows and journal, and the log side of it for copies of a slice. */
#include "magmad/store/disk.h"
#include "libmagma/base/wire.h"
#include <errno.h>
#include <string.h>

#define OPEN_BATCH_MAX (24u << 20)    /* beyond it a commit waits for the batch: memory has a bound */

/* --- rows --- */

gboolean disk_commit_row(void *user, const StoreRow *row, gboolean del)
{
	DiskStore *d = user;

	const RowNode *n = rows_commit(d->rows, row, del ? NULL : row_value_new(&row->rk, row->val, row->vlen));
	if (row->table != TAB_FLARE)
		return TRUE;
	/* A deleted flare that sqlite has, or may have, keeps its entry until the next merge: it may come back in the same batch. */
	if (del && n->base == BASE_ABSENT)
		keys_remove(d->keys, &row->rk, magma_be64_load(row->key));
	else if (!del && n->base != BASE_PRESENT)
		keys_add(d->keys, &row->rk, magma_be64_load(row->key));
	return TRUE;
}

/* Rows come faster than sqlite takes them: wait for the batch that is being written, then give it what is open. Nobody else is called from here. */
static void commit_wait(DiskStore *d)
{
	if (d->batch_failed || d->failed)
		return;
	if (d->writer_job)
		pool_wait(d->pool, d->writer_job);
	disk_journal_out(d);
	disk_batch_check(d, TRUE);
}

/* What was committed, appended or filled is in rows and journal. */
static void log_added(DiskStore *d)
{
	d->fresh = FALSE;
	if (!d->idle_at)
		d->idle_at = g_get_monotonic_time() + IDLE_US;
	if (rows_stats(d->rows)->open_bytes > OPEN_BATCH_MAX)
		commit_wait(d);
	disk_wake(d);
}

static StorePos position(const DiskStore *d) { return (StorePos){ journal_epoch(d->journal), journal_index(d->journal) }; }

guint64 disk_commit(Store *s, Txn *t)
{
	DiskStore *d = DISK(s);

	if (!txn_empty(t)) {
		const GByteArray *bytes = txn_bytes(t);
		guint64 epoch = MAX(d->epoch, journal_epoch(d->journal));
		g_assert(!d->change);
		gboolean ok = txn_each(bytes->data, bytes->len, disk_commit_row, d);
		g_assert(ok);           /* we made it ourselves */
		disk_epoch_note(d, (StorePos){ epoch, journal_append(d->journal, epoch, bytes->data, bytes->len) });
		log_added(d);
	}
	txn_free(t);
	return journal_index(d->journal);
}

guint64 disk_acked(Store *s) { return DISK(s)->acked; }

/* --- epochs --- */

void disk_epoch_note(DiskStore *d, StorePos pos)
{
	DbEpochs *all = &d->epochs;

	if (all->n && all->e[all->n - 1].epoch >= pos.epoch)
		return;
	if (all->n == DB_EPOCHS)
		memmove(all->e, all->e + 1, --all->n * sizeof *all->e);
	all->e[all->n++] = (StoreEpoch){ pos.epoch, pos.index };
}

void disk_epochs_upto(const DiskStore *d, guint64 index, DbEpochs *out)
{
	*out = d->epochs;
	while (out->n && out->e[out->n - 1].first > index)
		out->n--;
}

guint64 disk_epoch_at(const DiskStore *d, guint64 index)
{
	DbEpochs known;

	disk_epochs_upto(d, index, &known);
	return known.n ? known.e[known.n - 1].epoch : 0;
}

static guint log_epochs(Store *s, const StoreEpoch **out)
{
	*out = DISK(s)->epochs.e;
	return DISK(s)->epochs.n;
}

static void log_set_epoch(Store *s, guint64 epoch)
{
	g_assert(epoch >= journal_epoch(DISK(s)->journal));
	DISK(s)->epoch = epoch;
}

/* --- how far --- */

void disk_acked_grow(DiskStore *d)
{
	/* What is being cut is not to be acknowledged. */
	if (!d->change)
		d->acked = MAX(d->acked, MIN(journal_written(d->journal), d->limit));
}

static StorePos log_position(Store *s) { return position(DISK(s)); }
static guint64 log_written(Store *s) { return journal_written(DISK(s)->journal); }
static guint64 log_durable(Store *s) { return journal_durable(DISK(s)->journal); }

static void log_set_limit(Store *s, guint64 index)
{
	DiskStore *d = DISK(s);

	d->limit = index;
	if (d->fresh) {
		const Frozen *f = rows_frozen(d->rows);
		d->acked = d->told = MAX(MIN(d->acked, index), f ? f->index : d->meta.applied);
	}
	d->fresh = FALSE;
	disk_acked_grow(d);
	disk_wake(d);
}

/* --- what other copies send --- */

static gboolean any_record(void *user, const StoreRow *row, gboolean del) { return TRUE; }

static gboolean log_append(Store *s, const StoreFrame *f)
{
	DiskStore *d = DISK(s);
	StorePos at = position(d);

	g_assert(!d->change);
	if (at.index == G_MAXUINT64 || f->pos.index != at.index + 1 || f->pos.epoch < at.epoch || f->len > FRAME_PAYLOAD_MAX || !txn_each(f->txn, f->len, any_record, NULL))
		return FALSE;
	txn_each(f->txn, f->len, disk_commit_row, d);
	journal_append(d->journal, f->pos.epoch, f->txn, f->len);
	disk_epoch_note(d, f->pos);
	log_added(d);
	return TRUE;
}

static guint64 log_fill(Store *s, const guint8 *txn, gsize len)
{
	DiskStore *d = DISK(s);

	g_assert(!d->change);
	if (len > FRAME_PAYLOAD_MAX || !txn_each(txn, len, any_record, NULL))
		return 0;
	txn_each(txn, len, disk_commit_row, d);
	guint64 n = journal_fill(d->journal, txn, len);
	log_added(d);
	return n - d->fills_before + d->fills_gone;
}

static guint64 log_filled(Store *s) { return journal_fills_written(DISK(s)->journal) - DISK(s)->fills_before + DISK(s)->fills_gone; }

/* --- what other copies read --- */

typedef struct {
	PoolJob job;
	DiskStore *d;
	JournalRead *read;
	guint64 after;
	gsize max_bytes;
	void (*done)(void *, int, const StoreFrame *, guint, gboolean);
	void *user;
	int error;
	char *text;
} ReadJob;

static void read_run(PoolJob *job)
{
	ReadJob *r = (ReadJob *)job;

	if (r->read)
		r->error = journal_read_run(r->read, &r->text);
}

static void log_read(Store *s, guint64 after, gsize max_bytes, void (*done)(void *, int, const StoreFrame *, guint, gboolean), void *user);

static void read_done(PoolJob *job)
{
	ReadJob *r = (ReadJob *)job;
	guint n = r->read ? journal_read_count(r->read) : 0;
	guint64 written = journal_written(r->d->journal);

	/* It is there and does not read: to whoever asks that is as if it was not kept. */
	if (r->text)
		g_warning("%s", r->text);
	if (r->error) {
		r->done(r->user, ENODATA, NULL, 0, FALSE);
		return;
	}
	/* What came meanwhile is not missed: an answer is at its end, or has something. */
	if (!n && r->after < written) {
		log_read(&r->d->base, r->after, r->max_bytes, r->done, r->user);
		return;
	}
	g_autofree StoreFrame *frames = g_new0(StoreFrame, n + 1);
	for (guint i = 0; i < n; i++) {
		Frame f;
		journal_read_frame(r->read, i, &f);
		frames[i] = (StoreFrame){ { f.epoch, f.index }, f.payload, f.length };
	}
	guint64 last = n ? frames[n - 1].pos.index : r->after;
	r->done(r->user, 0, frames, n, last >= written);
}

static void read_free(PoolJob *job)
{
	ReadJob *r = (ReadJob *)job;

	if (r->read)
		journal_read_end(r->d->journal, r->read);
	g_free(r->text);
	g_free(r);
}

static void log_read(Store *s, guint64 after, gsize max_bytes, void (*done)(void *, int, const StoreFrame *, guint, gboolean), void *user)
{
	DiskStore *d = DISK(s);
	ReadJob *r = g_new0(ReadJob, 1);

	r->job = (PoolJob){ .run = read_run, .done = read_done, .free = read_free };
	r->d = d;
	r->after = after;
	r->max_bytes = max_bytes;
	r->done = done;
	r->user = user;
	if (after < journal_floor(d->journal))
		r->error = ENODATA;
	else
		r->read = journal_read_begin(d->journal, after, max_bytes);
	pool_push(d->pool, &r->job);
}

static void log_keep(Store *s, guint64 after, guint64 max_bytes)
{
	DiskStore *d = DISK(s);

	journal_keep(d->journal, after, max_bytes);
	d->trim_wanted = journal_can_trim(d->journal, d->meta.applied, d->applied_fills);
	if (d->trim_wanted)
		disk_wake(d);
}

static void log_set_unread(Store *s, gboolean unread) { contents_set_unread(DISK(s)->contents, unread); }

const StoreLogVt disk_log_vt = {
	.position = log_position, .written = log_written, .durable = log_durable, .set_epoch = log_set_epoch, .set_limit = log_set_limit, .append = log_append, .epochs = log_epochs,
	.read = log_read, .keep = log_keep, .cut = disk_cut, .reset = disk_reset, .rebase = disk_rebase, .fill = log_fill, .filled = log_filled, .set_unread = log_set_unread,
};
