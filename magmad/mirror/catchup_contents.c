/* Contents that may differ: blocks are compared by digest and copied where they differ, several flares at a time, while operations on them go on. All that is read here stands in the stream at the
 * place where its reading began, so what was begun before is in it, and what was begun after comes after it. */
#include "magmad/mirror/owner-inside.h"
#include <linux/falloc.h>
#include <unistd.h>

enum { JOBS_MAX = 16, BLOCKS_AT_ONCE = 4, BLOCK = 1u << 20 };
#define TODO_MAX (64u << 10)
#define ASKED (1ull << 63)            /* numbers of our own, apart from the feed's */

typedef struct {
	guint64 off, len;
} Block;

typedef enum { JOB_STAT, JOB_SEEK, JOB_READ, JOB_WAIT, JOB_END } JobStage;

typedef struct {
	MagmaFid fid;
	JobStage stage;
	guint64 from, end;            /* what of it may differ */
	guint64 size, at, data_end;   /* size: or end, where that is less */
	guint asked;                  /* digests that are not answered */
	guint reading;                /* slots of it that are not ready */
	GQueue different;             /* Block */
} Job;

typedef struct {
	guint64 number;
	Job *job;
	Block block;
	gboolean last;
} Asked;

typedef struct {
	guint64 from, end;
} Region;

static gboolean queued(const Copy *c, const MagmaFid *fid) { return GPOINTER_TO_UINT(g_hash_table_lookup(c->todo, fid)) > 0; }

static void enqueue(Copy *c, const MagmaFid *fid, gboolean first)
{
	guint n = GPOINTER_TO_UINT(g_hash_table_lookup(c->todo, fid));

	g_hash_table_insert(c->todo, g_memdup2(fid, sizeof *fid), GUINT_TO_POINTER(n + 1));
	if (first)
		g_queue_push_head(&c->todo_next, g_memdup2(fid, sizeof *fid));
	else
		g_queue_push_tail(&c->todo_next, g_memdup2(fid, sizeof *fid));
}

static gboolean has_job(const Copy *c, const MagmaFid *fid)
{
	for (const GList *l = c->jobs.head; l; l = l->next)
		if (magma_fid_equal(&((const Job *)l->data)->fid, fid))
			return TRUE;
	return FALSE;
}

/* One that is being compared waits until that is over: of two comparisons the first that ends would speak for both. */
static MagmaFid *dequeue(Copy *c)
{
	MagmaFid *fid = NULL;

	for (guint n = MIN(c->todo_next.length, c->jobs.length + 1); n && !fid; n--) {
		fid = g_queue_pop_head(&c->todo_next);
		if (has_job(c, fid))
			g_queue_push_tail(&c->todo_next, g_steal_pointer(&fid));
	}
	if (fid)
		g_hash_table_insert(c->todo, g_memdup2(fid, sizeof *fid), GUINT_TO_POINTER(GPOINTER_TO_UINT(g_hash_table_lookup(c->todo, fid)) - 1));
	return fid;
}

void catchup_todo_clear(Copy *c)
{
	g_hash_table_remove_all(c->todo);
	g_hash_table_remove_all(c->regions);
	g_queue_clear_full(&c->todo_next, g_free);
	c->walking = FALSE;
}

/* TRUE: nothing is to be noted, all contents are going to be compared, and this one's turn has not come. Lists that are being made may have been made without it. */
static gboolean walk_brings(Copy *c, const MagmaFid *fid)
{
	if (c->walking && !c->walk_reading && catchup_folder(fid) >= MAX(c->walk_folder, c->walk_upto))
		return TRUE;
	if (g_hash_table_size(c->todo) < (c->o->cfg.todo_max ? c->o->cfg.todo_max : TODO_MAX))
		return FALSE;
	catchup_todo_clear(c);
	for (GList *l = c->jobs.head; l; l = l->next)      /* these are under way */
		g_hash_table_insert(c->todo, g_memdup2(&((Job *)l->data)->fid, sizeof(MagmaFid)), GUINT_TO_POINTER(0));
	catchup_walk_stop(c);
	catchup_walk_begin(c);
	return TRUE;
}

void catchup_todo_region(Copy *c, const MagmaFid *fid, guint64 from, guint64 end)
{
	Region *r = g_hash_table_lookup(c->regions, fid);

	if (queued(c, fid)) {         /* without a region: all of it will be compared */
		if (r)
			*r = (Region){ MIN(r->from, from), MAX(r->end, end) };
		return;
	}
	if (walk_brings(c, fid))
		return;
	enqueue(c, fid, FALSE);
	r = g_new(Region, 1);
	*r = (Region){ from, end };
	g_hash_table_insert(c->regions, g_memdup2(fid, sizeof *fid), r);
}

void catchup_todo_listed(Copy *c, const MagmaFid *fid)
{
	g_hash_table_remove(c->regions, fid);
	if (!queued(c, fid))
		enqueue(c, fid, FALSE);
}

/* One that is being compared is compared once more behind that. */
void catchup_todo(Copy *c, const MagmaFid *fid)
{
	if (queued(c, fid) || !walk_brings(c, fid))
		catchup_todo_listed(c, fid);
}

gboolean catchup_todo_has(const Copy *c, const MagmaFid *fid) { return g_hash_table_contains(c->todo, fid) || (c->walking && catchup_folder(fid) >= c->walk_folder); }

static void job_free(gpointer p)
{
	g_queue_clear_full(&((Job *)p)->different, g_free);
	g_free(p);
}

/* What was under way is to be done again. */
void catchup_contents_clear(Copy *c)
{
	Job *j;

	g_hash_table_remove_all(c->asked_digests);
	catchup_walk_stop(c);
	while ((j = g_queue_pop_tail(&c->jobs))) {
		g_hash_table_remove(c->regions, &j->fid);
		enqueue(c, &j->fid, TRUE);
		job_free(j);
	}
}

gboolean catchup_contents_done(const Copy *c) { return !c->jobs.length && !c->todo_next.length && !c->walking; }

static guint64 ask(Copy *c, Job *j, guint64 off, guint64 len, gboolean last)
{
	Asked *a = g_new(Asked, 1);

	*a = (Asked){ ++c->digests | ASKED, j, { off, len }, last };
	j->asked++;
	g_hash_table_insert(c->asked_digests, &a->number, a);
	return a->number;
}

void catchup_digest_answer(Copy *c, guint64 number, gboolean different)
{
	Asked *a = g_hash_table_lookup(c->asked_digests, &number);

	if (!a)
		return;
	Job *j = a->job;
	j->asked--;
	if (different && !a->last)
		g_queue_push_tail(&j->different, g_memdup2(&a->block, sizeof a->block));
	gboolean over = a->last;
	g_hash_table_remove(c->asked_digests, &number);
	if (!over)
		return;
	g_queue_remove(&c->jobs, j);
	if (!queued(c, &j->fid))
		g_hash_table_remove(c->todo, &j->fid);
	job_free(j);
}

/* --- what a slot has read --- */

static void put_content(Slot *s, const Job *j, ContentWhat what, guint64 off, guint64 len, guint32 mode, guint64 number, GBytes *data)
{
	Item i = { .kind = ITEM_CONTENT, .number = number, .what = what, .fid = j->fid, .off = off, .len = len, .mode = mode };

	slot_add(s, &i, data);
}

/* The last of a flare: what is the same now is made durable too, because the write intent may be gone. */
static void put_end(Copy *c, Slot *s, Job *j)
{
	j->stage = JOB_END;
	put_content(s, j, DO_SYNC, 0, 0, 0, ask(c, j, 0, 0, TRUE), NULL);
}

/* What was read for a job is there. NULL: nobody waits for it any more, or the attempt ends with the error. */
static Copy *job_redeem(Slot *s, int error)
{
	Copy *c = slot_redeem(s);

	if (!c)
		return NULL;
	((Job *)s->job)->reading--;
	if (!error)
		return c;
	slot_ready(s);
	copy_unread(c, error, "a content cannot be read");
	return NULL;
}

static void stat_read(void *user, int error, const StoreContentStat *st)
{
	Slot *s = user;
	Copy *c = job_redeem(s, error);

	if (!c)
		return;
	Job *j = s->job;
	if (!st->exists) {
		put_content(s, j, DO_DROP, 0, 0, 0, 0, NULL);
		put_end(c, s, j);
	} else {
		j->size = MIN(st->size, j->end);
		j->at = j->from;
		j->stage = JOB_SEEK;
		put_content(s, j, DO_TRUNCATE, st->size, 0, 0, 0, NULL);
	}
	slot_ready(s);
}

static void seek_read(void *user, int error, guint64 off)
{
	Slot *s = user;
	Copy *c = job_redeem(s, error == ENXIO ? 0 : error);

	if (!c)
		return;
	Job *j = s->job;
	guint64 data = error ? j->size : MIN(off, j->size);
	/* A copy that was empty has nothing in holes but what was begun since and failed here. */
	if (data > j->at && (!c->blank || g_hash_table_contains(c->o->suspects, &j->fid)))
		put_content(s, j, DO_FALLOCATE, j->at, data - j->at, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, NULL);
	j->at = MAX(j->at, data);
	j->stage = j->at < j->size ? JOB_READ : JOB_WAIT;
	slot_ready(s);
}

static void put_block(Slot *s, const Job *j, guint64 off, guint64 len, GBytes *data)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(data, &n);

	if (n < len || item_zeros(p, n))      /* short: it was cut meanwhile, and that comes behind */
		put_content(s, j, DO_FALLOCATE, off, len, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, NULL);
	if (n && !item_zeros(p, n))
		put_content(s, j, DO_WRITE, off, n, 0, 0, data);
}

/* TRUE: the bytes come from a copy, if one has them. */
static gboolean job_rescue(Slot *s, int error, void (*again)(void *, int, GBytes *))
{
	Copy *c = owner_attempt(s->o, s->attempt);

	if (!c || !rescue_may(error) || s->rescued)
		return FALSE;
	s->rescued = TRUE;
	rescue_begin(s->o, &((Job *)s->job)->fid, s->off, s->len, error, c->volcano, again, s);
	return TRUE;
}

static void digest_read(void *user, int error, GBytes *data)
{
	Slot *s = user;
	gsize n;

	if (job_rescue(s, error, digest_read))
		return;
	Copy *c = job_redeem(s, error);
	if (!c)
		return;
	Job *j = s->job;
	if (c->blank) {
		put_block(s, j, s->off, s->len, data);
	} else {
		Item i = { .kind = ITEM_DIGEST, .number = ask(c, j, s->off, s->len, FALSE), .fid = j->fid, .off = s->off, .len = s->len };
		const guint8 *p = g_bytes_get_data(data, &n);
		item_digest(p, n, i.digest);
		slot_add(s, &i, NULL);
	}
	slot_ready(s);
}

static void block_read(void *user, int error, GBytes *data)
{
	Slot *s = user;

	if (job_rescue(s, error, block_read) || !job_redeem(s, error))
		return;
	put_block(s, s->job, s->off, s->len, data);
	slot_ready(s);
}

/* --- the next pieces of each flare --- */

static Slot *job_slot(Copy *c, Job *j, guint64 off, guint64 len)
{
	Slot *s = slot_new(c, 0);

	s->job = j;
	s->off = off;
	s->len = len;
	j->reading++;
	return s;
}

static void job_read(Copy *c, Job *j)
{
	Owner *o = c->o;
	guint64 attempt = c->attempt;

	for (guint n = 0; n < BLOCKS_AT_ONCE && j->at < j->size; n++) {
		guint64 len = MIN(BLOCK - j->at % BLOCK, j->size - j->at), off = j->at;
		j->at += len;
		store_content_read(o->local, &j->fid, off, len, digest_read, job_slot(c, j, off, len));
		if (!owner_attempt(o, attempt))       /* it has failed: job and all */
			return;
	}
	j->stage = j->at < j->size ? JOB_SEEK : JOB_WAIT;
}

static void job_go(Copy *c, Job *j)
{
	Store *s = c->o->local;
	g_autofree Block *b = NULL;

	if (j->reading)
		return;
	switch (j->stage) {
	case JOB_STAT:
		store_content_stat(s, &j->fid, stat_read, job_slot(c, j, 0, 0));
		return;
	case JOB_SEEK:
		if (j->at >= j->size)
			j->stage = JOB_WAIT;
		else
			store_content_seek(s, &j->fid, j->at, SEEK_DATA, seek_read, job_slot(c, j, 0, 0));
		return;
	case JOB_READ:
		job_read(c, j);
		return;
	case JOB_WAIT:
		if ((b = g_queue_pop_head(&j->different))) {
			store_content_read(s, &j->fid, b->off, b->len, block_read, job_slot(c, j, b->off, b->len));
		} else if (!j->asked) {
			Slot *last = job_slot(c, j, 0, 0);
			j->reading--;
			put_end(c, last, j);
			slot_ready(last);
		}
		return;
	case JOB_END:
		return;
	}
}

void catchup_contents(Copy *c)
{
	guint64 attempt = c->attempt;
	Owner *o = c->o;
	g_autofree MagmaFid *fid = NULL;

	if (!catchup_may(c))
		return;
	if (!c->todo_next.length)
		catchup_walk(c);
	if (!owner_attempt(o, attempt))
		return;
	while (c->jobs.length < JOBS_MAX && (fid = dequeue(c))) {
		Job *j = g_new0(Job, 1);
		const Region *part = g_hash_table_lookup(c->regions, fid);
		j->fid = *fid;
		j->from = part ? part->from : 0;
		j->end = part ? part->end : G_MAXUINT64;
		g_hash_table_remove(c->regions, fid);
		g_clear_pointer(&fid, g_free);
		g_queue_push_tail(&c->jobs, j);
	}
	g_autoptr(GPtrArray) jobs = g_ptr_array_new();
	for (GList *l = c->jobs.head; l; l = l->next)
		g_ptr_array_add(jobs, l->data);
	for (guint i = 0; i < jobs->len && owner_attempt(o, attempt); i++)      /* a failing read ends the attempt */
		job_go(c, jobs->pdata[i]);
}
