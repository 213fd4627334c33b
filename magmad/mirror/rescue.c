/* Contents that the owner's disk does not read in one place (EIO): a copy that counts has the same bytes. They are asked of it, for whoever reads and for a comparison, and written over the place here, because
 * disks find another sector for what is written. What a disk refuses to take ends the volcano, as ever (magmad/store/content.c).
 *
 * What a copy answers has everything in it that was begun before it was asked: it is asked behind its stream up to there. So it may be written here too, as long as nothing was begun on that content since. */
#include "magmad/mirror/owner-inside.h"

enum { PAGE = 4096 };

typedef enum { RESCUE_WAITS, RESCUE_ASKED, RESCUE_WRITES } RescueStage;

struct Rescue {
	Owner *o;                     /* a reference */
	RescueStage stage;
	MagmaFid fid;
	guint64 off, len;             /* that somebody waits for */
	guint64 from, end;            /* whole pages */
	guint16 with;                 /* for a comparison with that copy, 0: for a reader */
	gboolean touched;             /* something was begun on the content since a copy was asked */
	int error;                    /* of the disk here */
	guint16 asked;                /* volcano */
	gpointer call;
	GArray *tried;                /* guint16 volcano: they could not read it either */
	GBytes *data;
	void (*done)(void *user, int error, GBytes *data);
	void *user;
};

static void rescue_free(Rescue *r)
{
	if (r->data)
		g_bytes_unref(r->data);
	g_array_unref(r->tried);
	owner_unref(r->o);
	g_free(r);
}

static void rescue_over(Rescue *r)
{
	g_ptr_array_remove(r->o->rescues, r);
	rescue_free(r);
}

static void rescue_fails(Rescue *r, int error)
{
	void (*done)(void *, int, GBytes *) = r->done;
	void *user = r->user;

	rescue_over(r);
	done(user, error, NULL);
}

static void say(Rescue *r, const char *what, guint16 volcano)
{
	char hex[MAGMA_KEY_HEX];

	magma_key_to_hex(&r->fid.key, hex);
	g_autofree char *by = volcano ? g_strdup_printf(" volcano %u", volcano) : g_strdup("");
	owner_say(r->o, "content %s.%016" G_GINT64_MODIFIER "x does not read here at %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT " (%s): %s%s", hex, r->fid.ino, r->from, r->end - r->from, g_strerror(r->error), what, by);
}

/* --- which places are bad --- */

typedef struct {
	guint64 from, end;
} Place;

static void place_bad(Owner *o, const MagmaFid *fid, guint64 from, guint64 end)
{
	Place *p = g_hash_table_lookup(o->unread, fid);

	if (p) {
		*p = (Place){ MIN(p->from, from), MAX(p->end, end) };
		return;
	}
	p = g_new(Place, 1);
	*p = (Place){ from, end };
	g_hash_table_insert(o->unread, g_memdup2(fid, sizeof *fid), p);
}

/* That part reads again. */
static void place_good(Owner *o, const MagmaFid *fid, guint64 from, guint64 end)
{
	Place *p = g_hash_table_lookup(o->unread, fid);

	if (!p || from >= p->end || end <= p->from)
		return;
	if (from > p->from && end >= p->end)
		p->end = from;
	else if (from <= p->from && end < p->end)
		p->from = end;
	else if (from <= p->from)
		g_hash_table_remove(o->unread, fid);
}

void rescue_forget(Owner *o, const MagmaFid *fid) { g_hash_table_remove(o->unread, fid); }

/* --- written here --- */

static void rewrite_synced(void *user, int error)
{
	Rescue *r = user;

	if (!error && !r->o->dead) {
		r->o->rewritten++;
		place_good(r->o, &r->fid, r->from, r->end);
		say(r, "rewritten with the bytes of", r->asked);
	}
	rescue_over(r);
}

static void rewrite_part(void *user, int error) { owner_unref(user); }

/* Whole pages, for a part of one cannot be written without reading the rest. What that puts behind the end of the file is cut at once; a crash in between leaves zeros there, where nobody looks. */
static void rewrite(Rescue *r, guint64 size)
{
	Store *s = r->o->local;
	gsize n;
	const guint8 *p = g_bytes_get_data(r->data, &n);
	guint64 end = MIN(r->end, size);

	if (n != end - r->from) {             /* not the same length here and there: nothing to be mended in passing */
		rescue_over(r);
		return;
	}
	guint64 whole = (n + PAGE - 1) / PAGE * PAGE;
	guint8 *pages = g_malloc0(whole);
	memcpy(pages, p, n);
	g_autoptr(GBytes) data = g_bytes_new_take(pages, whole);
	store_content_write(s, &r->fid, r->from, data, rewrite_part, owner_ref(r->o));
	if (whole > n)
		store_content_truncate(s, &r->fid, size, rewrite_part, owner_ref(r->o));
	store_content_sync(s, &r->fid, rewrite_synced, r);
}

static void rewrite_sized(void *user, int error, const StoreContentStat *st)
{
	Rescue *r = user;

	if (error || !st->exists || r->touched || r->o->dead || r->o->deposed || st->size <= r->from || r->from % PAGE)
		rescue_over(r);
	else
		rewrite(r, st->size);
}

/* --- asked of a copy --- */

static gboolean was_tried(const Rescue *r, guint16 volcano)
{
	for (guint i = 0; i < r->tried->len; i++)
		if (g_array_index(r->tried, guint16, i) == volcano)
			return TRUE;
	return FALSE;
}

/* The part that was asked for, of what came. */
static GBytes *answer_of(const Rescue *r)
{
	gsize n = g_bytes_get_size(r->data), skip = MIN(n, r->off - r->from);

	return g_bytes_new_from_bytes(r->data, skip, MIN(n - skip, r->len));
}

static void came(Rescue *r)
{
	g_autoptr(GBytes) part = answer_of(r);
	void (*done)(void *, int, GBytes *) = r->done;
	void *user = r->user;

	r->stage = RESCUE_WRITES;
	say(r, "its bytes come from", r->asked);
	/* first: what done begins comes behind it */
	store_content_stat(r->o->local, &r->fid, rewrite_sized, r);
	done(user, 0, part);
}

static void answered(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Rescue *r = user;
	Owner *o = owner_ref(r->o);
	Copy *c = owner_copy(o, r->asked);
	guint32 inner = rep ? rep->rep_mirror_read.error : 0;

	r->call = NULL;
	r->stage = RESCUE_WAITS;
	if (inner == ENOTCONN || inner == ESTALE) {
		copy_answer_bad(c, 0, inner, rep->rep_mirror_read.epoch, "read");
	} else if (error || inner || rep->rep_mirror_read.data.len > r->end - r->from) {
		g_array_append_val(r->tried, r->asked);
	} else {
		c->heard = o->cfg.io->now(o->cfg.user);
		r->data = g_bytes_new(rep->rep_mirror_read.data.data, rep->rep_mirror_read.data.len);
		came(r);
	}
	owner_update(o);
	owner_unref(o);
}

/* Something was begun on that content that its stream has not brought it yet. */
static gboolean behind(const Rescue *r, const Copy *c)
{
	guint64 seq = 0;

	return feed_touching(&r->o->feed, &r->fid, 0, G_MAXUINT64, &seq) && c->cursor <= seq;
}

static void ask(Rescue *r, Copy *c)
{
	struct magma_req_mirror_read q = { .slice = r->o->cfg.slice, .epoch = r->o->epoch, .stream = c->stream, .sequence = c->sequence, .fid = r->fid, .offset = r->from, .size = r->end - r->from };

	r->stage = RESCUE_ASKED;
	r->asked = c->volcano;
	r->touched = behind(r, c);
	r->call = r->o->cfg.io->call(r->o->cfg.user, c->volcano, MAGMA_OP_mirror_read, &q, NULL, 0, answered, r);
}

/* What counts has all that was acknowledged, compared or not, unless a power cut may have taken some: a reader waits for the comparison, which itself must not take that for right. */
static gboolean may_have(const Rescue *r, const Copy *c) { return c->counted && c->in_map && !was_tried(r, c->volcano) && !(r->with && c->contents_first); }

/* A copy that is compared itself is behind until that is over; what it has is what it is compared with. */
static gboolean ready(const Rescue *r, const Copy *c)
{
	if (!c->started || c->big || (!r->with && (c->contents_first || c->todo_unknown || catchup_todo_has(c, &r->fid))))
		return FALSE;
	return r->with == c->volcano || !behind(r, c);
}

void rescue_flush(Owner *o)
{
	for (guint i = 0; i < o->rescues->len; i++) {
		Rescue *r = o->rescues->pdata[i];
		for (guint k = 0; k < o->copies->len && r->stage == RESCUE_WAITS; k++) {
			Copy *c = o->copies->pdata[k];
			if (may_have(r, c) && ready(r, c))
				ask(r, c);
		}
	}
}

static gboolean hopeless(const Rescue *r)
{
	for (guint i = 0; i < r->o->copies->len; i++)
		if (may_have(r, r->o->copies->pdata[i]))
			return FALSE;
	return r->o->told && r->stage == RESCUE_WAITS;
}

void rescue_update(Owner *o)
{
	for (guint i = 0; i < o->rescues->len && !o->dead; ) {
		Rescue *r = o->rescues->pdata[i];
		if (!hopeless(r)) {
			i++;
			continue;
		}
		say(r, "no copy that counts has it", 0);
		rescue_fails(r, r->error);
		i = 0;
	}
}

void rescue_copy_lost(Copy *c)
{
	for (guint i = 0; i < c->o->rescues->len; i++) {
		Rescue *r = c->o->rescues->pdata[i];
		if (r->stage != RESCUE_ASKED || r->asked != c->volcano)
			continue;
		c->o->cfg.io->cancel(c->o->cfg.user, r->call);
		r->call = NULL;
		r->stage = RESCUE_WAITS;
	}
}

void rescue_touched(Owner *o, const MagmaFid *fid)
{
	for (guint i = 0; i < o->rescues->len; i++) {
		Rescue *r = o->rescues->pdata[i];
		r->touched |= magma_fid_equal(&r->fid, fid);
	}
}

void rescue_end(Owner *o)
{
	g_autoptr(GPtrArray) waiting = g_ptr_array_new();

	for (guint i = 0; i < o->rescues->len; i++)
		if (((Rescue *)o->rescues->pdata[i])->stage != RESCUE_WRITES)      /* the others are answered by the store */
			g_ptr_array_add(waiting, o->rescues->pdata[i]);
	for (guint i = 0; i < waiting->len; i++)
		rescue_fails(waiting->pdata[i], ECANCELED);
}

/* --- what begins it --- */

/* The disk says that what stands there cannot be had; anything else is not about the place. */
gboolean rescue_may(int error) { return error == EIO || error == EUCLEAN || error == EBADMSG; }

void rescue_begin(Owner *o, const MagmaFid *fid, guint64 off, guint64 len, int error, guint16 with, void (*done)(void *, int, GBytes *), void *user)
{
	Rescue *r = g_new(Rescue, 1);
	guint64 from = off / PAGE * PAGE, end = (off + len + PAGE - 1) / PAGE * PAGE;

	if (end - from > MAGMA_DATA_MAX) {    /* too much to be asked for: no whole pages, nothing is rewritten */
		from = off;
		end = off + len;
	}
	*r = (Rescue){ .o = owner_ref(o), .fid = *fid, .off = off, .len = len, .from = from, .end = end, .with = with, .error = error, .tried = g_array_new(FALSE, FALSE, sizeof(guint16)),
		.done = done, .user = user };
	place_bad(o, fid, from, end);
	g_ptr_array_add(o->rescues, r);
	owner_update(o);
}

/* A read of the owner's, and of a copy where it does not read here. */
typedef struct {
	Owner *o;
	MagmaFid fid;
	guint64 off, len;
	void (*done)(void *user, int error, GBytes *data);
	void *user;
} Reading;

static void was_read(void *user, int error, GBytes *data)
{
	Reading *k = user;
	Owner *o = k->o;

	if (o->dead) {
	} else if (error && rescue_may(error)) {
		contents_rescue(o, &k->fid, k->off, k->len, error, k->done, k->user);
	} else {
		if (!error && g_hash_table_size(o->unread))
			place_good(o, &k->fid, k->off, k->off + k->len);
		k->done(k->user, error, data);
	}
	owner_unref(o);
	g_slice_free(Reading, k);
}

void rescue_read(Owner *o, const MagmaFid *fid, guint64 off, guint64 len, void (*done)(void *, int, GBytes *), void *user)
{
	Reading *k = g_slice_new(Reading);

	*k = (Reading){ owner_ref(o), *fid, off, len, done, user };
	store_content_read(o->local, fid, off, len, was_read, k);
}

void owner_damage(Owner *o, guint *unread, guint64 *rewritten)
{
	*unread = g_hash_table_size(o->unread);
	*rewritten = o->rewritten;
}
