/* libmagma/base. */
#include "libmagma/base/addr.h"
#include "libmagma/base/crc32c.h"
#include "libmagma/base/err.h"
#include "libmagma/base/trace.h"
#include "libmagma/base/wire.h"
#include <errno.h>
#include <string.h>

static guint64 rand64(void)
{
	return (guint64)(guint32)g_test_rand_int() << 32 | (guint32)g_test_rand_int();
}

static void wire_what_is_written_is_read(void)
{
	g_autoptr(GByteArray) b = g_byte_array_new();

	magma_put_u8(b, 0xab);
	magma_put_u16(b, 0x1234);
	magma_put_u32(b, 0xdeadbeef);
	magma_put_u64(b, G_GUINT64_CONSTANT(0x0123456789abcdef));
	magma_put_bytes(b, "xyz", 3);
	magma_put_bytes(b, NULL, 0);
	const guint8 want[] = { 0xab, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 'x', 'y', 'z' };
	g_assert_cmpmem(b->data, b->len, want, sizeof want);

	MagmaReader r = magma_reader(b->data, b->len);
	g_assert_cmphex(magma_get_u8(&r), ==, 0xab);
	g_assert_cmphex(magma_get_u16(&r), ==, 0x1234);
	g_assert_cmphex(magma_get_u32(&r), ==, 0xdeadbeef);
	g_assert_cmphex(magma_get_u64(&r), ==, G_GUINT64_CONSTANT(0x0123456789abcdef));
	g_assert_cmpmem(magma_get_bytes(&r, 3), 3, "xyz", 3);
	g_assert_false(r.error);
	g_assert_cmpuint(r.left, ==, 0);
}

static void wire_error_is_sticky_and_yields_zeros(void)
{
	const guint8 bytes[7] = { 1, 2, 3, 4, 5, 6, 7 };
	MagmaReader r = magma_reader(bytes, sizeof bytes);

	g_assert_cmphex(magma_get_u64(&r), ==, 0);
	g_assert_true(r.error);
	g_assert_cmphex(magma_get_u8(&r), ==, 0);       /* a byte is there, but the error stays */
	g_assert_cmphex(magma_get_u16(&r), ==, 0);
	g_assert_cmphex(magma_get_u32(&r), ==, 0);
	g_assert_cmphex(magma_get_varint(&r), ==, 0);
	g_assert_null(magma_get_bytes(&r, 0));
	r = magma_reader(bytes, sizeof bytes);
	g_assert_null(magma_get_bytes(&r, G_MAXSIZE));
	g_assert_true(r.error);
	r = magma_reader(NULL, 0);
	g_assert_null(magma_get_bytes(&r, 0));
	g_assert_false(r.error);
}

static void wire_varints_are_those_of_rfc9000(void)
{
	/* RFC 9000, appendix A.1; the last is a longer form than needed, which it allows. */
	static const struct { guint8 b[8]; gsize n; guint64 v; } cases[] = {
		{ { 0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c }, 8, G_GUINT64_CONSTANT(151288809941952652) },
		{ { 0x9d, 0x7f, 0x3e, 0x7d }, 4, 494878333 },
		{ { 0x7b, 0xbd }, 2, 15293 },
		{ { 0x25 }, 1, 37 },
		{ { 0x40, 0x25 }, 2, 37 },
	};
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		MagmaReader r = magma_reader(cases[i].b, cases[i].n);
		g_assert_cmpuint(magma_get_varint(&r), ==, cases[i].v);
		g_assert_false(r.error);
		g_assert_cmpuint(r.left, ==, 0);
		for (gsize cut = 0; cut < cases[i].n; cut++) {
			r = magma_reader(cases[i].b, cut);
			g_assert_cmpuint(magma_get_varint(&r), ==, 0);
			g_assert_true(r.error);
		}
	}
	for (guint i = 0; i < 4; i++) {
		g_autoptr(GByteArray) b = g_byte_array_new();
		magma_put_varint(b, cases[i].v);
		g_assert_cmpmem(b->data, b->len, cases[i].b, cases[i].n);
	}
	for (guint bits = 0; bits <= 62; bits++)
		for (int d = -1; d <= 1; d++) {
			guint64 v = (G_GUINT64_CONSTANT(1) << bits) + (guint64)(gint64)d;
			if (v >= G_GUINT64_CONSTANT(1) << 62)
				continue;
			g_autoptr(GByteArray) b = g_byte_array_new();
			magma_put_varint(b, v);
			MagmaReader r = magma_reader(b->data, b->len);
			g_assert_cmpuint(magma_get_varint(&r), ==, v);
			g_assert_false(r.error);
		}
}

static void crc32c_matches_rfc3720(void)
{
	guint8 b[32];

	g_assert_cmphex(magma_crc32c(0, "123456789", 9), ==, 0xe3069283);
	g_assert_cmphex(magma_crc32c(0, NULL, 0), ==, 0);
	memset(b, 0, sizeof b);
	g_assert_cmphex(magma_crc32c(0, b, sizeof b), ==, 0x8a9136aa);
	memset(b, 0xff, sizeof b);
	g_assert_cmphex(magma_crc32c(0, b, sizeof b), ==, 0x62a8ab43);
	for (guint8 i = 0; i < sizeof b; i++)
		b[i] = i;
	g_assert_cmphex(magma_crc32c(0, b, sizeof b), ==, 0x46dd794e);
	g_assert_cmphex(crc32c_portable(0, b, sizeof b), ==, 0x46dd794e);
	for (guint8 i = 0; i < sizeof b; i++)
		b[i] = (guint8)(31 - i);
	g_assert_cmphex(magma_crc32c(0, b, sizeof b), ==, 0x113fdb5c);
}

static void crc32c_cpu_and_tables_agree_at_every_length_and_place(void)
{
	guint8 b[200];

	for (guint i = 0; i < sizeof b; i++)
		b[i] = (guint8)g_test_rand_int();
	for (guint at = 0; at < 9; at++)
		for (guint n = 0; n + at <= sizeof b; n++)
			g_assert_cmphex(magma_crc32c(7, b + at, n), ==, crc32c_portable(7, b + at, n));
}

static void crc32c_goes_on_where_it_stopped(void)
{
	guint8 b[300];

	for (guint i = 0; i < sizeof b; i++)
		b[i] = (guint8)g_test_rand_int();
	for (guint cut = 0; cut <= sizeof b; cut += 7)
		g_assert_cmphex(magma_crc32c(magma_crc32c(0, b, cut), b + cut, sizeof b - cut), ==, magma_crc32c(0, b, sizeof b));
}

static void addr_is_understood_as_people_write_it(void)
{
	static const struct { const char *text, *full, *ip; } cases[] = {
		{ "192.168.1.20", "192.168.1.20:12000", "192.168.1.20" },
		{ "192.168.1.20:99", "192.168.1.20:99", "192.168.1.20" },
		{ "0.0.0.0:0", "0.0.0.0:0", "0.0.0.0" },
		{ "255.255.255.255:65535", "255.255.255.255:65535", "255.255.255.255" },
		{ "::1", "[::1]:12000", "::1" },
		{ "[::1]", "[::1]:12000", "::1" },
		{ "[::1]:99", "[::1]:99", "::1" },
		{ "::", "[::]:12000", "::" },
		{ "2001:DB8::0:1", "[2001:db8::1]:12000", "2001:db8::1" },
		{ "fe80::1%2", "[fe80::1%2]:12000", "fe80::1%2" },
		{ "[fe80::1%4294967295]:65535", "[fe80::1%4294967295]:65535", "fe80::1%4294967295" },
		{ "::ffff:1.2.3.4", "[::ffff:1.2.3.4]:12000", "::ffff:1.2.3.4" },
	};
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		MagmaAddr a, again;
		char text[MAGMA_ADDR_TEXT];
		g_assert_true(magma_addr_parse(cases[i].text, 12000, &a));
		g_assert_cmpstr(magma_addr_format(&a, text), ==, cases[i].full);
		g_assert_true(magma_addr_parse(text, 1, &again));
		g_assert_true(magma_addr_equal(&a, &again));
		g_assert_cmpuint(magma_addr_hash(&a), ==, magma_addr_hash(&again));
		g_assert_cmpstr(magma_addr_format_ip(&a, text), ==, cases[i].ip);
	}
}

static void addr_that_is_none_is_refused(void)
{
	static const char *const bad[] = {
		"", " ", "wallace", "wallace:12000", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:+1", "1.2.3.4: 1",
		"1.2.3.4:99999999999999999999", "1.2.3.4:9x", ":99", "[", "[]", "[::1", "[::1]9", "[::1]:", "[::1]:x", "[1.2.3.4]", "::1::", ":::", "1::%", "1::%eth0",
		"1::%4294967296", "1.2.3.4%1", "[::1]:99:99", "1:2:3:4:5:6:7:8:9",
		"1111111111111111111111111111111111111111111111111111111111111111111111111111111",
	};
	for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
		MagmaAddr a = { .family = 77 };
		g_test_message("%s", bad[i]);
		g_assert_false(magma_addr_parse(bad[i], 12000, &a));
		g_assert_cmpuint(a.family, ==, 77);
	}
}

static void addr_text_always_fits_and_comes_back(void)
{
	for (int round = 0; round < 2000; round++) {
		MagmaAddr a = { .family = g_test_rand_bit() ? 4 : 6, .port = (guint16)g_test_rand_int() }, b;
		char text[MAGMA_ADDR_TEXT];
		for (int i = 0; i < (a.family == 4 ? 4 : 16); i++)
			a.ip[i] = g_test_rand_bit() ? (guint8)g_test_rand_int() : 0;
		if (a.family == 6 && g_test_rand_bit())
			a.scope = (guint32)g_test_rand_int();
		g_assert_true(magma_addr_parse(magma_addr_format(&a, text), 0, &b));
		g_assert_true(magma_addr_equal(&a, &b));
		g_assert_true(magma_addr_parse(magma_addr_format_ip(&a, text), a.port, &b));
		g_assert_true(magma_addr_equal(&a, &b));
	}
}

static void addr_differs_in_each_of_its_parts(void)
{
	MagmaAddr a = { .family = 6, .ip = { 1 }, .port = 7, .scope = 1 }, b = a;

	b.port = 8;
	g_assert_false(magma_addr_equal(&a, &b));
	b = a, b.ip[15] = 1;
	g_assert_false(magma_addr_equal(&a, &b));
	b = a, b.scope = 2;
	g_assert_false(magma_addr_equal(&a, &b));
	b = a, b.family = 4;
	g_assert_false(magma_addr_equal(&a, &b));
	b = magma_addr_with_port(&a, 9);
	g_assert_cmpuint(b.port, ==, 9);
	g_assert_cmpuint(a.port, ==, 7);
	g_assert_cmpuint(b.scope, ==, 1);
}

static void addr_survives_the_wire(void)
{
	static const char *const texts[] = { "1.2.3.4:5", "[::1]:12000", "[fe80::2%9]:1" };
	MagmaAddr a, b, none = { 0 };

	for (guint i = 0; i <= G_N_ELEMENTS(texts); i++) {
		g_autoptr(GByteArray) out = g_byte_array_new();
		a = none;
		if (i < G_N_ELEMENTS(texts))
			g_assert_true(magma_addr_parse(texts[i], 0, &a));
		magma_put_addr(out, &a);
		MagmaReader r = magma_reader(out->data, out->len);
		magma_get_addr(&r, &b);
		g_assert_false(r.error);
		g_assert_cmpuint(r.left, ==, 0);
		g_assert_true(magma_addr_equal(&a, &b));
		for (gsize n = 0; n < out->len; n++) {
			r = magma_reader(out->data, n);
			magma_get_addr(&r, &b);
			g_assert_true(r.error);
			g_assert_true(magma_addr_equal(&none, &b));
		}
	}
	const guint8 strange[] = { 5, 1, 2, 3, 4, 0, 1 };
	MagmaReader r = magma_reader(strange, sizeof strange);
	magma_get_addr(&r, &b);
	g_assert_true(r.error);
}

typedef struct { guint lines; char channel; char *last; } Sink;

static void sink(void *user, char channel, const char *line)
{
	Sink *s = user;

	s->lines++;
	s->channel = channel;
	g_free(s->last);
	s->last = g_strdup(line);
}

static guint evaluated;
static const char *evaluate(void) { evaluated++; return "text"; }

static void trace_costs_nothing_when_off(void)
{
	Sink s = { 0 };
	MagmaTrace t = { 0, sink, &s };

	MAGMA_TRACE(&t, 'f', "%s", evaluate());
	MAGMA_TRACE(NULL, 'f', "%s", evaluate());
	g_assert_cmpuint(evaluated, ==, 0);
	t.on = G_GUINT64_CONSTANT(1) << magma_trace_bit('F');
	MAGMA_TRACE(&t, 'f', "%s", evaluate());         /* F is not f */
	g_assert_cmpuint(evaluated, ==, 0);
	MAGMA_TRACE(&t, 'F', "%s %d", evaluate(), 7);
	g_assert_cmpuint(evaluated, ==, 1);
	g_assert_cmpuint(s.lines, ==, 1);
	g_assert_cmpint(s.channel, ==, 'F');
	g_assert_cmpstr(s.last, ==, "text 7");
	g_free(s.last);
}

static void trace_every_letter_is_a_channel_of_its_own(void)
{
	guint64 seen = 0;

	for (char c = 'A'; c <= 'z'; c++)
		if (g_ascii_isalpha(c)) {
			guint64 bit = G_GUINT64_CONSTANT(1) << magma_trace_bit(c);
			g_assert_cmphex(seen & bit, ==, 0);
			seen |= bit;
		}
	MagmaTrace t = { seen, NULL, NULL };
	g_assert_false(magma_trace_on(&t, '!'));
	magma_trace_say(&t, 'f', "nobody listens");
}

static void trace_shortens_a_line_without_end(void)
{
	Sink s = { 0 };
	MagmaTrace t = { ~G_GUINT64_CONSTANT(0), sink, &s };
	g_autofree char *longest = g_strnfill(100000, 'x');

	magma_trace_say(&t, 'f', "%s", longest);
	g_assert_true(g_str_has_suffix(s.last, "xx..."));
	g_assert_cmpuint(strlen(s.last), <, 4096);
	g_free(s.last);
}

static void errors_have_words(void)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	g_assert_cmpstr(magma_strerror(ENOENT), ==, g_strerror(ENOENT));
	g_assert_cmpstr(magma_strerror(MAGMA_EAUTH), ==, "authentication failed");
	for (int code = MAGMA_EAUTH; code <= MAGMA_ENOTOWNER; code++)
		g_assert_true(g_hash_table_add(seen, (gpointer)magma_strerror(code)));
	g_assert_false(g_hash_table_contains(seen, g_strerror(MAGMA_EAUTH)));
	g_assert_nonnull(magma_strerror(-1));
	g_assert_nonnull(magma_strerror(G_MAXINT));
	g_autoptr(GError) e = g_error_new(MAGMA_ERROR, MAGMA_ENOBODY, "%s: %s", "1.2.3.4:12000", magma_strerror(MAGMA_ENOBODY));
	g_assert_error(e, MAGMA_ERROR, MAGMA_ENOBODY);
}

static void wire_fixed_places_are_big_endian_and_unaligned(void)
{
	guint8 b[16] = { 0 };

	for (guint at = 0; at < 8; at++) {
		guint64 v = rand64();
		magma_be64_store(b + at, v);
		g_assert_cmphex(magma_be64_load(b + at), ==, v);
		g_assert_cmphex(b[at], ==, v >> 56);
		magma_be32_store(b + at, (guint32)v);
		g_assert_cmphex(magma_be32_load(b + at), ==, (guint32)v);
		g_assert_cmphex(b[at + 3], ==, v & 0xff);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/base/" #name, name)
	ADD(wire_what_is_written_is_read);
	ADD(wire_error_is_sticky_and_yields_zeros);
	ADD(wire_varints_are_those_of_rfc9000);
	ADD(wire_fixed_places_are_big_endian_and_unaligned);
	ADD(crc32c_matches_rfc3720);
	ADD(crc32c_cpu_and_tables_agree_at_every_length_and_place);
	ADD(crc32c_goes_on_where_it_stopped);
	ADD(addr_is_understood_as_people_write_it);
	ADD(addr_that_is_none_is_refused);
	ADD(addr_text_always_fits_and_comes_back);
	ADD(addr_differs_in_each_of_its_parts);
	ADD(addr_survives_the_wire);
	ADD(trace_costs_nothing_when_off);
	ADD(trace_every_letter_is_a_channel_of_its_own);
	ADD(trace_shortens_a_line_without_end);
	ADD(errors_have_words);
	return g_test_run();
}
