/* The Store in front of the owner's own: commits, what passes through, and the owner's life. */
#include "magmad/mirror/owner-inside.h"
#include <stdarg.h>

#define KEEP_BYTES (256u << 20)
#define PACE (64u << 20)
#define TICK (SECOND / 10)
#define QUIET_TICK SECOND       /* nothing is under way to any copy: each tick is a wake-up of an idle machine */
enum { SCAN_ROWS = 512 };



Owner *owner_ref(Owner *o)
{
	o->refs++;
	return o;
}

void owner_unref(Owner *o)
{
	if (--o->refs)
		return;
	feed_clear(&o->feed);
	g_ptr_array_unref(o->copies);
	g_ptr_array_unref(o->held);
	g_ptr_array_unref(o->held_syncs);
	g_ptr_array_unref(o->syncs);
	g_ptr_array_unref(o->rescues);
	g_hash_table_unref(o->unread);
	g_hash_table_unref(o->suspects);
	g_free(o);
}

void owner_say(Owner *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	g_autofree char *line = g_strdup_printf("slice %u: %s", o->cfg.slice, text);
	o->cfg.io->say(o->cfg.user, line);
}

Copy *owner_copy(Owner *o, guint16 volcano)
{
	for (guint i = 0; i < o->copies->len; i++)
		if (((Copy *)o->copies->pdata[i])->volcano == volcano)
			return o->copies->pdata[i];
	return NULL;
}

Copy *owner_attempt(Owner *o, guint64 attempt)
{
	for (guint i = 0; !o->dead && attempt && i < o->copies->len; i++)
		if (((Copy *)o->copies->pdata[i])->attempt == attempt)
			return o->copies->pdata[i];
	return NULL;
}

gboolean owner_feeds(Owner *o)
{
	if (!o->told)
		return TRUE;
	for (guint i = 0; i < o->copies->len; i++) {
		const Copy *c = o->copies->pdata[i];
		if (c->counted || c->stream)
			return TRUE;
	}
	return FALSE;
}

/* --- the Store --- */

static StoreGet vt_get(Store *s, Fetch *f, StoreTable t, const void *key, gsize klen, const guint8 **val, gsize *vlen)
{
	return store_get(owner_of(s)->local, f, t, key, klen, val, vlen);
}

static void vt_fetch_clear(Store *s, Fetch *f) { store_fetch_clear(owner_of(s)->local, f); }

static guint64 vt_commit(Store *s, Txn *t)
{
	Owner *o = owner_of(s);

	o->pace->commits++;
	if (txn_empty(t) || !owner_feeds(o))
		return store_commit(o->local, t);
	StorePos at = { o->epoch, o->local->log->position(o->local).index + 1 };
	feed_add_frame(&o->feed, at, txn_bytes(t));
	guint64 index = store_commit(o->local, t);
	g_assert(index == at.index);
	return index;
}

static guint64 vt_acked(Store *s) { return store_acked(owner_of(s)->local); }

static void vt_usage(Store *s, StoreUsage *out) { owner_of(s)->local->vt->usage(owner_of(s)->local, out); }

static const StoreVt *owner_vt(void)
{
	static StoreVt vt;

	if (!vt.get) {
		vt = (StoreVt){ .get = vt_get, .fetch_clear = vt_fetch_clear, .commit = vt_commit, .acked = vt_acked, .usage = vt_usage };
		pass_vt(&vt);
		contents_vt(&vt);
		sync_vt(&vt);
	}
	return &vt;
}

static void on_acked(void *user, guint64 index)
{
	Owner *o = user;

	if (o->dead || o->deposed)
		return;
	if (o->base.on_acked)
		o->base.on_acked(o->base.user, index);
	if (!o->dead && o->early.length)
		owner_update(o);
}

void owner_failed(Owner *o, const char *text)
{
	if (!o->dead && o->base.on_failed)
		o->base.on_failed(o->base.user, text);
}

static void on_failed(void *user, const char *text) { owner_failed(user, text); }

static void on_written(void *user, guint64 index)
{
	Owner *o = user;

	for (guint i = 0; i < o->copies->len; i++)
		((Copy *)o->copies->pdata[i])->read_dry = FALSE;
}

/* --- what was acknowledged --- */

static void update_limit(Owner *o)
{
	guint64 limit = G_MAXUINT64;

	if (!o->told || o->deposed)
		return;
	for (guint i = 0; i < o->copies->len; i++) {
		const Copy *c = o->copies->pdata[i];
		if (c->counted)
			limit = MIN(limit, c->acked_index);
	}
	if (limit == o->limit)
		return;
	o->limit = limit;
	o->local->log->set_limit(o->local, limit);
}

static void update_feed(Owner *o)
{
	guint64 keep = feed_end(&o->feed);

	for (guint i = 0; i < o->copies->len; i++) {
		Copy *c = o->copies->pdata[i];
		guint64 needs = c->counted || c->phase == PHASE_LIVE ? c->acked_seq : c->cursor;
		if (c->stream && !c->counted && feed_bytes_from(&o->feed, MAX(needs, o->feed.base)) > FEED_MAX)
			copy_lost(c, 0, "too slow: it goes on from the journal");
		if (c->counted || c->stream)
			keep = MIN(keep, needs);
	}
	if (o->told)
		feed_trim(&o->feed, keep);
}

static void update_keep(Owner *o)
{
	guint64 after = o->local->log->position(o->local).index;

	for (guint i = 0; i < o->copies->len; i++)
		after = MIN(after, ((Copy *)o->copies->pdata[i])->acked_index);
	o->local->log->keep(o->local, after, o->copies->len ? (o->cfg.keep_bytes ? o->cfg.keep_bytes : KEEP_BYTES) : 0);
}

static void update_counts(Owner *o)
{
	for (guint i = 0; i < o->copies->len && !o->dead; i++)
		copy_count(o->copies->pdata[i]);
}

/* Everybody who may have more has said that it has not. */
static void look_at_ends(Owner *o)
{
	for (guint i = 0; i < o->copies->len; i++) {
		const Copy *c = o->copies->pdata[i];
		if (c->counted && !c->not_ahead)
			return;
	}
	o->comparing = FALSE;
	o->cfg.on_compared(o->cfg.user);
}

void owner_update(Owner *o)
{
	o->again = TRUE;
	if (o->updating)
		return;
	owner_ref(o);
	o->updating = TRUE;
	while (o->again && !o->dead) {
		o->again = FALSE;
		update_limit(o);
		if (!o->dead)
			update_feed(o);
		if (!o->dead)
			contents_update(o);
		if (!o->dead)
			sync_update(o);
		if (!o->dead)
			rescue_update(o);
		if (!o->dead)
			update_counts(o);
	}
	o->updating = FALSE;
	if (o->comparing && o->told && !o->dead && !o->deposed)
		look_at_ends(o);
	owner_unref(o);
}

/* --- its life --- */

static gboolean all_quiet(const Owner *o)
{
	for (guint i = 0; i < o->copies->len; i++) {
		const Copy *c = o->copies->pdata[i];
		if (!c->started || !c->in_map || c->sent.length || c->sync_calls->len || c->syncs.length || store_acked(o->local) > c->commit_said)
			return FALSE;
	}
	return !o->syncs->len && !o->held->len && !o->unread_rows.length;
}

static void on_tick(void *user)
{
	Owner *o = user;

	o->tick = o->cfg.io->timer(o->cfg.user, all_quiet(o) ? QUIET_TICK : TICK, on_tick, o);
	owner_ref(o);
	catchup_look(o);
	for (guint i = 0; i < o->copies->len && !o->dead; i++)
		copy_tick(o->copies->pdata[i]);
	if (!o->dead)
		owner_update(o);
	if (!o->dead)
		update_keep(o);
	pass_tick(o);
	owner_unref(o);
}

static void suspects_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof);

static void read_suspects(Owner *o)
{
	store_scan(o->local, TAB_DIRTY, o->dirty_from, o->dirty_fromlen, NULL, 0, SCAN_ROWS, suspects_read, owner_ref(o));
}

static void suspects_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Owner *o = user;

	for (guint i = 0; i < n && !o->dead; i++) {
		MagmaFid fid = { rows[i].rk, magma_be64_load(rows[i].key) };
		g_hash_table_add(o->suspects, g_memdup2(&fid, sizeof fid));
	}
	if (o->dead) {
	} else if (error) {
		on_failed(o, "the write intents cannot be read");
	} else if (!eof && n) {
		o->dirty_fromlen = rows[n - 1].klen;
		memcpy(o->dirty_from, rows[n - 1].key, o->dirty_fromlen);
		read_suspects(o);
	} else {
		o->suspects_known = TRUE;
		owner_update(o);
	}
	owner_unref(o);
}

/* Who owns a slice is whole; it says so to itself for the day when it is a copy. */
static void whole_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Owner *o = user;

	if (!o->dead && !error && !n)
		item_mark_whole(o->local);
	owner_unref(o);
}

Owner *owner_new(Store *local, guint64 epoch, const OwnerConfig *cfg)
{
	Owner *o = g_new0(Owner, 1);

	o->refs = 1;
	o->base.vt = owner_vt();
	o->local = local;
	o->epoch = epoch;
	o->start_pos = local->log->position(local);
	o->start_index = o->start_pos.index;
	o->comparing = cfg->compare;
	o->cfg = *cfg;
	o->pace = cfg->shared ? cfg->shared : &o->own_pace;
	if (!o->cfg.pace)
		o->cfg.pace = PACE;
	o->copies = g_ptr_array_new();
	o->held = g_ptr_array_new();
	o->held_syncs = g_ptr_array_new();
	o->syncs = g_ptr_array_new();
	o->rescues = g_ptr_array_new();
	o->unread = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, g_free);
	o->suspects = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, NULL);
	feed_init(&o->feed);
	local->log->set_limit(local, 0);
	local->log->set_epoch(local, epoch);
	local->log->keep(local, 0, o->cfg.keep_bytes ? o->cfg.keep_bytes : KEEP_BYTES);
	local->on_acked = on_acked;
	local->on_failed = on_failed;
	local->user = o;
	local->on_written = on_written;
	local->log_user = o;
	if (!local->log->position(local).index)
		item_mark_whole(local);       /* in front of everything, so that the journal can be read from its beginning */
	else
		store_scan(local, TAB_META, NULL, 0, META_WHOLE, strlen(META_WHOLE), 1, whole_read, owner_ref(o));
	read_suspects(o);
	o->tick = cfg->io->timer(cfg->user, TICK, on_tick, o);
	return o;
}

Store *owner_store(Owner *o) { return &o->base; }

void owner_set_part(Owner *o, gboolean part) { o->part = part; }

void owner_set_copies(Owner *o, const CopySpec *specs, guint n)
{
	for (guint i = 0; i < o->copies->len; ) {
		Copy *c = o->copies->pdata[i];
		guint k = 0;
		while (k < n && specs[k].volcano != c->volcano)
			k++;
		if (k < n) {
			i++;
			continue;
		}
		g_ptr_array_remove_index(o->copies, i);
		copy_free(c);
	}
	for (guint k = 0; k < n; k++) {
		Copy *c = owner_copy(o, specs[k].volcano);
		if (!c) {
			c = copy_new(o, specs[k].volcano);
			g_ptr_array_add(o->copies, c);
		}
		gboolean was = c->in_map;
		c->in_map = specs[k].in_sync;
		if (c->in_map && !c->counted) {
			c->counted = TRUE;
			/* Since the first map it is as if it had always counted; later only a copy that was asked for is added. */
			c->acked_seq = o->told ? feed_end(&o->feed) : o->feed.base;
			c->counted_seq = 0;
			c->contents_first |= o->told;     /* it had been refused, and what was begun since may have passed it by */
			if (c->stream)        /* also one whose start is on its way: its place in the feed is the old one */
				copy_lost(c, 0, NULL);
			sync_copy_joins(c);
		} else if (was && !c->in_map) {
			c->counted = c->asked = FALSE;
			copy_lost(c, 0, NULL);
		} else if (specs[k].down && c->counted && !c->in_map && !c->asked) {
			copy_lost(c, 0, NULL);        /* it is waited for, and nobody was asked to count it */
		}
	}
	o->told = TRUE;
	for (guint i = 0; i < o->copies->len; i++)
		copy_attach(o->copies->pdata[i]);
	owner_update(o);
}

void owner_not_in_sync(Owner *o, guint16 volcano)
{
	Copy *c = owner_copy(o, volcano);

	if (!c || c->in_map || !c->counted)
		return;
	c->counted = c->asked = FALSE;
	c->ask_again = o->cfg.io->now(o->cfg.user) + SECOND;
	catchup_hold(c);
	owner_update(o);
}

gboolean owner_waits_for(Owner *o, guint16 volcano)
{
	const Copy *c = owner_copy(o, volcano);

	return c && c->in_map && (!c->started || c->heard <= c->stuck_said);
}

void owner_flush(Owner *o)
{
	if (o->deposed)
		return;
	owner_ref(o);
	for (guint i = 0; i < o->copies->len && !o->dead; i++) {
		stream_pump(o->copies->pdata[i]);
		sync_copy_pump(o->copies->pdata[i]);
	}
	if (!o->dead)
		rescue_flush(o);
	owner_unref(o);
}

guint owner_status(Owner *o, CopyStatus *out, guint max)
{
	guint n = MIN(max, o->copies->len);

	for (guint i = 0; i < n; i++)
		catchup_status(o->copies->pdata[i], &out[i]);
	return n;
}

void owner_free(Owner *o)
{
	if (!o)
		return;
	o->dead = TRUE;
	o->local->on_acked = NULL;
	o->local->on_failed = NULL;
	o->local->on_written = NULL;
	o->local->log->keep(o->local, 0, 0);      /* the next owner feeds the copies */
	o->cfg.io->timer_cancel(o->cfg.user, o->tick);
	for (guint i = 0; i < o->copies->len; i++)
		copy_free(o->copies->pdata[i]);
	g_ptr_array_set_size(o->copies, 0);
	rescue_end(o);
	pass_end(o);
	contents_end(o);
	sync_end(o);
	owner_unref(o);
}
