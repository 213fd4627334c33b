/* How a volcano finds out about its peers and its peers' late words: a refused port is a hint to the group, a late answer makes its session look whether the other end is there (core/volcano.h), and
 * SETTLE about a mark that nobody knows (docs/architecture.md, "After a power cut"). */
#include "tests/unit/group_kit.h"

#define MS ((MagmaTime)1000)

static void ignore(void *user, int error, const MagmaAny *rep, GBytes *msg) { (*(int *)user) = error; }

static Session *ask_status(GroupKit *k, guint16 id, int *error)
{
	struct magma_req_status q = { 0 };
	MagmaHdr h;
	MagmaAny req;
	Session *s = NULL;

	core_enter(k->v);
	call_volcano(k->v, NULL, id, MAGMA_OP_status, &q, NULL, 5 * SECOND, ignore, error);
	core_leave(k->v);
	g_assert_true(kit_asked(k, MAGMA_OP_status, &h, &req, &s));
	g_assert_cmpuint(s->to.ip[3], ==, id);
	return s;
}

static guint requests(Session *s, MagmaOp op)
{
	guint n = 0;

	for (guint i = 0; i < s->sent->len; i++) {
		MagmaHdr h;
		MagmaAny any;
		gsize len;
		const guint8 *p = g_bytes_get_data(s->sent->pdata[i], &len);
		n += magma_msg_decode(p, len, &h, &any) == 0 && h.kind == MAGMA_REQUEST && h.op == op;
	}
	return n;
}

/* A session is reliable: a second copy could be done after all is settled. */
static GroupKit *of_three(void)
{
	GroupKit *k = kit_new(kit_ring(3, 2), FALSE);

	kit_leads(k);                                  /* it asks nobody for the map */
	return k;
}

static void a_late_answer_probes_the_session_and_sends_nothing_twice(void)
{
	g_autoptr(GroupKit) k = of_three();
	int error = -1;
	Session *s = ask_status(k, 2, &error);

	g_assert_cmpuint(s->probes, ==, 0);
	kit_run(k, 3 * SECOND);
	g_assert_cmpuint(s->probes, >=, 1);
	g_assert_cmpuint(requests(s, MAGMA_OP_status), ==, 1);
	g_assert_cmpint(error, ==, -1);
	kit_run(k, 3 * SECOND);
	g_assert_cmpint(error, ==, ETIMEDOUT);
}

static void an_answer_in_time_probes_nothing(void)
{
	g_autoptr(GroupKit) k = of_three();
	int error = -1;
	Session *s = ask_status(k, 2, &error);
	MagmaHdr h;
	MagmaAny req;

	kit_run(k, 10 * MS);
	g_assert_true(kit_asked(k, MAGMA_OP_status, &h, &req, &s));
	kit_reply(k, s, &h, EBUSY, NULL);
	g_assert_cmpint(error, ==, EBUSY);
	kit_run(k, 5 * SECOND);
	g_assert_cmpuint(s->probes, ==, 0);
}

static void a_refused_port_is_a_hint_about_the_volcano_it_belongs_to(void)
{
	g_autoptr(GroupKit) k = of_three();
	int error = -1;
	Session *to = ask_status(k, 3, &error), *from = kit_session(k, TRUE), *client = kit_session(k, FALSE);

	volcano_session_refused(k->v, from);           /* whose it is nobody knows */
	volcano_session_refused(k->v, client);
	g_assert_cmpuint(k->hinted, ==, 0);
	volcano_session_refused(k->v, to);
	g_assert_cmpuint(k->hinted, ==, 3);
	g_assert_null(kit_look(k));                    /* it proves nothing */
}

/* --- SETTLE --- */

static MagmaFid fid(guint64 ino) { return (MagmaFid){ .key = { { 0, 7 } }, .ino = ino }; }

static int settle(GroupKit *k, Session *s, guint8 outcome, guint64 op, const MagmaFid *target, MarkKind kind, MagmaAny *rep)
{
	g_autoptr(GByteArray) marks = g_byte_array_new();
	int error = -1;

	magma_put_u64(marks, 77);
	magma_put_u64(marks, op);
	magma_put_fid(marks, target);
	magma_put_u8(marks, kind);
	struct magma_req_settle q = { .outcome = outcome, .marks = MAGMA_BYTES(marks->data, marks->len) };
	kit_ask(k, s, MAGMA_OP_settle, &q, &error, rep);
	for (guint i = 0; error == -1 && i < 100; i++) {
		kit_lease(k, k->now + SECOND);
		kit_run(k, MS);
		kit_answer(k, s, &error, rep);
	}
	return error;
}

static gboolean is_suspect(GroupKit *k, guint64 ino) { return scrub_is_suspect(core_slice(k->v, 1), ino); }

/* A power cut took the mark, and not its coordinator's entry: the flare's names are counted. On disk before FINAL is acknowledged. */
static void final_without_a_mark_makes_a_suspect_on_disk(void)
{
	g_autoptr(GroupKit) k = kit_serving();
	Session *s = kit_session(k, TRUE);
	MagmaFid f = fid(100);
	MagmaAny rep;

	g_assert_cmpint(settle(k, s, MAGMA_SETTLE_FINAL, 1, &f, MARK_REF_ADD, &rep), ==, 0);
	g_assert_true(is_suspect(k, 100));
	g_assert_cmpuint(rep.rep_settle.marks.len, ==, 0);
	g_assert_cmpuint(memstore_durable(k->v->store), ==, memstore_index(k->v->store));
}

/* Whose name it was only the coordinator knows. */
static void final_without_a_mark_on_a_name_says_so_each_time(void)
{
	g_autoptr(GroupKit) k = kit_serving();
	Session *s = kit_session(k, TRUE);
	MagmaFid f = fid(100);
	MagmaAny rep;

	for (guint i = 0; i < 2; i++) {
		g_assert_cmpint(settle(k, s, MAGMA_SETTLE_FINAL, 1, &f, MARK_LEAVE, &rep), ==, 0);
		g_assert_cmpuint(rep.rep_settle.marks.len, >, 0);
		MagmaReader r = magma_reader(rep.rep_settle.marks.data, rep.rep_settle.marks.len);
		g_assert_cmpuint(magma_get_u64(&r), ==, 77);
		g_assert_cmpuint(magma_get_u64(&r), ==, 1);
		g_assert_cmpuint(magma_get_fid(&r).ino, ==, 100);
		g_assert_cmpuint(magma_get_u8(&r), ==, MARK_LEAVE);
	}
	g_assert_false(is_suspect(k, 100));
}

static void commit_and_abort_without_a_mark_are_nothing(void)
{
	g_autoptr(GroupKit) k = kit_serving();
	Session *s = kit_session(k, TRUE);
	MagmaFid f = fid(100);
	MagmaAny rep;

	g_assert_cmpint(settle(k, s, MAGMA_SETTLE_COMMIT, 1, &f, MARK_REF_ADD, &rep), ==, 0);
	g_assert_cmpint(settle(k, s, MAGMA_SETTLE_ABORT, 2, &f, MARK_REF_ADD, &rep), ==, 0);
	g_assert_false(is_suspect(k, 100));
	/* what this life has settled, its late FINAL may ask for again */
	g_assert_cmpint(settle(k, s, MAGMA_SETTLE_FINAL, 2, &f, MARK_REF_ADD, &rep), ==, 0);
	g_assert_false(is_suspect(k, 100));
}

static void a_rename_lock_that_is_gone_makes_no_suspect(void)
{
	g_autoptr(GroupKit) k = kit_serving();
	Session *s = kit_session(k, TRUE);
	MagmaFid f = fid(1);
	MagmaAny rep;

	g_assert_cmpint(settle(k, s, MAGMA_SETTLE_FINAL, 1, &f, MARK_RENAME_LOCK, &rep), ==, 0);
	g_assert_false(is_suspect(k, 1));
	g_assert_cmpuint(rep.rep_settle.marks.len, ==, 0);
}

/* The mark may have moved with its key. */
static void what_lives_elsewhere_is_not_answered_here(void)
{
	g_autoptr(GroupKit) k = kit_serving();
	Session *s = kit_session(k, TRUE);
	MagmaFid f = { .key = MAGMA_KEY_MAX, .ino = 100 };
	MagmaAny rep;
	int error = settle(k, s, MAGMA_SETTLE_FINAL, 1, &f, MARK_REF_ADD, &rep);

	g_assert_cmpint(error, ==, MAGMA_ENOTOWNER);
	g_assert_false(is_suspect(k, 100));
}

static void bytes_that_are_no_marks_are_refused(void)
{
	g_autoptr(GroupKit) k = kit_serving();
	Session *s = kit_session(k, TRUE);
	static const guint8 few[60];
	MagmaAny rep;

	for (gsize n = 0; n < sizeof few; n++) {
		struct magma_req_settle q = { .outcome = MAGMA_SETTLE_FINAL, .marks = MAGMA_BYTES(few, n) };
		int error = -1;
		kit_ask(k, s, MAGMA_OP_settle, &q, &error, &rep);
		if (n % 45)                   /* a mark is 45 bytes */
			g_assert_cmpint(error, !=, 0);
	}
}

/* --- a slice that comes here --- */

static void serve(GroupKit *k, guint ms)
{
	for (guint i = 0; i < ms / 10; i++) {
		kit_hear(k);
		kit_lease(k, k->now + SECOND);
		kit_run(k, 10 * MS);
	}
}

/* Its own store is being opened then: what waits for the slice is tried again at once, however long it has waited for the dead owner. */
static void what_was_asked_of_a_dead_owner_is_asked_of_the_slice_as_soon_as_it_is_open_here(void)
{
	static const MagmaKey upper = { { 0xff } };
	g_autoptr(GroupKit) k = kit_new(kit_ring(2, 1), FALSE);
	struct magma_req_sync q = { .fid = { upper, 99 } };
	int error = -1;

	kit_leads(k);
	k->v->begins_network = TRUE;
	serve(k, 1000);
	core_enter(k->v);
	call_owner(k->v, &upper, MAGMA_OP_sync, &q, 60 * SECOND, ignore, &error);
	core_leave(k->v);
	serve(k, 1400);
	g_assert_true(core_slice(k->v, 1)->serving);
	MagmaMap *m = kit_ring(2, 1);
	m->epoch = 6;
	kit_slice(m, 2)->owner = 1;
	kit_slice(m, 2)->epoch++;
	kit_use(k, m);
	kit_run(k, 10 * MS);                           /* the store takes its time */
	g_assert_cmpint(error, ==, -1);
	k->v->apply_map = TRUE;
	guint ms = 0, opened = 0;
	while (error == -1 && ms++ < 5000) {
		kit_hear(k);
		kit_lease(k, k->now + SECOND);
		kit_run(k, MS);
		Slice *sl = core_slice(k->v, 2);
		opened += !opened && sl && sl->serving ? ms : 0;
	}
	g_test_message("open after %u ms, answered (%d) after %u", opened, error, ms);
	g_assert_cmpuint(opened, >, 0);
	g_assert_cmpuint(ms - opened, <=, 25);
}

static void upper_half_goes_to(GroupKit *k, guint16 owner, guint64 epoch)
{
	MagmaMap *m = kit_ring(2, 1);

	m->epoch = epoch;
	kit_slice(m, 2)->owner = owner;
	kit_slice(m, 2)->epoch = epoch;
	kit_use(k, m);
	core_enter(k->v);
	k->v->apply_map = TRUE;
	core_leave(k->v);
}

/* The former owner's answer comes while it is asked of the slice here; then the slice goes, and that answer is lost. */
static void what_is_lost_with_a_slice_is_asked_again_of_who_had_refused_it_meanwhile(void)
{
	static const MagmaKey upper = { { 0xff } };
	g_autoptr(GroupKit) k = kit_new(kit_ring(2, 1), FALSE);
	struct magma_req_sync q = { .fid = { upper, 99 } };
	int error = -1;
	MagmaHdr h;
	MagmaAny req;
	Session *s;

	kit_leads(k);
	k->v->begins_network = TRUE;
	serve(k, 1000);
	core_enter(k->v);
	call_owner(k->v, &upper, MAGMA_OP_sync, &q, 60 * SECOND, ignore, &error);
	core_leave(k->v);
	g_assert_true(kit_asked(k, MAGMA_OP_sync, &h, &req, &s));
	upper_half_goes_to(k, 1, 6);
	for (guint i = 0; i < 100 && !(core_slice(k->v, 2) && core_slice(k->v, 2)->serving); i++)
		serve(k, 10);
	kit_lease(k, 0);                               /* what it answers is held */
	kit_run(k, SECOND);
	g_assert_cmpint(error, ==, -1);
	g_assert_false(g_queue_is_empty(&core_slice(k->v, 2)->held));
	kit_reply(k, s, &h, MAGMA_ENOTOWNER, NULL);
	g_assert_cmpuint(requests(s, MAGMA_OP_sync), ==, 1);
	upper_half_goes_to(k, 2, 7);
	kit_run(k, 300 * MS);
	g_assert_null(core_slice(k->v, 2));
	g_assert_cmpuint(requests(s, MAGMA_OP_sync), ==, 2);
	kit_reply(k, s, &h, 0, &(struct magma_rep_sync){ 0 });
	g_assert_cmpint(error, ==, 0);
}

/* That answer may come late, and the slice be this volcano's again by another map: then a repeat must not be done. */
static void what_a_slice_has_refused_outlives_it(void)
{
	const MagmaHdr repeat = { .client = 77, .xid = 5, .watermark = 4 }, other = { .client = 77, .xid = 6 }, seen = { .client = 77, .xid = 3 };
	g_autoptr(GroupKit) k = kit_new(kit_ring(2, 1), FALSE);

	kit_leads(k);
	k->v->begins_network = TRUE;
	serve(k, 1000);
	upper_half_goes_to(k, 1, 6);
	serve(k, 1000);
	Slice *sl = core_slice(k->v, 2);
	g_assert_true(sl && sl->serving);
	client_heard(sl, client_get(sl, 77), &repeat);
	client_refused(client_get(sl, 77), 5, ENOENT);
	g_assert_cmpint(call_passed_on(k->v, &repeat), ==, 0);
	g_assert_false(call_was_answered(k->v, &seen));
	upper_half_goes_to(k, 1, 7);
	serve(k, 1000);
	g_assert_true(core_slice(k->v, 2)->serving);
	g_assert_cmpint(call_passed_on(k->v, &repeat), ==, ENOENT);
	g_assert_cmpint(call_passed_on(k->v, &other), ==, 0);
	g_assert_true(call_was_answered(k->v, &seen));         /* below what it said that it has */
	g_assert_false(call_was_answered(k->v, &repeat));
	serve(k, 50000);
	g_assert_false(call_was_answered(k->v, &seen));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/calls/" #name, name)
	T(a_late_answer_probes_the_session_and_sends_nothing_twice);
	T(an_answer_in_time_probes_nothing);
	T(a_refused_port_is_a_hint_about_the_volcano_it_belongs_to);
	T(final_without_a_mark_makes_a_suspect_on_disk);
	T(final_without_a_mark_on_a_name_says_so_each_time);
	T(commit_and_abort_without_a_mark_are_nothing);
	T(a_rename_lock_that_is_gone_makes_no_suspect);
	T(what_lives_elsewhere_is_not_answered_here);
	T(bytes_that_are_no_marks_are_refused);
	T(what_was_asked_of_a_dead_owner_is_asked_of_the_slice_as_soon_as_it_is_open_here);
	T(what_a_slice_has_refused_outlives_it);
	T(what_is_lost_with_a_slice_is_asked_again_of_who_had_refused_it_meanwhile);
	return g_test_run();
}
