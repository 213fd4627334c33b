/* The console over a core that is made up here: what it takes from a terminal, what it answers, and that no bytes and no peer can hurt it. */
#include "tests/unit/console_kit.h"
#include "magmad/channels.h"
#include "magmad/console/path.h"
#include "magmad/console/session.h"
#include "magmad/console/text.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a core of three volcanos: the first acts for the second, which is down; the third has one copy and gets the other, and does not answer just now ---- */

static MagmaMap *lava;
static guint halts;
static gboolean torn_status, set_aside;
static guint64 cleared;

const MagmaMap *volcano_map(const Volcano *v) { return lava; }
guint16 volcano_id(const Volcano *v) { return 1; }

void volcano_stats(Volcano *v, VolcanoStats *out)
{
	*out = (VolcanoStats){ .uptime = G_GINT64_CONSTANT(93784) * G_USEC_PER_SEC, .clients = 2, .state = "serving", .leader = 1 };
	out->op_count[MAGMA_OP_getattr] = 7;
}

void volcano_ask_status(Volcano *v, guint16 id, void (*done)(void *user, gboolean alive, const struct magma_rep_status *st), void *user)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	const MagmaCopyState copies[] = {
		{ .slice = 1, .volcano = 3, .phase = MAGMA_COPY_ROWS, .lag = 210, .done = 65u << 20, .total = 260u << 20, .rate = 30u << 20 },
		{ .slice = 2, .volcano = 3, .phase = MAGMA_COPY_IN_SYNC, .lag = 1 },
	};
	for (guint i = 0; i < G_N_ELEMENTS(copies); i++)
		magma_put_copy_state(bytes, &copies[i]);
	if (torn_status)
		g_byte_array_set_size(bytes, bytes->len - 1);
	g_autoptr(GByteArray) aside = g_byte_array_new();
	const MagmaConflict conflict = { .time = 1769850764, .phase = MAGMA_CONFLICT_COMPARED, .differing = 3 };
	magma_put_conflict(aside, &conflict);
	struct magma_rep_status st = { .keys = 18230, .used = (812u << 20) - 5, .copies = MAGMA_BYTES(bytes->data, bytes->len), .conflicts = MAGMA_BYTES(aside->data, set_aside ? aside->len : 0) };

	done(user, id == 1, id == 1 ? &st : NULL);
}

void volcano_conflict_clear(Volcano *v, guint16 id, guint64 time, void (*done)(void *user, int error), void *user)
{
	cleared = id == 1 ? time : 0;
	done(user, id == 1 ? 0 : EHOSTDOWN);
}

guint32 volcano_unsafe(Volcano *v, GString *lines)
{
	MagmaLive live = { .lease = TRUE, .self = 1 };

	return magma_unsafe(lava, &live, lines);
}
char *volcano_takeover(Volcano *v, const char *name) { return strcmp(name, "gromit") == 0 ? NULL : g_strdup("the other volcano is gromit: name it to confirm that it is lost for good"); }

void volcano_halt_network(Volcano *v, void (*done)(void *user), void *user)
{
	halts++;
	done(user);
}

static void fake_usage(Store *s, StoreUsage *out) { *out = (StoreUsage){ .flares = 3, .cache_rows = 9, .total = 1u << 30, .avail = 1u << 20 }; }

static void fake_scan_range(Store *s, const MagmaKey *lo, const MagmaKey *hi, guint64 after, guint max, void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	guint8 key[8];
	StoreRow row = { .table = TAB_FLARE, .key = key, .klen = 8 };

	magma_be64_store(key, after + 1);
	done(user, 0, &row, after < 3, after >= 2);
}

static StoreGet fake_get(Store *s, Fetch *f, StoreTable t, const void *key, gsize klen, const guint8 **val, gsize *vlen) { return STORE_FOUND; }
static void fake_fetch_clear(Store *s, Fetch *f) { }

static const StoreVt FAKE = { .usage = fake_usage, .scan_range = fake_scan_range, .get = fake_get, .fetch_clear = fake_fetch_clear };

typedef struct {
	Console *console;
	Store store;
	MagmaTrace trace;
	MagmaAddr flare;
	gboolean stopped;
	char *by;
} Bench;

static void on_stop(void *user, const char *who)
{
	Bench *b = user;

	b->stopped = TRUE;
	b->by = g_strdup(who);
}

static guint8 psk[MAGMA_PSK_LEN];

static void bench_up(Bench *b, gconstpointer unused)
{
	ConsoleConfig cfg = { .store = &b->store, .trace = &b->trace, .name = "wallace", .cache_bytes = 64 << 20, .stop = on_stop, .user = b };

	if (psk[0] == 0)
		g_assert_true(magma_psk_derive(KIT_SECRET, strlen(KIT_SECRET), psk));
	b->store.vt = &FAKE;
	cfg.flare = b->flare = kit_address();
	memcpy(cfg.psk, psk, sizeof psk);
	b->console = console_new(&cfg, NULL);
	g_assert_nonnull(b->console);
	halts = 0;
}

static void bench_down(Bench *b, gconstpointer unused)
{
	console_free(b->console);
	g_free(b->by);
}

static void make_lava(void)
{
	guint8 network[16] = { 1 };
	MagmaVolcano one = { .id = 1, .state = MAGMA_ACTIVE, .flags = MAGMA_VOLCANO_VOTER, .name = "wallace", .fqdn = "wallace.intranet", .bandwidth = 100000, .offered = G_GUINT64_CONSTANT(204800) << 20 };
	MagmaVolcano two = { .id = 2, .state = MAGMA_ACTIVE, .flags = MAGMA_VOLCANO_DOWN, .name = "gromit", .fqdn = "gromit.intranet", .bandwidth = 50000, .offered = 1u << 30 };
	MagmaVolcano three = { .id = 3, .state = MAGMA_JOINING, .flags = MAGMA_VOLCANO_VOTER, .name = "shaun", .fqdn = "shaun.intranet", .bandwidth = 50000, .offered = 1u << 30 };
	MagmaSlice lower = { .id = 1, .range = { MAGMA_KEY_MIN, MAGMA_KEY_MAX }, .home = 1, .owner = 1, .epoch = 1, .ncopies = 2, .copies = { { 3, FALSE }, { 2, FALSE } } };
	MagmaSlice upper = { .id = 2, .range = { MAGMA_KEY_MIN, MAGMA_KEY_MAX }, .home = 2, .owner = 1, .epoch = 2, .ncopies = 2, .copies = { { 2, FALSE }, { 3, TRUE } } };

	lava = magma_map_new(network, 2);
	lava->epoch = 4;
	lava->copies_kept = 1;
	lava->coordinator = 1;
	lava->next_id = 4;
	magma_addr_parse("192.168.1.20:12000", 0, &one.addr);
	magma_addr_parse("192.168.1.21:12000", 0, &two.addr);
	magma_addr_parse("192.168.1.22:12000", 0, &three.addr);
	lower.range.hi = magma_range_middle(&upper.range);
	g_assert_true(magma_key_next(&lower.range.hi, &upper.range.lo));
	magma_map_add(lava, &one);
	magma_map_add(lava, &two);
	magma_map_add(lava, &three);
	magma_map_add_slice(lava, &lower);
	magma_map_add_slice(lava, &upper);
	g_assert_null(magma_map_seal(lava));
}

/* ---- pure parts ---- */

typedef struct { GString *out; gboolean stop; } Heard;

static void heard_line(void *user, const char *line, gsize len) { g_string_append_printf(((Heard *)user)->out, "<%s>", line); }
static void heard_long(void *user) { g_string_append(((Heard *)user)->out, "<LONG>"); }
static void heard_interrupt(void *user) { g_string_append(((Heard *)user)->out, "<^C>"); }
static void heard_eof(void *user) { g_string_append(((Heard *)user)->out, "<^D>"); }
static void heard_reply(void *user, const void *p, gsize n)
{
	const guint8 *b = p;

	g_string_append_c(((Heard *)user)->out, '[');
	for (gsize i = 0; i < n; i++)
		g_string_append_printf(((Heard *)user)->out, "%s%u", i ? " " : "", b[i]);
	g_string_append_c(((Heard *)user)->out, ']');
}

static const TelnetOps HEARD = { heard_line, heard_long, heard_interrupt, heard_eof, heard_reply };

static void telnet_hears_lines_signals_and_refuses_options(void)
{
	static const struct { const char *in; gsize n; const char *out; } rows[] = {
#define ROW(in, out) { in, sizeof in - 1, out }
		ROW("a\r\nb\nc\r\0d\re\n", "<a><b><c><d><e>"),
		ROW("\r\n\r\n", "<><>"),
		ROW("lx\177s\b\bls\n", "<ls>"),
		ROW("\303\274\177x\n", "<x>"),
		ROW("\177\177a\n", "<a>"),
		ROW("rm -rf\025ls\n", "<ls>"),
		ROW("ab\003c\n", "<^C><c>"),
		ROW("\004", "<^D>"),
		ROW("a\004b\n", "<ab>"),
		ROW("\377\364x\n", "<^C><x>"),
		ROW("\377\354", "<^D>"),
		ROW("\377\375\006x\n", "[255 252 6]<x>"),              /* DO TIMING-MARK */
		ROW("\377\373\037x\n", "[255 254 31]<x>"),             /* WILL NAWS */
		ROW("\377\374\037\377\376\001", ""),                   /* WONT, DONT */
		ROW("\377\372\030a\n\377\377\003\377\360x\n", "<x>"),  /* a subnegotiation, with anything in it */
		ROW("\377\377\n", "<\377>"),
		ROW("a\377\367\n", "<>"),
		ROW("a\377\370b\n", "<b>"),
		ROW("a\0b\n", "<ab>"),
	};

	for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
		for (guint step = 1; step <= rows[i].n; step += rows[i].n > 1 ? rows[i].n - 1 : 1) {
			/* whole, and byte by byte */
			Heard h = { g_string_new(""), FALSE };
			Telnet t;
			telnet_init(&t, &HEARD, &h);
			for (gsize at = 0; at < rows[i].n; at += step)
				telnet_input(&t, (const guint8 *)rows[i].in + at, MIN(step, rows[i].n - at), &h.stop);
			g_assert_cmpstr(h.out->str, ==, rows[i].out);
			telnet_clear(&t);
			g_string_free(h.out, TRUE);
		}
}

static void telnet_offers_the_echo_only_around_the_secret(void)
{
	Heard h = { g_string_new(""), FALSE };
	Telnet t;

	telnet_init(&t, &HEARD, &h);
	telnet_hide(&t, TRUE);
	telnet_input(&t, (const guint8 *)"\377\375\001", 3, &h.stop);       /* DO ECHO: as offered */
	telnet_hide(&t, FALSE);
	telnet_hide(&t, FALSE);
	telnet_input(&t, (const guint8 *)"\377\375\001", 3, &h.stop);       /* no longer */
	g_assert_cmpstr(h.out->str, ==, "[255 251 1][255 252 1][255 252 1]");
	telnet_clear(&t);
	g_string_free(h.out, TRUE);
}

static void words_are_split_as_a_shell_would(void)
{
	static const struct { const char *line, *words; gboolean json; } rows[] = {
		{ "ls", "ls", FALSE }, { "  ls \t /a  ", "ls|/a", FALSE }, { "ls '/a b'", "ls|/a b", FALSE }, { "ls \"/a 'b\"", "ls|/a 'b", FALSE },
		{ "ls /a\\ b", "ls|/a b", FALSE }, { "ls '/a\\b'", "ls|/a\\b", FALSE }, { "ls ''", "ls|", FALSE }, { "", "", FALSE }, { "   ", "", FALSE },
		{ "lava -j", "lava", TRUE }, { "ls /a -j", "ls|/a", TRUE }, { "ls '-j'", "ls|-j", FALSE }, { "-j", "-j", FALSE }, { "ls -j /a", "ls|-j|/a", FALSE },
		{ "ls 'a", NULL, FALSE }, { "ls \"a", NULL, FALSE }, { "ls a\\", "ls|a\\", FALSE },
	};

	for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
		CommandLine c;
		gboolean ok = command_split(rows[i].line, &c);
		g_test_message("%s", rows[i].line);
		g_assert_cmpint(ok, ==, rows[i].words != NULL);
		if (ok) {
			g_autofree char *words = g_strjoinv("|", (char **)c.words->pdata);
			g_assert_cmpstr(words, ==, rows[i].words);
			g_assert_cmpint(c.json, ==, rows[i].json);
		}
		command_line_clear(&c);
	}
}

static void commands_may_be_cut_short_while_clear(void)
{
	static const struct { const char *typed; CommandMatch match; const char *name; guint used; } rows[] = {
		{ "ls", COMMAND_FOUND, "ls", 1 }, { "LAVA", COMMAND_FOUND, "lava", 1 }, { "la", COMMAND_FOUND, "lava", 1 }, { "l", COMMAND_AMBIGUOUS },
		{ "pw", COMMAND_FOUND, "pwd", 1 }, { "print cache", COMMAND_FOUND, "print cache", 2 }, { "pri c", COMMAND_FOUND, "print cache", 2 },
		{ "pr", COMMAND_AMBIGUOUS }, { "cat /x", COMMAND_FOUND, "cat", 1 }, { "ca load", COMMAND_AMBIGUOUS }, { "cac l", COMMAND_FOUND, "cache load", 2 },
		{ "cache", COMMAND_AMBIGUOUS }, { "debug on f", COMMAND_FOUND, "debug on", 2 }, { "de of f", COMMAND_FOUND, "debug off", 2 }, { "debug o f", COMMAND_AMBIGUOUS },
		{ "print nothing", COMMAND_UNKNOWN }, { "lavas", COMMAND_UNKNOWN }, { "q", COMMAND_FOUND, "quit", 1 }, { "cd", COMMAND_FOUND, "cd", 1 }, { "''", COMMAND_AMBIGUOUS },
	};

	for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GString) candidates = g_string_new("");
		const Command *found = NULL;
		CommandLine c;
		guint used = 0;
		g_test_message("%s", rows[i].typed);
		g_assert_true(command_split(rows[i].typed, &c));
		g_assert_cmpint(command_find((char **)c.words->pdata, c.words->len - 1, &found, &used, candidates), ==, rows[i].match);
		if (rows[i].match == COMMAND_FOUND) {
			g_assert_cmpstr(found->name, ==, rows[i].name);
			g_assert_cmpuint(used, ==, rows[i].used);
		} else {
			g_assert_cmpint(candidates->len > 0, ==, rows[i].match == COMMAND_AMBIGUOUS);
		}
		command_line_clear(&c);
	}
}

static void paths_lead_where_they_say(void)
{
	static const char *const rows[][3] = {
		{ "/", "a", "/a" }, { "/a", "b/c", "/a/b/c" }, { "/a/b", "..", "/a" }, { "/a", "../..", "/" }, { "/a", "/", "/" }, { "/a", "//b//./c/", "/b/c" },
		{ "/a", "", "/a" }, { "/a", ".", "/a" }, { "/a", "...", "/a/..." }, { "/a/b", "../../../c", "/c" }, { "/", "", "/" },
	};
	g_autofree char *huge = g_strnfill(5000, 'x');

	for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *path = path_join(rows[i][0], rows[i][1]);
		g_assert_cmpstr(path, ==, rows[i][2]);
	}
	g_assert_null(path_join("/", huge));
}

static void no_name_steers_the_terminal(void)
{
	static const char name[] = "a\033[2Jb\n\303\274\377\\c";
	g_autofree char *clean = text_clean(name, sizeof name - 1);

	g_assert_cmpstr(clean, ==, "a\\033[2Jb\\012\303\274\\377\\134c");
}

static void values_look_as_people_know_them(void)
{
	static const struct { guint32 mode; const char *text; } rows[] = {
		{ S_IFDIR | 0755, "drwxr-xr-x" }, { S_IFREG | 04644, "-rwSr--r--" }, { S_IFLNK | 0777, "lrwxrwxrwx" }, { S_IFDIR | 01777, "drwxrwxrwt" },
		{ S_IFREG | 06711, "-rws--s--x" }, { S_IFSOCK | 0, "s---------" }, { 0, "?---------" },
	};
	char mode[11];

	for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
		text_mode(rows[i].mode, mode);
		g_assert_cmpstr(mode, ==, rows[i].text);
	}
	g_autofree char *a = text_copies(1, 2), *b = text_copies(1, 1), *c = text_copies(2, 2), *d = text_duration(59), *e = text_duration(2 * 86400 + 3661);
	g_assert_cmpstr(a, ==, "1 copy (2 wanted)");
	g_assert_cmpstr(b, ==, "1 copy");
	g_assert_cmpstr(c, ==, "2 copies");
	g_assert_cmpstr(d, ==, "00:00:59");
	g_assert_cmpstr(e, ==, "2 days 01:01:01");
}

/* ---- sessions ---- */

static void a_session_begins_as_operators_know_it(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare);
	g_autofree char *hello = kit_wait(p, "> ");

	g_assert_cmpstr(hello, ==, "\nWelcome to MAGMA version 1.0.0\nThis is server wallace (127.0.0.1)\nType help [ENTER] for available commands.\n\nMAGMA [wallace]:/> ");
	kit_close(p);
}

static void nothing_but_help_comes_before_the_login(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare);

	g_free(kit_wait(p, "> "));
	for (guint i = 0; i < COMMANDS_COUNT; i++) {
		g_autofree char *line = g_strdup_printf("%s x", COMMANDS[i].name);
		if (!COMMANDS[i].needs_login)
			continue;
		g_autofree char *said = kit_ask(p, line), *right = g_strdup_printf("\n%s: log in first: type login\n\n", COMMANDS[i].name);
		g_assert_cmpstr(said, ==, right);
	}
	g_autofree char *version = kit_ask(p, "version");
	g_assert_cmpstr(version, ==, "\nMAGMA version 1.0.0\n\n");
	kit_close(p);
}

static void lava_has_the_shape_operators_know(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare);

	kit_login(p);
	g_autofree char *said = kit_ask(p, "lava");
	g_assert_cmpstr(said, ==,
		"\nLava topology: epoch 4, 3 volcanos, 1 copy (2 wanted)\n"
		"\n"
		"   node: wallace (wallace.intranet) 192.168.1.20:12000\n"
		"  alive: yes\n"
		"  start: 0000000000000000000000000000000000000000\n"
		"   stop: 7fffffffffffffffffffffffffffffffffffffff\n"
		"   keys: 18230\n"
		" bwidth: 100000 Kbit/s\n"
		"storage: 812 / 204800 MByte\n"
		"   role: owner, acts for gromit, voter, leader\n"
		"  slice: 1 of wallace, epoch 1\n"
		" mirror: shaun, being filled, 65 / 260 MByte, 30720 KByte/s, 00:00:07 to go, lag 210\n"
		" mirror: gromit, down\n"
		"  slice: 2 of gromit, epoch 2, acting\n"
		" mirror: gromit, down\n"
		" mirror: shaun, in sync, lag 1\n"
		"\n"
		"   node: gromit (gromit.intranet) 192.168.1.21:12000\n"
		"  alive: no\n"
		"  start: 8000000000000000000000000000000000000000\n"
		"   stop: ffffffffffffffffffffffffffffffffffffffff\n"
		"   keys: ?\n"
		" bwidth: 50000 Kbit/s\n"
		"storage: ? / 1024 MByte\n"
		"   role: down, copy of wallace, copy of gromit\n"
		"\n"
		"   node: shaun (shaun.intranet) 192.168.1.22:12000\n"
		"  alive: no (joining)\n"
		"  start: -\n"
		"   stop: -\n"
		"   keys: ?\n"
		" bwidth: 50000 Kbit/s\n"
		"storage: ? / 1024 MByte\n"
		"   role: joining, copy of wallace, copy of gromit, voter\n"
		"\n"
		"down: gromit\n"
		"degraded: slice 1 of wallace has 1 of 2 copies\n"
		"healing: slice 1 of wallace on shaun\n\n");
	kit_close(p);
}

static void heal_shows_every_copy_and_how_far_it_is(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare);

	kit_login(p);
	g_autofree char *said = kit_ask(p, "heal");
	g_assert_cmpstr(said, ==,
		"\nslice 1 of wallace: owner wallace, 1 of 2 copies\n"
		"  shaun, being filled, 65 / 260 MByte, 30720 KByte/s, 00:00:07 to go, lag 210\n"
		"  gromit, down\n"
		"slice 2 of gromit: owner wallace, 2 of 2 copies\n"
		"  gromit, down\n"
		"  shaun, in sync, lag 1\n"
		"\n -- copies being made: 1\n\n");
	torn_status = TRUE;
	g_autofree char *torn = kit_ask(p, "heal");
	torn_status = FALSE;
	g_assert_nonnull(strstr(torn, "\n  shaun, being filled, "));     /* what could be read */
	g_assert_nonnull(strstr(torn, "\n  shaun, in sync\n"));          /* and what the map says of the rest */
	kit_close(p);
}

static void conflicts_are_listed_and_cleared_by_name(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare);

	kit_login(p);
	g_autofree char *none = kit_ask(p, "conflicts");
	set_aside = TRUE;
	g_autofree char *one = kit_ask(p, "conflicts"), *json = kit_ask(p, "conflicts -j"), *in_lava = kit_ask(p, "lava");
	set_aside = FALSE;
	g_assert_cmpstr(none, ==, "\n -- histories set aside: 0\n\n");
	g_assert_cmpstr(one, ==, "\n/.dht/conflicts/wallace/20260131T091244Z: compared, 3 flares differ\n\n -- histories set aside: 1\n\n");
	g_assert_nonnull(strstr(json, "\"conflicts\":[{\"node\":\"wallace\",\"time\":\"20260131T091244Z\",\"state\":\"compared\",\"differing\":3}]"));
	g_assert_nonnull(strstr(in_lava, "\nCONFLICT: /.dht/conflicts/wallace/20260131T091244Z: compared, 3 flares differ\n"));
	g_autofree char *nobody = kit_ask(p, "conflicts clear shaun2 20260131T091244Z"), *when = kit_ask(p, "conflicts clear wallace yesterday"), *what = kit_ask(p, "conflicts remove"),
		*away = kit_ask(p, "conflicts clear gromit 20260131T091244Z");
	g_assert_cmpuint(cleared, ==, 0);
	g_assert_nonnull(strstr(nobody, "no volcano of that name"));
	g_assert_nonnull(strstr(when, "no such time"));
	g_assert_nonnull(strstr(what, "conflicts clear NICKNAME TIME"));
	g_assert_nonnull(strstr(away, g_strerror(EHOSTDOWN)));
	g_autofree char *done = kit_ask(p, "conflicts clear wallace 20260131T091244Z");
	g_assert_nonnull(strstr(done, "cleared"));
	g_assert_cmpuint(cleared, ==, 1769850764);
	kit_close(p);
}

static void scripts_see_copies_and_unsafe_states(Bench *b, gconstpointer unused)
{
	static const char *const lava_has[] = { "\"safe\":false,\"unsafe\":[\"down: gromit\",\"degraded: slice 1 of wallace has 1 of 2 copies\",\"healing: slice 1 of wallace on shaun\"]",
		"\"node\":\"gromit\",\"fqdn\":\"gromit.intranet\",\"address\":\"192.168.1.21:12000\",\"alive\":false,\"state\":\"active\",\"down\":true,\"voter\":false,\"leader\":false",
		"\"slice\":2,\"start\":\"8000000000000000000000000000000000000000\",\"stop\":\"ffffffffffffffffffffffffffffffffffffffff\",\"home\":\"gromit\",\"owner\":\"wallace\",\"epoch\":2,\"copies\":2,\"waits\":false",
		"{\"node\":\"shaun\",\"in_sync\":false,\"state\":\"rows\",\"lag\":210,\"done\":68157440,\"total\":272629760,\"rate\":31457280,\"seconds_to_go\":7}",
		"{\"node\":\"gromit\",\"in_sync\":false,\"state\":\"down\"}" };
	Peer *p = kit_connect(&b->flare);

	kit_login(p);
	g_autofree char *map = kit_ask(p, "lava -j"), *heal = kit_ask(p, "heal -j"), *status = kit_ask(p, "status -j"), *text = kit_ask(p, "status");
	for (guint i = 0; i < G_N_ELEMENTS(lava_has); i++) {
		g_test_message("%s", map);
		g_assert_nonnull(strstr(map, lava_has[i]));
	}
	g_assert_nonnull(strstr(heal, "\"copies_wanted\":2,\"healing\":1,\"slices\":["));
	g_assert_nonnull(strstr(status, lava_has[0]));
	g_assert_nonnull(strstr(text, "\n    unsafe: down: gromit\n    unsafe: degraded: slice 1 of wallace has 1 of 2 copies\n    unsafe: healing: "));
	kit_close(p);
}

static void every_answer_in_json_is_json(Bench *b, gconstpointer unused)
{
	static const char *const lines[] = { "help", "help ls", "help nothing", "version", "lava", "status", "print cache", "cache load", "print debug", "debug on f", "debug off f",
		"debug on \"\"", "debug on q\033", "print acl", "pwd", "heal", "balance", "drain", "watch", "frob", "\377\377", "pr", "ls a b", "erase", "shutdown now", "login" };
	Peer *p = kit_connect(&b->flare);

	kit_login(p);
	for (guint i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autofree char *line = g_strdup_printf("%s -j", lines[i]), *said = kit_ask(p, line);
		g_autoptr(JsonParser) parser = json_parser_new();
		gboolean ok = json_parser_load_from_data(parser, said, -1, NULL);
		g_test_message("%s: %s", line, said);
		if (g_str_equal(lines[i], "login"))
			continue;
		g_assert_true(ok);
		g_assert_true(JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser)));
		JsonObject *o = json_node_get_object(json_parser_get_root(parser));
		g_assert_true(json_object_has_member(o, "ok"));
		g_assert_cmpint(json_object_has_member(o, "error"), !=, json_object_get_boolean_member(o, "ok"));
		g_assert_cmpint(said[0], ==, '\n');             /* on a line of its own */
		g_assert_null(strchr(g_strstrip(said), '\n'));
	}
	kit_close(p);
}

static void debug_channels_are_shown_and_switched(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare);

	kit_login(p);
	g_autofree char *on = kit_ask(p, "debug on fM");
	g_assert_nonnull(strstr(on, "\nf [*] FLARE SYSTEM\n"));
	g_assert_nonnull(strstr(on, "\nM [*] MEMBERS\n"));
	g_assert_nonnull(strstr(on, "\nF [ ] FLARE PROTOCOL\n"));
	g_assert_true(magma_trace_on(&b->trace, 'f'));
	g_autofree char *off = kit_ask(p, "debug off f");
	g_assert_nonnull(strstr(off, "\nf [ ] FLARE SYSTEM\n"));
	g_assert_false(magma_trace_on(&b->trace, 'f'));
	g_assert_true(magma_trace_on(&b->trace, 'M'));
	g_autofree char *wrong = kit_ask(p, "debug on x");
	g_assert_cmpstr(wrong, ==, "\nx: no such debug channel; the channels are BbcCdFfgJlMmnrsuVv\n\n");
	kit_close(p);
}

static void a_wrong_secret_is_delayed_and_the_third_ends_it(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare);
	gint64 since = g_get_monotonic_time();

	g_free(kit_wait(p, "> "));
	/* ^C does not spare the delay, and what is typed meanwhile waits */
	kit_send(p, "login\r\nwrong\r\n", 14);
	ConsoleSession *s = b->console->sessions->pdata[0];
	while (!s->task)
		g_main_context_iteration(NULL, TRUE);
	kit_send(p, "\003pwd\r\n", 6);
	g_free(kit_wait(p, "login: wrong secret\r\n"));
	g_assert_cmpint(g_get_monotonic_time() - since, >=, 2 * G_USEC_PER_SEC);
	g_free(kit_wait(p, "pwd: log in first"));
	g_assert_cmpuint(s->tries, ==, 1);
	s->tries = 2;                         /* the second: two more seconds */
	kit_send(p, "login\r\n\r\n", 9);
	g_free(kit_wait(p, "too many of them"));
	kit_wait_closed(p);
	kit_close(p);
}

static void the_secret_is_not_echoed_and_an_interrupt_ends_the_question(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare);

	g_free(kit_wait(p, "> "));
	kit_send(p, "login\r\n", 7);
	g_free(kit_wait(p, "\377\373\001"));
	g_free(kit_wait(p, "secret: "));
	kit_send(p, "half\003", 5);
	g_free(kit_wait(p, "\377\374\001"));
	g_free(kit_wait(p, "MAGMA [wallace]:/> "));
	g_assert_null(strstr(p->in->str, "half"));
	/* as telnet sends it: what comes before the answer to the timing mark is thrown away */
	kit_send(p, "pw\377\364\377\375\006", 7);
	g_free(kit_wait(p, "\377\374\006"));
	g_free(kit_wait(p, "MAGMA [wallace]:/> "));
	kit_close(p);
}

static void a_script_may_send_all_at_once_and_stop_listening_last(Bench *b, gconstpointer unused)
{
	static const char all[] = "login\n" KIT_SECRET "\nlava -j\npwd\n";
	Peer *p = kit_connect(&b->flare);

	kit_send(p, all, sizeof all - 1);
	g_assert_cmpint(shutdown(p->fd, SHUT_WR), ==, 0);
	kit_wait_closed(p);
	g_assert_nonnull(strstr(p->in->str, "{\"ok\":true,\"epoch\":4,"));
	g_assert_nonnull(strstr(p->in->str, "\r\n/\r\n"));
	kit_close(p);
}

static void a_line_that_was_cut_off_is_not_obeyed(Bench *b, gconstpointer unused)
{
	static const char all[] = "login\n" KIT_SECRET "\nshutdown here";
	Peer *p = kit_connect(&b->flare);

	kit_send(p, all, sizeof all - 1);
	g_assert_cmpint(shutdown(p->fd, SHUT_WR), ==, 0);
	kit_wait_closed(p);
	g_assert_nonnull(strstr(p->in->str, "logged in"));
	g_assert_false(b->stopped);
	kit_close(p);
}

static void a_line_of_a_megabyte_is_told_to_be_too_long(Bench *b, gconstpointer unused)
{
	g_autofree char *line = g_strnfill(1 << 20, 'x');
	Peer *p = kit_connect(&b->flare);

	g_free(kit_wait(p, "> "));
	kit_send(p, line, 1 << 20);
	kit_send(p, "\r\n", 2);
	g_free(kit_wait(p, "line too long"));
	g_free(kit_wait(p, "> "));
	g_autofree char *next = kit_ask(p, "version");
	g_assert_cmpstr(next, ==, "\nMAGMA version 1.0.0\n\n");
	kit_close(p);
}

/* Random bytes, with more of those that mean something; the console lives on for the next one. */
static void garbage_is_harmless(Bench *b, gconstpointer unused)
{
	static const guint8 likely[] = { 255, 251, 253, 250, 240, 3, 8, 10, 13, 0, 127, 244 };
	g_autofree guint8 *junk = g_malloc(200000);
	Peer *p = kit_connect(&b->flare), *q;

	for (guint i = 0; i < 200000; i++)
		junk[i] = g_test_rand_int_range(0, 3) ? (guint8)g_test_rand_int() : likely[g_test_rand_int_range(0, G_N_ELEMENTS(likely))];
	for (guint i = 0; i < 200000; i++)
		if (junk[i] == 4 || junk[i] == 236)       /* ^D would end it early */
			junk[i] = 'x';
	kit_send(p, junk, 200000);
	q = kit_connect(&b->flare);
	g_free(kit_wait(q, "> "));
	g_autofree char *said = kit_ask(q, "version");
	g_assert_cmpstr(said, ==, "\nMAGMA version 1.0.0\n\n");
	kit_close(p);
	kit_close(q);
}

/* A peer that sends commands and reads nothing: what waits for it is bounded, and others do not feel it. */
static void a_peer_that_does_not_read_is_not_obeyed_for_ever(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare), *q = kit_connect(&b->flare);
	gint64 since = g_get_monotonic_time();
	g_autoptr(GString) flood = g_string_new("");
	gsize most = 0;

	for (guint i = 0; i < 3000; i++)
		g_string_append(flood, "help\n");
	g_free(kit_wait(p, "> "));
	for (guint i = 0; i < 400 || g_get_monotonic_time() - since < G_USEC_PER_SEC / 5; i++) {
		if (send(p->fd, flood->str, flood->len, MSG_NOSIGNAL) < 0)
			g_assert_cmpint(errno, ==, EAGAIN);
		g_main_context_iteration(NULL, FALSE);
		ConsoleSession *s = b->console->sessions->pdata[0];
		most = MAX(most, s->out->len - s->out_at);
		g_assert_cmpuint(s->lines_bytes, <, SESSION_IN_MAX + 16384);
	}
	g_assert_cmpuint(most, >, SESSION_OUT_MAX / 2);
	g_assert_cmpuint(most, <, SESSION_OUT_MAX + 65536);
	g_free(kit_wait(q, "> "));
	g_free(kit_ask(q, "version"));
	kit_close(p);
	kit_close(q);
}

static void the_sixty_fifth_is_turned_away(Bench *b, gconstpointer unused)
{
	Peer *peers[CONSOLE_SESSIONS_MAX + 1];

	for (guint i = 0; i < G_N_ELEMENTS(peers); i++) {
		peers[i] = kit_connect(&b->flare);
		if (i < CONSOLE_SESSIONS_MAX)
			g_free(kit_wait(peers[i], "> "));
	}
	g_free(kit_wait(peers[CONSOLE_SESSIONS_MAX], "too many"));
	kit_wait_closed(peers[CONSOLE_SESSIONS_MAX]);
	g_assert_cmpuint(console_sessions(b->console), ==, CONSOLE_SESSIONS_MAX);
	/* one that goes makes room for one that comes */
	kit_close(peers[0]);
	for (gint64 since = g_get_monotonic_time(); console_sessions(b->console) == CONSOLE_SESSIONS_MAX && g_get_monotonic_time() - since < 5000000;)
		g_main_context_iteration(NULL, TRUE);
	peers[0] = kit_connect(&b->flare);
	g_free(kit_wait(peers[0], "> "));
	for (guint i = 0; i < G_N_ELEMENTS(peers); i++)
		kit_close(peers[i]);
}

static void quit_and_control_d_and_a_closed_window_end_alike(Bench *b, gconstpointer unused)
{
	static const char *const ways[] = { "quit\r\n", "exit\n", "\004", "\377\354" };

	for (guint i = 0; i < G_N_ELEMENTS(ways); i++) {
		Peer *p = kit_connect(&b->flare);
		g_free(kit_wait(p, "> "));
		kit_send(p, ways[i], strlen(ways[i]));
		kit_wait_closed(p);
		kit_close(p);
	}
	Peer *p = kit_connect(&b->flare);
	struct linger abrupt = { 1, 0 };
	g_free(kit_wait(p, "> "));
	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
	kit_close(p);
	for (gint64 since = g_get_monotonic_time(); console_sessions(b->console) && g_get_monotonic_time() - since < 5000000;)
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpuint(console_sessions(b->console), ==, 0);
}

static void shutdown_halts_all_and_shutdown_here_only_this_one(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare);

	kit_login(p);
	g_autofree char *wrong = kit_ask(p, "shutdown now");
	g_assert_nonnull(strstr(wrong, "now: shutdown stops all volcanos"));
	g_assert_false(b->stopped);
	kit_send(p, "shutdown here\r\n", 15);
	kit_run_until(&b->stopped);
	g_assert_cmpuint(halts, ==, 0);
	g_assert_true(g_str_has_prefix(b->by, "127.0.0.1:"));
	g_clear_pointer(&b->by, g_free);
	b->stopped = FALSE;
	kit_send(p, "shutdown\r\n", 10);
	kit_run_until(&b->stopped);
	g_assert_cmpuint(halts, ==, 1);
	console_free(g_steal_pointer(&b->console));
	g_free(kit_wait(p, "magmad stops\r\n"));
	kit_wait_closed(p);
	kit_close(p);
}

/* The console goes away under all of them: one in a login, one that streams, one that asks for the secret. */
static void the_console_may_end_at_any_moment(Bench *b, gconstpointer unused)
{
	Peer *p = kit_connect(&b->flare), *q = kit_connect(&b->flare);

	kit_login(q);
	kit_send(q, "ls\r\n", 4);
	kit_send(p, "login\r\nwrong\r\n", 14);
	for (guint i = 0; i < 20; i++)
		g_main_context_iteration(NULL, FALSE);
	console_free(g_steal_pointer(&b->console));
	while (g_main_context_iteration(NULL, FALSE))
		;
	kit_close(p);
	kit_close(q);
}

static void commands_not_built_say_so(Bench *b, gconstpointer unused)
{
	static const char *const lines[] = { "balance", "drain", "watch" };
	Peer *p = kit_connect(&b->flare);

	kit_login(p);
	for (guint i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autofree char *said = kit_ask(p, lines[i]);
		g_assert_true(g_str_has_prefix(said, "\nnot built yet: "));
	}
	g_autofree char *unknown = kit_ask(p, "frob\033[0m"), *loaded = kit_ask(p, "cache load");
	g_assert_cmpstr(unknown, ==, "\nfrob\\033[0m: unknown command, type help for a list\n\n");
	g_assert_cmpstr(loaded, ==, "\n3 flares read, the cache holds 9 rows, 0 MByte\n\n");
	kit_close(p);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	make_lava();
	g_test_add_func("/telnet/hears_lines_signals_and_refuses_options", telnet_hears_lines_signals_and_refuses_options);
	g_test_add_func("/telnet/offers_the_echo_only_around_the_secret", telnet_offers_the_echo_only_around_the_secret);
	g_test_add_func("/command/words_are_split_as_a_shell_would", words_are_split_as_a_shell_would);
	g_test_add_func("/command/may_be_cut_short_while_clear", commands_may_be_cut_short_while_clear);
	g_test_add_func("/console/paths_lead_where_they_say", paths_lead_where_they_say);
	g_test_add_func("/console/no_name_steers_the_terminal", no_name_steers_the_terminal);
	g_test_add_func("/console/values_look_as_people_know_them", values_look_as_people_know_them);
#define WITH_BENCH(fn) g_test_add("/console/" #fn, Bench, NULL, bench_up, fn, bench_down)
	WITH_BENCH(a_session_begins_as_operators_know_it);
	WITH_BENCH(nothing_but_help_comes_before_the_login);
	WITH_BENCH(lava_has_the_shape_operators_know);
	WITH_BENCH(heal_shows_every_copy_and_how_far_it_is);
	WITH_BENCH(scripts_see_copies_and_unsafe_states);
	WITH_BENCH(conflicts_are_listed_and_cleared_by_name);
	WITH_BENCH(every_answer_in_json_is_json);
	WITH_BENCH(debug_channels_are_shown_and_switched);
	WITH_BENCH(a_wrong_secret_is_delayed_and_the_third_ends_it);
	WITH_BENCH(the_secret_is_not_echoed_and_an_interrupt_ends_the_question);
	WITH_BENCH(a_script_may_send_all_at_once_and_stop_listening_last);
	WITH_BENCH(a_line_that_was_cut_off_is_not_obeyed);
	WITH_BENCH(a_line_of_a_megabyte_is_told_to_be_too_long);
	WITH_BENCH(garbage_is_harmless);
	WITH_BENCH(a_peer_that_does_not_read_is_not_obeyed_for_ever);
	WITH_BENCH(the_sixty_fifth_is_turned_away);
	WITH_BENCH(quit_and_control_d_and_a_closed_window_end_alike);
	WITH_BENCH(shutdown_halts_all_and_shutdown_here_only_this_one);
	WITH_BENCH(the_console_may_end_at_any_moment);
	WITH_BENCH(commands_not_built_say_so);
	int status = g_test_run();
	magma_map_unref(lava);
	return status;
}
