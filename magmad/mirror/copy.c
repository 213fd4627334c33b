/* One copy as its owner sees it: attach, find the last frame that both logs share, start; silence; from when on it counts. */
#include "magmad/mirror/owner-inside.h"

#define STUCK_AFTER (2 * SECOND)
#define SAY_AGAIN (10 * SECOND)
#define SLOW_AFTER (SECOND * 7 / 10)
#define SLOW_SHOWN (3 * SECOND)       /* one that is slow with every message is slow all the time */
#define RETRY (SECOND / 5)
#define PROBE_AFTER (10 * SECOND)

static MagmaTime now(const Copy *c) { return c->o->cfg.io->now(c->o->cfg.user); }

Copy *copy_new(Owner *o, guint16 volcano)
{
	Copy *c = g_new0(Copy, 1);

	c->o = o;
	c->volcano = volcano;
	c->heard = now(c);
	c->todo = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, NULL);
	c->regions = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, g_free);
	c->has = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	c->asked_digests = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	c->slots = g_ptr_array_new();
	c->sync_calls = g_ptr_array_new();
	return c;
}

static void stop(Copy *c)
{
	const OwnerConfig *cfg = &c->o->cfg;

	if (c->call)
		cfg->io->cancel(cfg->user, c->call);
	if (c->retry)
		cfg->io->timer_cancel(cfg->user, c->retry);
	c->call = NULL;
	c->retry = 0;
	c->slow_until = 0;
	c->started = FALSE;
	c->stream = c->attempt = 0;
	stream_clear(c);
	catchup_clear(c);
	rescue_copy_lost(c);
}

void copy_free(Copy *c)
{
	stop(c);
	compare_end(c);
	sync_copy_clear(c);
	g_queue_clear_full(&c->todo_next, g_free);
	g_free(c->stuck_why);
	g_free(c->lost_said);
	g_hash_table_unref(c->todo);
	g_hash_table_unref(c->regions);
	g_hash_table_unref(c->has);
	g_hash_table_unref(c->asked_digests);
	g_ptr_array_unref(c->slots);
	g_ptr_array_unref(c->sync_calls);
	g_free(c);
}

static void retry(void *user)
{
	Copy *c = user;

	c->retry = 0;
	copy_attach(c);
}

/* Said at the next tick: whoever hears it may change the copies. */
static void stuck(Copy *c, const char *why)
{
	g_free(c->stuck_why);
	c->stuck_why = c->counted ? g_strdup(why) : NULL;
	c->stuck_seq = G_MAXUINT64;
}

/* An operation that no disk takes (too far out, too large) fails at the owner and at every copy. It is not sent again, and what it was about is compared. */
static gboolean failed_here_too(const Copy *c)
{
	const Feed *f = &c->o->feed;

	for (guint64 seq = MAX(c->acked_seq, f->base); seq < feed_end(f); seq++)
		if (feed_at(f, seq)->failed)
			return TRUE;
	return FALSE;
}

/* It answered that something failed: that is no matter if it has done all that there was by now, nor if it may be what failed here as well, as long as it gets on. */
static gboolean excused(Copy *c)
{
	if (c->stuck_seq == G_MAXUINT64)
		return FALSE;
	if (c->started && c->acked_seq >= c->stuck_seq)
		return TRUE;
	if (!failed_here_too(c))
		return FALSE;
	if (!c->excused_since || c->excused_seq != c->acked_seq)
		c->excused_since = now(c);
	c->excused_seq = c->acked_seq;
	return now(c) - c->excused_since < STUCK_AFTER;
}

static void say_stuck(Copy *c)
{
	g_autofree char *why = g_steal_pointer(&c->stuck_why);

	if (excused(c))
		return;
	c->stuck_said = now(c);
	if (!c->counted)
		return;
	owner_say(c->o, "copy at volcano %u: %s", c->volcano, why);
	c->o->cfg.on_stuck(c->o->cfg.user, c->volcano, why);
}

/* Where something over there fails at once, it is tried again ten times a second. */
static void say_lost(Copy *c, const char *why)
{
	if (g_strcmp0(c->lost_said, why) == 0 && now(c) - c->lost_said_at < SAY_AGAIN)
		return;
	g_free(c->lost_said);
	c->lost_said = g_strdup(why);
	c->lost_said_at = now(c);
	owner_say(c->o, "copy at volcano %u: %s", c->volcano, why);
}

void copy_lost(Copy *c, int error, const char *why)
{
	Owner *o = c->o;

	stop(c);
	if (!c->in_map && !c->asked)
		c->counted = FALSE;           /* the map does not know of it yet */
	sync_copy_lost(c);
	if (o->dead)
		return;
	c->retry = o->cfg.io->timer(o->cfg.user, RETRY, retry, c);
	if (error && error != ENOTCONN && error != EAGAIN) {
		g_autofree char *text = g_strdup_printf("%s: %s", why, g_strerror(error));
		stuck(c, text);
		c->stuck_seq = feed_end(&o->feed);
	} else if (why && !error) {
		say_lost(c, why);
	}
}

void copy_unread(Copy *c, int error, const char *why)
{
	Owner *o = c->o;
	gboolean could_own = c->counted && c->in_map;
	g_autofree char *text = g_strdup_printf("slice %u: %s for its copy at volcano %u: %s", o->cfg.slice, why, c->volcano, g_strerror(error));

	if (c->counted)
		copy_lost(c, EAGAIN, NULL);
	else
		copy_lost(c, 0, text);
	if (!could_own || o->dead)
		return;
	if (!c->unread_since)
		c->unread_since = now(c);
	if (error == EIO || now(c) - c->unread_since > STUCK_AFTER)       /* too many open files, say, may pass */
		owner_failed(o, text);
}

/* TRUE: the answer is none to go on with; it was dealt with, and c's stream is over. */
gboolean copy_answer_bad(Copy *c, int error, guint32 inner, guint64 epoch, const char *what)
{
	Owner *o = c->o;

	if (!error && !inner)
		return FALSE;
	if (!error && inner == ESTALE && epoch > o->epoch) {
		if (!o->deposed) {
			o->deposed = TRUE;
			o->local->log->set_limit(o->local, 0);
			o->cfg.on_deposed(o->cfg.user, epoch);
		}
		return TRUE;
	}
	copy_lost(c, error ? error : (int)inner, what);
	return TRUE;
}

/* --- the last frame that both logs share --- */

static guint64 epoch_end(const StoreEpoch *e, guint n, guint i, guint64 last) { return i + 1 < n ? e[i + 1].first - 1 : last; }

/* FALSE: none is known. */
static gboolean log_match(const StoreEpoch *mine, guint nm, guint64 my_last, const StoreEpoch *its, guint ni, guint64 its_last, guint64 *index)
{
	guint i = nm, k = ni;

	*index = 0;
	if (!its_last)
		return TRUE;
	while (i && k) {
		if (mine[i - 1].epoch > its[k - 1].epoch) {
			i--;
		} else if (mine[i - 1].epoch < its[k - 1].epoch) {
			k--;
		} else {
			*index = MIN(epoch_end(mine, nm, i - 1, my_last), epoch_end(its, ni, k - 1, its_last));
			if (*index >= MAX(mine[i - 1].first, its[k - 1].first))
				return TRUE;
			i--;
			k--;
		}
	}
	*index = 0;
	return nm && mine[0].first == 1 && ni && its[0].first == 1;
}

static gboolean find_match(Copy *c, const struct magma_rep_mirror_attach *a, guint64 *index)
{
	Store *s = c->o->local;
	const StoreEpoch *mine;
	guint nm = s->log->epochs(s, &mine);
	MagmaReader r = magma_reader(a->epochs.data, a->epochs.len);
	g_autoptr(GArray) its = g_array_new(FALSE, FALSE, sizeof(StoreEpoch));

	while (r.left && !r.error) {
		StoreEpoch e = { magma_get_u64(&r), 0 };
		e.first = magma_get_u64(&r);
		if (its->len && (e.epoch <= g_array_index(its, StoreEpoch, its->len - 1).epoch || e.first <= g_array_index(its, StoreEpoch, its->len - 1).first))
			return FALSE;
		g_array_append_val(its, e);
	}
	if (r.error)
		return FALSE;
	return log_match(mine, nm, s->log->position(s).index, (const StoreEpoch *)(void *)its->data, its->len, a->at_index, index);
}

/* --- attach and start --- */

static void start_done(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Copy *c = user;
	Owner *o = owner_ref(c->o);

	c->call = NULL;
	if (!copy_answer_bad(c, error, rep ? rep->rep_mirror_start.error : 0, rep ? rep->rep_mirror_start.epoch : 0, "start")) {
		c->heard = now(c);
		c->started = TRUE;
		c->acked_index = c->next_index - 1;
		catchup_begin(c);
		owner_update(o);
	}
	owner_unref(o);
}

/* Contents that frames in its log needed were done before it logged them. Done again, an older one would undo a newer one until that is done again, too; and the copy may own the slice before it is. */
static void note_what_it_has(Copy *c, guint64 index)
{
	const Feed *f = &c->o->feed;

	for (guint64 seq = MAX(c->acked_seq, f->base); seq < feed_end(f); seq++) {
		FeedItem *i = feed_at(f, seq);
		if (!i->frame || i->pos.index > index)
			continue;
		if (i->needs_n == ITEM_NEEDS_ALL)
			c->has_below = seq;
		for (guint n = 0; i->needs_n != ITEM_NEEDS_ALL && n < i->needs_n; n++)
			g_hash_table_add(c->has, g_memdup2(&i->needs[n], sizeof i->needs[n]));
	}
}

static void start(Copy *c, How how, guint64 index)
{
	Store *s = c->o->local;
	StorePos at = s->log->position(s);
	struct magma_req_mirror_start q = { .slice = c->o->cfg.slice, .epoch = c->o->epoch, .stream = c->stream, .how = how, .at_index = how ? at.index : index, .at_epoch = at.epoch };

	c->how = how;
	c->flushed = FALSE;
	c->blank = how == HOW_EMPTY;
	if (how == HOW_COMPARE)
		compare_begin(c, !c->whole);
	else if (how == HOW_EMPTY || c->whole)
		compare_end(c);
	c->whole = c->whole && !how;
	c->filled_here |= how != HOW_LOG;
	if (how != HOW_LOG)
		c->filled_by_compare = how == HOW_COMPARE;
	c->need_rows = FALSE;
	if (!c->counted)
		c->acked_seq = feed_end(&c->o->feed);
	c->cursor = c->acked_seq;
	c->has_below = 0;
	g_hash_table_remove_all(c->has);
	if (how == HOW_LOG && c->counted)
		note_what_it_has(c, index);
	c->next_index = q.at_index + 1;
	c->join_index = feed_index_before(&c->o->feed, c->cursor, at.index);
	c->call = c->o->cfg.io->call(c->o->cfg.user, c->volcano, MAGMA_OP_mirror_start, &q, NULL, 0, start_done, c);
}

/* Rule 3: the highest (epoch, index) wins. What is there alone was acknowledged, as far as anybody knows. */
static gboolean has_more(const Copy *c, const struct magma_rep_mirror_attach *a)
{
	const StorePos *mine = &c->o->start_pos;

	return c->o->comparing && c->counted && a->whole && (a->at_epoch > mine->epoch || (a->at_epoch == mine->epoch && a->at_index > mine->index));
}

static void attached(Copy *c, const struct magma_rep_mirror_attach *a)
{
	guint64 index = 0;

	if (has_more(c, a)) {
		c->heard = now(c);
		copy_lost(c, 0, NULL);
		c->o->cfg.on_behind(c->o->cfg.user, c->volcano);
		return;
	}
	c->not_ahead = TRUE;
	gboolean match = find_match(c, a, &index) && index >= a->floor;
	/* A comparison that was over goes on nowhere: a power cut may have taken its end from the copy, and with that rows that it had too many are back. */
	gboolean goes_on = c->filled_here && a->progress.len && index == a->at_index && (c->compare || !c->filled_by_compare);
	gboolean resume = a->whole || goes_on;

	c->heard = now(c);
	c->stream = a->stream;
	c->whole = a->whole;
	/* What it acknowledged in another life of its process a power cut may have taken. And frames from before this ownership may stand for contents that went only here. */
	c->contents_first = c->contents_first || !c->counted || (c->life && c->life != a->life) || (!c->compared && index < c->o->start_index);
	c->life = a->life;
	/* its rows are of this slice, at least in part */
	gboolean compare = match && a->at_index && (a->whole || a->progress.len) && c->o->local->log->position(c->o->local).index;
	if (a->whole && !match)
		owner_say(c->o, "volcano %u: its log and this one share nothing that is known; its copy is made anew", c->volcano);
	if (match && resume && !c->need_rows) {
		if (c->counted && index < c->acked_index)
			stuck(c, "it has lost what it had acknowledged");
		c->page_progresslen = MIN(a->progress.len, sizeof c->page_progress);
		memcpy(c->page_progress, a->progress.data, a->whole ? 0 : c->page_progresslen);
		start(c, HOW_LOG, index);
		return;
	}
	if (c->counted) {                     /* not while what is acknowledged waits for it */
		stuck(c, "its copy has to be made anew");
		copy_lost(c, 0, NULL);
		return;
	}
	c->page_progresslen = 0;
	start(c, compare ? HOW_COMPARE : HOW_EMPTY, 0);
}

static void attach_done(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Copy *c = user;
	Owner *o = owner_ref(c->o);

	c->call = NULL;
	if (!copy_answer_bad(c, error, rep ? rep->rep_mirror_attach.error : 0, rep ? rep->rep_mirror_attach.epoch : 0, "attach"))
		attached(c, &rep->rep_mirror_attach);
	if (o->comparing && !o->dead)
		owner_update(o);
	owner_unref(o);
}

void copy_attach(Copy *c)
{
	Owner *o = c->o;

	if (c->call || c->stream || c->retry || o->deposed)
		return;
	c->attempt = ++o->attempts;
	struct magma_req_mirror_attach q = { .slice = o->cfg.slice, .epoch = o->epoch, .attempt = c->attempt };
	c->call = o->cfg.io->call(o->cfg.user, c->volcano, MAGMA_OP_mirror_attach, &q, NULL, 0, attach_done, c);
}

/* --- from when on it counts --- */

/* What was acknowledged without it must be there before the map may know of it: so the owner waits for it first, and asks the map when it has everything older. */
void copy_count(Copy *c)
{
	Owner *o = c->o;
	guint64 end = feed_end(&o->feed);

	if (c->counted) {
		if (c->in_map || c->asked || !c->started || c->acked_seq < c->counted_seq || c->acked_index < c->counted_index || !sync_copy_idle(c, c->counted_seq))
			return;
		/* Rows that it was filled with lie between those frames: an owner with a shorter log would cut them away. */
		if (store_acked(o->local) < c->counted_index)
			return;
		c->asked = TRUE;
		o->cfg.on_caught_up(o->cfg.user, c->volcano);
		return;
	}
	if (!c->started || c->phase != PHASE_LIVE || c->next_index <= c->join_index || c->acked_seq < o->feed.base || end - c->acked_seq > NEAR || now(c) < c->ask_again)
		return;
	/* Hundreds of MiB may not be on its disk yet: that is waited for while nobody waits for it. What is left for the moment when it counts is small. */
	if (!c->flushed) {
		c->flushed = TRUE;
		c->flushed_seq = end;
		sync_copy_baseline(c);
	}
	if (!sync_copy_idle(c, c->flushed_seq))
		return;
	c->counted = TRUE;
	c->asked = FALSE;
	c->counted_seq = end;
	c->counted_index = o->local->log->position(o->local).index;
	sync_copy_joins(c);
	sync_copy_baseline(c);
	o->again = TRUE;
}

void copy_took(Copy *c, MagmaTime since)
{
	if (now(c) - since > SLOW_AFTER)
		c->slow_until = now(c) + SLOW_SHOWN;
}

void copy_tick(Copy *c)
{
	MagmaTime t = now(c);
	guint64 acked = store_acked(c->o->local);

	gboolean idle = c->started && !c->sent.length && !c->sync_calls->len;
	if (!idle)
		c->idle_since = t;
	else
		c->heard = t;
	if (c->sent.length)
		copy_took(c, c->heard);
	if (c->counted && t - c->heard > STUCK_AFTER && !c->in_map && !c->asked) {
		copy_lost(c, 0, "it does not answer");        /* the map does not know that it was about to count: nobody else can end the waiting */
		return;
	}
	if (c->counted && t - c->heard > STUCK_AFTER && t - c->stuck_said > STUCK_AFTER)
		stuck(c, "it does not answer");
	/* An empty message now and then finds a copy that was restarted in a quiet hour. */
	gboolean probe = t - c->idle_since > PROBE_AFTER;
	if (probe)
		c->idle_since = t;
	c->commit_due = c->started && (acked > c->commit_said || probe);
	if (t - c->rate_at >= SECOND) {
		c->rate = c->rate_at ? (c->done - c->rate_done) * SECOND / (t - c->rate_at) : 0;
		c->rate_done = c->done;
		c->rate_at = t;
	}
	if (c->stuck_why)
		say_stuck(c);         /* the last: c may be gone then */
}
