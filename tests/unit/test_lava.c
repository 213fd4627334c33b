/* libmagma/lava. */
#include "libmagma/lava/map.h"
#include "tests/unit/exact.h"

static MagmaKey random_key(void)
{
	MagmaKey k;

	for (int i = 0; i < MAGMA_KEY_LEN; i++)
		k.b[i] = (guint8)g_test_rand_int();
	return k;
}

static int by_key(gconstpointer a, gconstpointer b) { return magma_key_cmp(a, b); }

static void add(MagmaMap *m, guint16 id, const MagmaRange *slice)
{
	g_autofree char *name = g_strdup_printf("v%u", id), *fqdn = g_strdup_printf("v%u.intranet", id);
	MagmaVolcano v = { .id = id, .state = slice ? MAGMA_ACTIVE : MAGMA_JOINING, .name = name, .fqdn = fqdn, .bandwidth = 100000u + id, .offered = (guint64)id << 40 };

	v.addr = (MagmaAddr){ .family = 4, .ip = { 10, 0, (guint8)(id >> 8), (guint8)id }, .port = 12000 };
	if (id % 3 == 0)
		v.addr = (MagmaAddr){ .family = 6, .ip = { 0xfe, 0x80, [14] = (guint8)(id >> 8), [15] = (guint8)id }, .port = 12000, .scope = id % 2u };
	magma_map_add(m, &v);
	if (slice)
		magma_map_add_slice(m, &(MagmaSlice){ .id = id, .range = *slice, .home = id, .owner = id, .epoch = 1 });
}

/* A map of n volcanos with slices in a random order, and `joining` without. */
static MagmaMap *random_map(guint n, guint joining)
{
	guint8 network[16];
	g_autofree guint16 *ids = g_new(guint16, n + joining);
	g_autofree MagmaKey *borders = g_new0(MagmaKey, n ? n : 1);     /* the first key of each slice */

	for (guint i = 0; i < 16; i++)
		network[i] = (guint8)g_test_rand_int();
	for (guint i = 0; i < n + joining; i++)
		ids[i] = (guint16)(i + 1);
	for (guint i = n + joining; i > 1; i--) {
		guint j = (guint)g_test_rand_int_range(0, (gint32)i);
		guint16 t = ids[i - 1];
		ids[i - 1] = ids[j];
		ids[j] = t;
	}
	for (guint i = 1; i < n; i++)
		borders[i] = random_key();
	if (n)
		qsort(borders + 1, n - 1, sizeof *borders, by_key);
	MagmaMap *m = magma_map_new(network, 2);
	for (guint i = 0; i < n; i++) {
		MagmaRange s = { borders[i], MAGMA_KEY_MAX };
		if (i + 1 < n)
			g_assert_true(magma_key_prev(&borders[i + 1], &s.hi));
		add(m, ids[i], &s);
	}
	for (guint i = 0; i < joining; i++)
		add(m, ids[n + i], NULL);
	m->epoch = (guint64)(guint32)g_test_rand_int() << 20;
	m->coordinator = n ? ids[0] : 0;
	return m;
}

static MagmaMap *sealed_map(guint n, guint joining)
{
	MagmaMap *m = random_map(n, joining);

	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	return m;
}

static const MagmaVolcano *at(const MagmaMap *m, guint i) { return g_ptr_array_index(m->volcanos, i); }
static MagmaSlice *in_ring(const MagmaMap *m, guint i) { return &g_array_index(m->slices, MagmaSlice, i); }
static MagmaVolcano *id(const MagmaMap *m, guint16 n) { return (MagmaVolcano *)magma_map_by_id(m, n); }

static const MagmaVolcano *route_slowly(const MagmaMap *m, const MagmaKey *k)
{
	for (guint i = 0; i < m->slices->len; i++)
		if (magma_range_has(&in_ring(m, i)->range, k))
			return magma_map_by_id(m, in_ring(m, i)->owner);
	return NULL;
}

static void every_key_goes_to_the_volcano_that_holds_it(void)
{
	static const guint sizes[] = { 1, 2, 3, 7, 64, MAGMA_VOLCANOS_MAX - 2 };

	for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autoptr(MagmaMap) m = sealed_map(sizes[i], i % 3);
		g_assert_true(magma_map_route(m, &MAGMA_KEY_MIN) == route_slowly(m, &MAGMA_KEY_MIN));
		g_assert_true(magma_map_route(m, &MAGMA_KEY_MAX) == route_slowly(m, &MAGMA_KEY_MAX));
		for (int round = 0; round < 200; round++) {
			MagmaKey k = random_key();
			g_assert_true(magma_map_route(m, &k) == route_slowly(m, &k));
		}
		for (guint v = 0; v < m->slices->len; v++) {
			const MagmaSlice *s = in_ring(m, v);
			g_assert_true(magma_map_slice(m, &s->range.lo) == s);
			g_assert_true(magma_map_slice(m, &s->range.hi) == s);
			g_assert_true(magma_map_slice_by_id(m, s->id) == s);
			g_assert_true(magma_map_home(m, s->home) == s);
		}
	}
}

static void ring_goes_once_around(void)
{
	for (guint n = 1; n < 20; n++) {
		g_autoptr(MagmaMap) m = sealed_map(n, 1);
		const MagmaVolcano *first = magma_map_route(m, &MAGMA_KEY_MIN), *v = first;
		for (guint i = 0; i < n; i++) {
			const MagmaVolcano *next = magma_map_after(m, v);
			MagmaKey k;
			if (magma_key_next(&magma_map_home(m, v->id)->range.hi, &k))
				g_assert_true(magma_key_equal(&k, &magma_map_home(m, next->id)->range.lo));
			v = next;
			g_assert_cmpint(v == first, ==, i == n - 1);
		}
	}
}

static void a_new_network_is_one_slice(void)
{
	guint8 network[16] = { 1 };
	g_autoptr(MagmaMap) m = magma_map_new(network, 2);
	MagmaRange all = { MAGMA_KEY_MIN, MAGMA_KEY_MAX };
	MagmaKey k = random_key();

	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	g_assert_null(magma_map_route(m, &k));
	add(m, 1, &all);
	m->coordinator = 1;
	g_assert_cmpuint(m->next_id, ==, 2);
	g_assert_cmpuint(m->copies_kept, ==, 1);
	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	g_assert_true(magma_map_route(m, &k) == at(m, 0));
	g_assert_true(magma_map_after(m, at(m, 0)) == at(m, 0));
	add(m, 2, NULL);
	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	g_assert_true(magma_map_route(m, &MAGMA_KEY_MAX)->id == 1);
	g_assert_true(magma_map_after(m, id(m, 2))->id == 2);
	g_assert_true(magma_map_by_name(m, "v2") == id(m, 2));
	g_assert_null(magma_map_by_name(m, "v3"));
	g_assert_null(magma_map_by_id(m, 3));
	g_assert_null(magma_map_by_id(m, 0));
}

/* One way each to break a map of volcanos 1..4 with a slice and 5 without. */
static void set_name(MagmaVolcano *v, const char *s) { g_free(v->name); v->name = g_strdup(s); }
static void set_fqdn(MagmaVolcano *v, const char *s) { g_free(v->fqdn); v->fqdn = g_strdup(s); }
static void same_id(MagmaMap *m) { id(m, 2)->id = 3; }
static void zero_id(MagmaMap *m) { id(m, 5)->id = 0; }
static void high_id(MagmaMap *m) { m->next_id = 5; }
static void same_name(MagmaMap *m) { set_name(id(m, 2), "v4"); }
static void no_name(MagmaMap *m) { set_name(id(m, 2), ""); }
static void name_with_space(MagmaMap *m) { set_name(id(m, 2), "a b"); }
static void name_with_newline(MagmaMap *m) { set_name(id(m, 2), "ab\n"); }
static void long_name(MagmaMap *m) { g_autofree char *s = g_strnfill(64, 'x'); set_name(id(m, 2), s); }
static void same_fqdn(MagmaMap *m) { set_fqdn(id(m, 2), "v4.intranet"); }
static void no_fqdn(MagmaMap *m) { set_fqdn(id(m, 2), ""); }
static void fqdn_with_escape(MagmaMap *m) { set_fqdn(id(m, 2), "\033[2J"); }
static void long_fqdn(MagmaMap *m) { g_autofree char *s = g_strnfill(256, 'x'); set_fqdn(id(m, 2), s); }
static void same_addr(MagmaMap *m) { id(m, 2)->addr = id(m, 4)->addr; }
static void no_addr(MagmaMap *m) { id(m, 2)->addr = (MagmaAddr){ 0 }; }
static void no_port(MagmaMap *m) { id(m, 2)->addr.port = 0; }
static void port_without_console(MagmaMap *m) { id(m, 2)->addr.port = 65534; }
static void strange_state(MagmaMap *m) { id(m, 5)->state = 9; }
static void no_first_key(MagmaMap *m) { magma_key_next(&in_ring(m, 0)->range.lo, &in_ring(m, 0)->range.lo); }
static void no_last_key(MagmaMap *m) { magma_key_prev(&in_ring(m, 3)->range.hi, &in_ring(m, 3)->range.hi); }
static void gap(MagmaMap *m) { magma_key_prev(&in_ring(m, 1)->range.hi, &in_ring(m, 1)->range.hi); }
static void overlap(MagmaMap *m) { magma_key_next(&in_ring(m, 1)->range.hi, &in_ring(m, 1)->range.hi); }
static void same_slice(MagmaMap *m) { in_ring(m, 1)->range = in_ring(m, 2)->range; }
static void slice_of_all(MagmaMap *m) { in_ring(m, 0)->range.hi = MAGMA_KEY_MAX; }
static void reversed(MagmaMap *m) { in_ring(m, 1)->range.hi = in_ring(m, 0)->range.lo; }
static void slice_lost(MagmaMap *m) { id(m, in_ring(m, 2)->home)->state = MAGMA_JOINING; }
static void slice_dropped(MagmaMap *m) { g_array_remove_index(m->slices, 2); }
static void slice_of_nobody(MagmaMap *m) { in_ring(m, 2)->home = 77; }
static void slice_of_a_joining(MagmaMap *m) { in_ring(m, 2)->home = 5; }
static void two_slices_of_one(MagmaMap *m) { in_ring(m, 2)->home = in_ring(m, 1)->home; }
static void owned_by_nobody(MagmaMap *m) { in_ring(m, 2)->owner = 77; }
static void same_slice_id(MagmaMap *m) { in_ring(m, 2)->id = in_ring(m, 1)->id; }
static void slice_without_id(MagmaMap *m) { in_ring(m, 2)->id = 0; }
static void high_slice_id(MagmaMap *m) { in_ring(m, 2)->id = m->next_id; }
static void no_ownership(MagmaMap *m) { in_ring(m, 2)->epoch = 0; }
static void copy_on(MagmaMap *m, guint16 a, guint16 b)
{
	MagmaSlice *s = in_ring(m, 2);
	s->ncopies = 2;
	s->copies[0].volcano = a;
	s->copies[1].volcano = b;
}
static void copy_nowhere(MagmaMap *m) { copy_on(m, in_ring(m, 3)->owner, 77); }
static void copy_at_the_owner(MagmaMap *m) { copy_on(m, in_ring(m, 3)->owner, in_ring(m, 2)->owner); }
static void copy_twice(MagmaMap *m) { copy_on(m, in_ring(m, 3)->owner, in_ring(m, 3)->owner); }
static void too_many_copies(MagmaMap *m) { in_ring(m, 2)->ncopies = MAGMA_COPIES_MAX + 1; }
static void strange_flag(MagmaMap *m) { id(m, 5)->flags = 8; }
static void strange_coordinator(MagmaMap *m) { m->coordinator = 77; }
static MagmaMove a_move(MagmaMap *m, guint16 from, guint16 to, MagmaRange range)
{
	return (MagmaMove){ .id = 1, .from = from, .to = to, .range = range, .part = { .id = m->next_id++, .range = range, .home = to, .owner = to, .epoch = 1 } };
}
static void move_to_what_is_there(MagmaMap *m)
{
	m->move = a_move(m, in_ring(m, 1)->id, 5, in_ring(m, 1)->range);
	m->move.part.id = in_ring(m, 2)->id;
}
static void move_to_nobody(MagmaMap *m) { m->move = a_move(m, in_ring(m, 1)->id, 77, in_ring(m, 1)->range); }
static void move_to_itself(MagmaMap *m) { m->move = a_move(m, in_ring(m, 1)->id, in_ring(m, 1)->id, in_ring(m, 1)->range); }
static void move_from_nobody(MagmaMap *m) { m->move = a_move(m, 77, 5, in_ring(m, 1)->range); }
static void move_from_a_joining(MagmaMap *m) { m->move = a_move(m, 5, 1, in_ring(m, 1)->range); }
static void move_of_anothers(MagmaMap *m) { m->move = a_move(m, in_ring(m, 1)->id, 5, in_ring(m, 2)->range); }
static void move_of_too_much(MagmaMap *m) { m->move = (MagmaMove){ 1, in_ring(m, 1)->id, 5, { in_ring(m, 1)->range.lo, in_ring(m, 2)->range.lo } }; }
static void move_reversed(MagmaMap *m) { m->move = (MagmaMove){ 1, in_ring(m, 1)->id, 5, { in_ring(m, 1)->range.hi, in_ring(m, 1)->range.lo } }; }

static void a_map_that_breaks_a_rule_is_refused(void)
{
	static const struct { void (*how)(MagmaMap *); const char *says; } broken[] = {
		{ same_id, "same number" }, { zero_id, "number 0" }, { high_id, "next one to give out" }, { same_name, "same name" }, { no_name, "name is not" },
		{ name_with_space, "name is not" }, { name_with_newline, "name is not" }, { long_name, "name is not" }, { same_fqdn, "same fully qualified name" },
		{ no_fqdn, "qualified name is not" }, { fqdn_with_escape, "qualified name is not" }, { long_fqdn, "qualified name is not" }, { same_addr, "same address" },
		{ no_addr, "address is not" }, { no_port, "address is not" }, { port_without_console, "address is not" }, { strange_state, "unknown state" },
		{ no_first_key, "gap" }, { no_last_key, "end of the keyspace" }, { gap, "gap" }, { overlap, "overlap" }, { same_slice, "gap" }, { slice_of_all, "overlap" },
		{ reversed, "ends before it begins" }, { slice_lost, "still joining" }, { slice_dropped, "has no slice" }, { slice_of_nobody, "at home where" }, { slice_of_a_joining, "still joining" },
		{ two_slices_of_one, "at home at one" }, { owned_by_nobody, "owner" }, { same_slice_id, "same number" }, { slice_without_id, "number or epoch" },
		{ high_slice_id, "number or epoch" }, { no_ownership, "number or epoch" }, { copy_nowhere, "nowhere" }, { copy_at_the_owner, "nowhere" },
		{ copy_twice, "in one place" }, { too_many_copies, "too many copies" }, { strange_flag, "unknown flag" },
		{ strange_coordinator, "coordinator" }, { move_to_nobody, "to another volcano" },
		{ move_to_itself, "to another volcano" }, { move_from_nobody, "to another volcano" }, { move_from_a_joining, "to another volcano" },
		{ move_of_anothers, "part of its source" }, { move_of_too_much, "part of its source" }, { move_reversed, "part of its source" }, { move_to_what_is_there, "there already" },
	};

	for (guint i = 0; i < G_N_ELEMENTS(broken); i++) {
		g_autoptr(MagmaMap) m = sealed_map(4, 0);
		g_autoptr(GByteArray) bytes = g_byte_array_new();
		add(m, 5, NULL);
		g_assert_cmpstr(magma_map_seal(m), ==, NULL);
		broken[i].how(m);
		const char *rule = magma_map_seal(m);
		g_test_message("%s", rule);
		g_assert_nonnull(rule);
		g_assert_nonnull(strstr(rule, broken[i].says));
		if (broken[i].how == long_fqdn || broken[i].how == too_many_copies)
			continue;       /* has no encoding */
		magma_map_encode(m, bytes);
		g_assert_null(magma_map_decode(bytes->data, bytes->len));
	}
}

static void too_many_volcanos_are_refused(void)
{
	g_autoptr(MagmaMap) m = sealed_map(MAGMA_VOLCANOS_MAX, 0);
	g_autoptr(GByteArray) bytes = g_byte_array_new();

	magma_map_encode(m, bytes);
	g_assert_cmpuint(bytes->len, <, 1 << 20);       /* it has to fit a data field */
	g_autoptr(MagmaMap) back = magma_map_decode(bytes->data, bytes->len);
	g_assert_nonnull(back);
	add(m, MAGMA_VOLCANOS_MAX + 1, NULL);
	g_assert_nonnull(magma_map_seal(m));
	g_byte_array_set_size(bytes, 0);
	magma_map_encode(m, bytes);
	g_assert_null(magma_map_decode(bytes->data, bytes->len));
}

static void assert_same(const MagmaMap *a, const MagmaMap *b)
{
	g_assert_cmpuint(a->epoch, ==, b->epoch);
	g_assert_cmpmem(a->network, 16, b->network, 16);
	g_assert_cmpuint(a->copies_wanted, ==, b->copies_wanted);
	g_assert_cmpuint(a->copies_kept, ==, b->copies_kept);
	g_assert_cmpuint(a->coordinator, ==, b->coordinator);
	g_assert_cmpuint(a->next_id, ==, b->next_id);
	g_assert_cmpuint(a->move.id, ==, b->move.id);
	g_assert_cmpuint(a->move.from, ==, b->move.from);
	g_assert_cmpuint(a->move.to, ==, b->move.to);
	g_assert_cmpmem(&a->move.range, sizeof a->move.range, &b->move.range, sizeof b->move.range);
	g_assert_cmpuint(a->incarnation, ==, b->incarnation);
	g_assert_cmpuint(a->slices->len, ==, b->slices->len);
	for (guint i = 0; i < a->slices->len; i++) {
		const MagmaSlice *x = in_ring(a, i), *y = in_ring(b, i);
		g_assert_cmpuint(x->id, ==, y->id);
		g_assert_cmpmem(&x->range, sizeof x->range, &y->range, sizeof y->range);
		g_assert_cmpuint(x->home, ==, y->home);
		g_assert_cmpuint(x->owner, ==, y->owner);
		g_assert_cmpuint(x->epoch, ==, y->epoch);
		g_assert_cmpuint(x->ncopies, ==, y->ncopies);
		for (guint k = 0; k < x->ncopies; k++) {
			g_assert_cmpuint(x->copies[k].volcano, ==, y->copies[k].volcano);
			g_assert_cmpint(x->copies[k].in_sync, ==, y->copies[k].in_sync);
		}
	}
	g_assert_cmpuint(a->volcanos->len, ==, b->volcanos->len);
	for (guint i = 0; i < a->volcanos->len; i++) {
		const MagmaVolcano *x = at(a, i), *y = at(b, i);
		g_assert_cmpuint(x->id, ==, y->id);
		g_assert_cmpuint(x->state, ==, y->state);
		g_assert_cmpstr(x->name, ==, y->name);
		g_assert_cmpstr(x->fqdn, ==, y->fqdn);
		g_assert_true(magma_addr_equal(&x->addr, &y->addr));
		g_assert_cmpuint(x->flags, ==, y->flags);
		g_assert_cmpuint(x->bandwidth, ==, y->bandwidth);
		g_assert_cmpuint(x->offered, ==, y->offered);
	}
}

static MagmaMap *moving_map(void)
{
	MagmaMap *m = sealed_map(5, 2);
	MagmaSlice *from = in_ring(m, 0), *to = in_ring(m, 1);

	m->move = a_move(m, from->id, to->owner, (MagmaRange){ magma_range_middle(&from->range), from->range.hi });
	m->move.id = m->move.part.epoch = 9;
	m->move.part.ncopies = 1;
	m->move.part.copies[0] = (MagmaCopy){ from->owner, TRUE };
	m->incarnation = 3;
	to->epoch = 7;
	to->owner = in_ring(m, 3)->home;
	to->ncopies = 2;
	to->copies[0] = (MagmaCopy){ to->home, FALSE };
	to->copies[1] = (MagmaCopy){ in_ring(m, 2)->home, TRUE };
	id(m, to->home)->flags = MAGMA_VOLCANO_DOWN;
	id(m, from->owner)->flags = MAGMA_VOLCANO_VOTER;
	m->copies_kept = 2;
	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	return m;
}

static void a_map_survives_the_wire(void)
{
	for (guint n = 0; n < 12; n++) {
		g_autoptr(MagmaMap) m = n == 11 ? moving_map() : sealed_map(n, n % 3);
		g_autoptr(GByteArray) bytes = g_byte_array_new(), again = g_byte_array_new();
		magma_map_encode(m, bytes);
		g_autoptr(MagmaMap) back = magma_map_decode(bytes->data, bytes->len);
		g_assert_nonnull(back);
		assert_same(m, back);
		magma_map_encode(back, again);
		g_assert_cmpmem(bytes->data, bytes->len, again->data, again->len);
	}
}

static void cut_or_lengthened_bytes_are_no_map(void)
{
	g_autoptr(MagmaMap) m = moving_map();
	g_autoptr(GByteArray) bytes = g_byte_array_new();

	magma_map_encode(m, bytes);
	for (gsize n = 0; n < bytes->len; n++) {
		guint8 *c = exact_copy(bytes->data, n);
		g_assert_null(magma_map_decode(c, n));
		free(c);
	}
	magma_put_u8(bytes, 0);
	g_assert_null(magma_map_decode(bytes->data, bytes->len));
}

static void damaged_bytes_are_refused_or_still_a_map(void)
{
	g_autoptr(MagmaMap) m = moving_map();
	g_autoptr(GByteArray) bytes = g_byte_array_new();

	magma_map_encode(m, bytes);
	for (int round = 0; round < 5000; round++) {
		guint8 *c = exact_copy(bytes->data, bytes->len);
		for (int hits = g_test_rand_int_range(1, 4); hits; hits--)
			c[g_test_rand_int_range(0, (gint32)bytes->len)] = (guint8)g_test_rand_int();
		g_autoptr(MagmaMap) got = magma_map_decode(c, bytes->len);
		free(c);
		if (got)
			g_assert_cmpstr(magma_map_seal(got), ==, NULL);
	}
}

static void a_copy_is_independent(void)
{
	g_autoptr(MagmaMap) m = moving_map();
	g_autoptr(MagmaMap) c = magma_map_copy(m);

	assert_same(m, c);
	g_assert_true(at(m, 0)->name != at(c, 0)->name);
	id(c, 2)->bandwidth++;
	set_name(id(c, 2), "other");
	g_assert_cmpstr(id(m, 2)->name, ==, "v2");
	g_assert_cmpuint(id(m, 2)->bandwidth + 1, ==, id(c, 2)->bandwidth);
	g_assert_true(magma_map_route(c, &MAGMA_KEY_MAX)->id == magma_map_route(m, &MAGMA_KEY_MAX)->id);
	MagmaMap *more = magma_map_ref(m);
	g_assert_true(more == m);
	magma_map_unref(more);
	magma_map_unref(NULL);
	g_assert_cmpint(m->refs, ==, 1);
}

static void volcanos_stay_in_the_order_of_their_ids(void)
{
	guint8 network[16] = { 0 };
	g_autoptr(MagmaMap) m = magma_map_new(network, 2);
	static const guint16 ids[] = { 5, 1, 9, 3, 7 };

	for (guint i = 0; i < G_N_ELEMENTS(ids); i++)
		add(m, ids[i], NULL);
	for (guint i = 0; i < G_N_ELEMENTS(ids); i++) {
		g_assert_cmpuint(at(m, i)->id, ==, 2 * i + 1);
		g_assert_nonnull(magma_map_by_id(m, ids[i]));
	}
	g_assert_cmpuint(m->next_id, ==, 10);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/lava/" #name, name)
	ADD(every_key_goes_to_the_volcano_that_holds_it);
	ADD(ring_goes_once_around);
	ADD(a_new_network_is_one_slice);
	ADD(a_map_that_breaks_a_rule_is_refused);
	ADD(too_many_volcanos_are_refused);
	ADD(a_map_survives_the_wire);
	ADD(cut_or_lengthened_bytes_are_no_map);
	ADD(damaged_bytes_are_refused_or_still_a_map);
	ADD(a_copy_is_independent);
	ADD(volcanos_stay_in_the_order_of_their_ids);
	return g_test_run();
}
