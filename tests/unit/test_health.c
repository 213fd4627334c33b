/* libmagma/lava/health: what is said to be unsafe, and that nothing else is. */
#include "libmagma/lava/health.h"
#include <string.h>

static const char *const VOLCANOS[] = { "wallace", "gromit", "shaun", "preston" };

/* n volcanos, each at home in a slice, with one copy in sync on the next; the first three vote. */
static MagmaMap *ring(guint n)
{
	guint8 network[16] = { 7 };
	MagmaMap *m = magma_map_new(network, 2);
	MagmaKey lo = MAGMA_KEY_MIN;

	for (guint16 i = 1; i <= n; i++) {
		g_autofree char *name = i <= G_N_ELEMENTS(VOLCANOS) ? g_strdup(VOLCANOS[i - 1]) : g_strdup_printf("v%u", i);
		MagmaVolcano v = { .id = i, .state = MAGMA_ACTIVE, .flags = i <= 3 ? MAGMA_VOLCANO_VOTER : 0, .name = name, .fqdn = name, .offered = 1,
			.addr = { .family = 4, .ip = { 10, 0, (guint8)(i >> 8), (guint8)i }, .port = 12000 } };
		MagmaSlice s = { .id = i, .range = { lo, MAGMA_KEY_MAX }, .home = i, .owner = i, .epoch = 1, .ncopies = n > 1 ? 1 : 0, .copies = { { (guint16)(i % n + 1), TRUE } } };
		if (i < n) {
			s.range.hi.b[0] = (guint8)(i - 1);
			s.range.hi.b[1] = 0xff;
			g_assert_true(magma_key_next(&s.range.hi, &lo));
		}
		magma_map_add(m, &v);
		magma_map_add_slice(m, &s);
	}
	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	return m;
}

static MagmaSlice *slice(MagmaMap *m, guint16 id) { return magma_map_part(m, id); }
static void down(MagmaMap *m, guint16 id) { ((MagmaVolcano *)magma_map_by_id(m, id))->flags |= MAGMA_VOLCANO_DOWN; }

static void expect(const MagmaMap *m, const MagmaLive *live, guint32 states, const char *lines)
{
	g_autoptr(GString) said = g_string_new("");

	g_assert_cmphex(magma_unsafe(m, live, said), ==, states);
	g_assert_cmpstr(said->str, ==, lines);
	g_assert_cmphex(magma_unsafe(m, live, NULL), ==, states);
}

static const MagmaLive WELL = { .lease = TRUE, .self = 1 };

static void nothing_is_said_where_all_is_well(void)
{
	g_autoptr(MagmaMap) m = ring(3);

	expect(m, &WELL, 0, "");
}

static void one_volcano_alone_is_degraded_and_says_so(void)
{
	g_autoptr(MagmaMap) m = ring(1);

	expect(m, &WELL, MAGMA_UNSAFE_DEGRADED, "degraded: slice 1 of wallace has 1 of 2 copies\n");
	m->copies_wanted = 1;
	expect(m, &WELL, 0, "");
}

static void a_dead_volcano_its_missing_copies_and_those_being_made_are_named(void)
{
	g_autoptr(MagmaMap) m = ring(3);

	/* as the planner leaves it: shaun acts for gromit, slices 1 and 2 get new copies */
	down(m, 2);
	slice(m, 2)->owner = 3;
	slice(m, 2)->copies[0] = (MagmaCopy){ 2, FALSE };
	slice(m, 2)->copies[1] = (MagmaCopy){ 1, FALSE };
	slice(m, 2)->ncopies = 2;
	slice(m, 1)->copies[0].in_sync = FALSE;
	slice(m, 1)->copies[1] = (MagmaCopy){ 3, FALSE };
	slice(m, 1)->ncopies = 2;
	expect(m, &WELL, MAGMA_UNSAFE_DOWN | MAGMA_UNSAFE_DEGRADED | MAGMA_UNSAFE_HEALING,
		"down: gromit\n"
		"degraded: slice 1 of wallace has 1 of 2 copies, slice 2 of gromit has 1 of 2 copies\n"
		"healing: slice 1 of wallace on shaun, slice 2 of gromit on wallace\n");
	slice(m, 1)->copies[1].in_sync = slice(m, 2)->copies[1].in_sync = TRUE;
	expect(m, &WELL, MAGMA_UNSAFE_DOWN, "down: gromit\n");
}

static void a_slice_whose_copies_are_all_down_names_who_has_it(void)
{
	g_autoptr(MagmaMap) m = ring(3);

	down(m, 2);
	down(m, 3);
	expect(m, &WELL, MAGMA_UNSAFE_WAITING | MAGMA_UNSAFE_DOWN | MAGMA_UNSAFE_DEGRADED,
		"waiting: slice 2 of gromit waits for gromit or shaun, slice 3 of shaun waits for shaun or wallace\n"
		"down: gromit, shaun\n"
		"degraded: slice 1 of wallace has 1 of 2 copies\n");
	/* it is nobody's copy any more: not even one that is up has all of it */
	slice(m, 2)->copies[0].in_sync = FALSE;
	g_autoptr(GString) said = g_string_new("");
	magma_unsafe(m, &WELL, said);
	g_assert_nonnull(strstr(said->str, "waiting: slice 2 of gromit waits for gromit, "));
}

static void without_a_lease_the_voters_are_named(void)
{
	g_autoptr(MagmaMap) m = ring(4);
	MagmaLive cut = { .lease = FALSE, .self = 1 };

	expect(m, &cut, MAGMA_UNSAFE_NO_QUORUM, "without quorum: waits for the volcanos that vote: gromit, shaun\n");
	for (guint16 i = 2; i <= 3; i++)
		((MagmaVolcano *)magma_map_by_id(m, i))->flags = 0;
	expect(m, &cut, MAGMA_UNSAFE_NO_QUORUM, "without quorum: waits for the volcanos that vote: wallace\n");
	cut.waits = "waits for volcano gromit, which may have gone on without this one";      /* it votes alone, and asks */
	expect(m, &cut, MAGMA_UNSAFE_NO_QUORUM, "without quorum: waits for volcano gromit, which may have gone on without this one\n");
	cut.lease = TRUE;
	expect(m, &cut, 0, "");
}

static void a_copy_that_counts_and_is_far_behind_or_silent_lags(void)
{
	g_autoptr(MagmaMap) m = ring(3);
	MagmaCopyState copies[] = { { .slice = 1, .volcano = 2, .phase = MAGMA_COPY_IN_SYNC, .lag = 1000 }, { .slice = 77, .volcano = 2, .lag = 5 }, { .slice = 1, .volcano = 9, .lag = 5 } };
	MagmaLive live = { .lease = TRUE, .self = 1, .copies = copies, .ncopies = G_N_ELEMENTS(copies) };

	expect(m, &live, 0, "");
	copies[0].lag = 1001;
	expect(m, &live, MAGMA_UNSAFE_LAGGING, "lagging: slice 1 of wallace on gromit\n");
	copies[0].lag = 0;
	copies[0].phase = MAGMA_COPY_AWAY;
	expect(m, &live, MAGMA_UNSAFE_LAGGING, "lagging: slice 1 of wallace on gromit\n");
	copies[0].phase = MAGMA_COPY_IN_SYNC;
	copies[0].slow = TRUE;
	expect(m, &live, MAGMA_UNSAFE_LAGGING, "lagging: slice 1 of wallace on gromit\n");
	slice(m, 1)->copies[0].in_sync = FALSE;      /* it does not count: it is healing */
	expect(m, &live, MAGMA_UNSAFE_DEGRADED | MAGMA_UNSAFE_HEALING, "degraded: slice 1 of wallace has 1 of 2 copies\nhealing: slice 1 of wallace on gromit\n");
}

static void a_line_stays_a_line_with_many_volcanos(void)
{
	g_autoptr(MagmaMap) m = ring(200);
	g_autoptr(GString) said = g_string_new("");

	m->copies_wanted = 3;
	for (guint16 i = 10; i < 100; i += 2)
		down(m, i);
	magma_unsafe(m, &WELL, said);
	g_assert_nonnull(strstr(said->str, "down: v10, v12, v14, v16, v18, v20, v22, v24 and 37 more\n"));
	g_assert_cmpuint(said->len, <, 2000);
}

static void what_was_set_aside_is_named_by_its_directory(void)
{
	g_autoptr(MagmaMap) m = ring(3);
	const MagmaConflict two[] = { { .time = 1769850764 }, { .time = 1769850765, .phase = MAGMA_CONFLICT_COMPARED, .differing = 3 } };
	MagmaLive live = { .lease = TRUE, .self = 2, .conflicts = two, .nconflicts = 2 };

	expect(m, &live, MAGMA_UNSAFE_CONFLICTS, "conflicts: /.dht/conflicts/gromit/20260131T091244Z, /.dht/conflicts/gromit/20260131T091245Z\n");
}

static void contents_that_do_not_read_are_said_by_whose_disk_it_is(void)
{
	g_autoptr(MagmaMap) m = ring(3);
	const guint16 slices[] = { 1, 3, 77 };
	MagmaLive live = { .lease = TRUE, .self = 2, .damaged = slices, .ndamaged = 3 };

	expect(m, &live, MAGMA_UNSAFE_DAMAGED, "damaged: slice 1 of wallace on gromit, slice 3 of shaun on gromit\n");
}

static void a_store_that_does_not_open_is_said_with_its_slice(void)
{
	g_autoptr(MagmaMap) m = ring(3);
	const guint16 unopened[] = { 3, 77 }, damaged[] = { 1 };
	MagmaLive live = { .lease = TRUE, .self = 2, .unopened = unopened, .nunopened = 2, .damaged = damaged, .ndamaged = 1 };

	expect(m, &live, MAGMA_UNSAFE_DAMAGED, "damaged: slice 3 of shaun on gromit (its store cannot be opened), slice 1 of wallace on gromit\n");
}

static void times_of_conflicts_are_read_as_they_are_written(void)
{
	static const char *const wrong[] = { "", "20260131T091244", "20260131T091244Zx", "2026x131T091244Z", "20261331T091244Z", "20260230T091244Z", "20260131T096144Z", "20260131 091244Z", "19700101T000000Z", "+0260131T091244Z" };
	char text[MAGMA_CONFLICT_TIME_TEXT];
	guint64 time;

	g_assert_cmpstr(magma_conflict_time_text(1769850764, text), ==, "20260131T091244Z");
	g_assert_true(magma_conflict_time_parse(text, &time));
	g_assert_cmpuint(time, ==, 1769850764);
	for (guint i = 0; i < G_N_ELEMENTS(wrong); i++)
		g_assert_false(magma_conflict_time_parse(wrong[i], &time));
	magma_conflict_time_text(G_MAXUINT64, text);
}

static void roles_are_said_in_words(void)
{
	g_autoptr(MagmaMap) m = ring(3);
	g_autofree char *one = magma_volcano_roles(m, magma_map_by_id(m, 2), 2);

	down(m, 3);
	slice(m, 3)->owner = 1;
	g_autofree char *acting = magma_volcano_roles(m, magma_map_by_id(m, 1), 2), *dead = magma_volcano_roles(m, magma_map_by_id(m, 3), 2);
	g_assert_true(g_str_has_prefix(one, "owner, ") || g_str_has_prefix(one, "copy of "));
	g_assert_true(g_str_has_suffix(one, "voter, leader"));
	g_assert_nonnull(strstr(acting, "acts for shaun"));
	g_assert_true(g_str_has_prefix(dead, "down"));
}

static void a_full_disk_is_said_by_its_volcano(void)
{
	g_autoptr(MagmaMap) m = ring(3);
	MagmaLive live = { .lease = TRUE, .self = 2, .full = TRUE };

	expect(m, &live, MAGMA_UNSAFE_FULL, "full: only what frees space is accepted by gromit\n");
}

static void states_have_names(void)
{
	g_autofree char *none = magma_unsafe_names(0), *two = magma_unsafe_names(MAGMA_UNSAFE_DEGRADED | MAGMA_UNSAFE_HEALING), *all = magma_unsafe_names(G_MAXUINT32);

	g_assert_cmpstr(none, ==, "");
	g_assert_cmpstr(two, ==, "degraded, healing");
	g_assert_cmpstr(all, ==, "without quorum, waiting, down, degraded, healing, lagging, conflicts, damaged, full");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(fn) g_test_add_func("/health/" #fn, fn)
	ADD(nothing_is_said_where_all_is_well);
	ADD(one_volcano_alone_is_degraded_and_says_so);
	ADD(a_dead_volcano_its_missing_copies_and_those_being_made_are_named);
	ADD(a_slice_whose_copies_are_all_down_names_who_has_it);
	ADD(without_a_lease_the_voters_are_named);
	ADD(a_copy_that_counts_and_is_far_behind_or_silent_lags);
	ADD(a_line_stays_a_line_with_many_volcanos);
	ADD(contents_that_do_not_read_are_said_by_whose_disk_it_is);
	ADD(a_store_that_does_not_open_is_said_with_its_slice);
	ADD(what_was_set_aside_is_named_by_its_directory);
	ADD(times_of_conflicts_are_read_as_they_are_written);
	ADD(roles_are_said_in_words);
	ADD(a_full_disk_is_said_by_its_volcano);
	ADD(states_have_names);
	return g_test_run();
}
