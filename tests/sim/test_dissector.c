/* docs/magma.lua against sessions of the simulated network: every operation, both ciphers, keys that change, datagrams lost, repeated and out of order. */
#include "tests/sim/pair.h"
#include "tests/unit/anymsg.h"
#include <glib/gstdio.h>
#include <string.h>

#define LINKTYPE_RAW 101              /* IP without anything around it */
#define IP_HEADER 20
#define UDP_HEADER 8
#define REKEY_EVERY 25
#define ROUNDS 2

typedef struct {
	Pair pair;
	GPtrArray *packets;           /* GByteArray: IP packets, as sent */
	GHashTable *expected;         /* "op/kind/xid" -> how many */
	guint sent;
} Recording;

static void put_le32(GByteArray *out, guint32 v)
{
	guint32 le = GUINT32_TO_LE(v);
	g_byte_array_append(out, (const guint8 *)&le, sizeof le);
}

static GByteArray *ip_packet(const MagmaAddr *from, const MagmaAddr *to, const guint8 *p, gsize n)
{
	GByteArray *out = g_byte_array_new();
	guint8 ip[IP_HEADER] = { 0x45 }, udp[UDP_HEADER] = { 0 };

	put_be(ip + 2, IP_HEADER + UDP_HEADER + n, 2);
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, from->ip, 4);
	memcpy(ip + 16, to->ip, 4);
	put_be(udp, from->port, 2);
	put_be(udp + 2, to->port, 2);
	put_be(udp + 4, UDP_HEADER + n, 2);
	g_byte_array_append(out, ip, sizeof ip);
	g_byte_array_append(out, udp, sizeof udp);
	g_byte_array_append(out, p, (guint)n);
	return out;
}

static Recording *recording_now;      /* of record(), which has no other way to it */

/* What is lost here is not in the capture; what the path loses is. */
static gboolean record(SimHost *h, const MagmaAddr *to, const guint8 *p, gsize n)
{
	Recording *r = recording_now;

	if (simnet_random(r->pair.net, 100) < 3)
		return FALSE;
	g_ptr_array_add(r->packets, ip_packet(&h->addr, to, p, n));
	return TRUE;
}

static void expect(Recording *r, const MagmaHdr *h)
{
	char *line = g_strdup_printf("%u/%u/%" G_GUINT64_FORMAT, h->op, h->kind, h->xid);
	guint n = GPOINTER_TO_UINT(g_hash_table_lookup(r->expected, line));

	g_hash_table_insert(r->expected, line, GUINT_TO_POINTER(n + 1));
	r->sent++;
}

static void send_any(Recording *r, AnyMsg *a, const MagmaOpInfo *info, MagmaMsgKind kind, MagmaConn *c)
{
	MagmaAny fields;
	MagmaHdr h;
	GByteArray *out = g_byte_array_new();

	anymsg_header(a, info, kind, &h);
	if (kind == MAGMA_REPLY && simnet_random(r->pair.net, 5) == 0)
		h.error = 2;
	anymsg_fields(a, info, kind, &fields);
	magma_msg_encode(&h, h.error ? NULL : &fields, FALSE, out);
	g_autoptr(GBytes) msg = g_byte_array_free_to_bytes(out);
	g_assert_true(magma_conn_send(c, msg, NULL));
	expect(r, &h);
	g_string_chunk_clear(a->arena);
}

static gboolean all_arrived(void *user)
{
	Recording *r = user;
	return r->pair.a->messages + r->pair.b->messages == r->sent;
}

static void send_all(Recording *r, MagmaConn *c, MagmaConn *d)
{
	AnyMsg a;

	anymsg_init(&a, (guint32)pair_seed, 5000);
	for (guint round = 0; round < ROUNDS; round++)
		for (guint number = 0; number < MAGMA_OP_LIMIT; number++) {
			const MagmaOpInfo *info = magma_op_info(number);
			for (guint kind = MAGMA_REQUEST; info && kind <= MAGMA_PUSH; kind++)
				send_any(r, &a, info, kind, (number + kind) % 2 ? c : d);
			simnet_run(r->pair.net, 3000);
		}
	g_assert_true(simnet_run_until(r->pair.net, 60 * SEC, all_arrived, r));
	anymsg_clear(&a);
}

/* A network card that has several queues: neighbours change places, some come twice. */
static void disturb(Recording *r)
{
	for (guint i = 3; i + 1 < r->packets->len; i++) {
		if (simnet_random(r->pair.net, 10) == 0) {
			gpointer p = r->packets->pdata[i];
			r->packets->pdata[i] = r->packets->pdata[i + 1];
			r->packets->pdata[i + 1] = p;
		} else if (simnet_random(r->pair.net, 30) == 0) {
			g_ptr_array_insert(r->packets, (gint)i, g_byte_array_ref(r->packets->pdata[i - 2]));
		}
	}
}

static void write_pcap(Recording *r, const char *path)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autoptr(GError) error = NULL;

	put_le32(out, 0xa1b2c3d4);
	put_le32(out, 4u << 16 | 2);  /* version 2.4 */
	put_le32(out, 0);
	put_le32(out, 0);
	put_le32(out, 262144);
	put_le32(out, LINKTYPE_RAW);
	for (guint i = 0; i < r->packets->len; i++) {
		const GByteArray *p = r->packets->pdata[i];
		put_le32(out, i / 1000);
		put_le32(out, i % 1000 * 1000);
		put_le32(out, p->len);
		put_le32(out, p->len);
		g_byte_array_append(out, p->data, p->len);
	}
	g_file_set_contents(path, (const char *)out->data, out->len, &error);
	g_assert_no_error(error);
}

/* tshark over the capture; what it prints. */
static char *dissect(const char *dir, const char *pcap, const char *keys)
{
	const char *src = g_getenv("srcdir");
	g_autofree char *lua = g_strdup_printf("lua_script:%s/docs/magma.lua", src ? src : "."), *keylog = g_strdup_printf("magma.keylog:%s", keys);
	const char *argv[] = { "tshark", "-n", "-r", pcap, "-X", lua, "-o", keylog, "-T", "fields", "-e", "magma.msg.op", "-e", "magma.msg.kind", "-e", "magma.msg.xid",
		"-e", "magma.malformed", "-e", "magma.unopened", "-e", "magma.generation",
		"-e", "_ws.expert.message", NULL };
	g_auto(GStrv) env = g_environ_setenv(g_environ_setenv(g_get_environ(), "HOME", dir, TRUE), "XDG_CONFIG_HOME", dir, TRUE);
	char *out = NULL;
	g_autofree char *err = NULL;
	g_autoptr(GError) error = NULL;
	gint status;

	g_spawn_sync(NULL, (char **)argv, env, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status, &error);
	g_assert_no_error(error);
	if (status != 0 || strstr(err, "Error"))
		g_test_message("tshark: %s", err);
	g_assert_cmpint(status, ==, 0);
	g_assert_null(strstr(err, "Error"));
	return out;
}

/* A frame may have several messages: "15,10<tab>0,1<tab>7,8". */
static guint take_frame(Recording *r, const char *line, guint *newest_key)
{
	g_auto(GStrv) f = g_strsplit(line, "\t", -1);

	g_assert_cmpuint(g_strv_length(f), ==, 7);
	g_assert_cmpstr(f[3], ==, "");
	g_assert_cmpstr(f[4], ==, "");
	*newest_key = MAX(*newest_key, (guint)strtoul(f[5], NULL, 10));
	if (strstr(f[6], "Lua Error"))
		g_test_message("%s", f[6]);
	g_assert_null(strstr(f[6], "Lua Error"));
	g_auto(GStrv) op = g_strsplit(f[0], ",", -1);
	g_auto(GStrv) kind = g_strsplit(f[1], ",", -1);
	g_auto(GStrv) xid = g_strsplit(f[2], ",", -1);
	guint n = g_strv_length(op);
	g_assert_cmpuint(g_strv_length(kind), ==, n);
	g_assert_cmpuint(g_strv_length(xid), ==, n);
	for (guint i = 0; i < n; i++) {
		g_autofree char *one = g_strdup_printf("%s/%s/%s", op[i], kind[i], xid[i]);
		guint left = GPOINTER_TO_UINT(g_hash_table_lookup(r->expected, one));
		if (!left)
			g_test_message("%s was not sent, or not that often", one);
		g_assert_cmpuint(left, >, 0);
		g_hash_table_insert(r->expected, g_steal_pointer(&one), GUINT_TO_POINTER(left - 1));
	}
	return n;
}

static gboolean tshark_is_there(void)
{
	g_autofree char *path = g_find_program_in_path("tshark"), *version = NULL, *grumble = NULL;

	if (path && g_spawn_command_line_sync("tshark --version", &version, &grumble, NULL, NULL) && strstr(version, "with Lua"))
		return TRUE;
	g_test_skip("no tshark with Lua here");
	return FALSE;
}

static Recording *record_all(gboolean slow_aes)
{
	Recording *r = g_new0(Recording, 1);
	MagmaXportConfig cfg = simnet_config();

	recording_now = r;
	cfg.slow_aes = slow_aes;
	r->packets = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
	r->expected = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	r->pair.net = simnet_new(pair_seed);
	r->pair.a = simnet_host(r->pair.net, "10.0.0.1", &cfg);
	r->pair.b = simnet_host(r->pair.net, "10.0.0.2", &cfg);
	r->pair.a->tap = r->pair.b->tap = record;
	r->pair.a->out = r->pair.b->out = (SimPath){ .loss = 0.03, .dup = 0.03, .delay = 300, .jitter = 700, .mtu = 1472 };
	MagmaConn *c = pair_open(&r->pair);
	r->pair.a->ep->rekey_packets = r->pair.b->ep->rekey_packets = REKEY_EVERY;
	send_all(r, c, r->pair.b->last);
	disturb(r);
	return r;
}

static void recording_free(Recording *r)
{
	simnet_free(r->pair.net);
	g_ptr_array_unref(r->packets);
	g_hash_table_unref(r->expected);
	g_free(r);
}

static void all_messages_are_read(gboolean slow_aes)
{
	if (!tshark_is_there())
		return;
	Recording *r = record_all(slow_aes);
	g_autofree char *dir = g_dir_make_tmp("magma-dissector-XXXXXX", NULL), *pcap = g_build_filename(dir, "pcap", NULL), *keys = g_build_filename(dir, "keys", NULL);
	guint seen = 0, newest_key = 0;

	write_pcap(r, pcap);
	g_assert_true(g_file_set_contents(keys, r->pair.a->keylog->str, -1, NULL));
	g_autofree char *out = dissect(dir, pcap, keys);
	g_auto(GStrv) lines = g_strsplit(out, "\n", -1);
	for (guint i = 0; lines[i] && *lines[i]; i++)
		seen += take_frame(r, lines[i], &newest_key);
	g_test_message("%u messages in %u datagrams, last key %u", seen, r->packets->len, newest_key);
	g_assert_cmpuint(seen, ==, r->sent);
	g_assert_cmpuint(newest_key, >=, 4);
	g_unlink(pcap);
	g_unlink(keys);
	g_rmdir(dir);
	recording_free(r);
}

static void every_operation_is_read_under_aes(void) { all_messages_are_read(FALSE); }
static void every_operation_is_read_under_chacha(void) { all_messages_are_read(TRUE); }

int main(int argc, char **argv)
{
	pair_test_init(&argc, &argv);
	g_test_add_func("/dissector/every_operation_is_read_under_aes", every_operation_is_read_under_aes);
	g_test_add_func("/dissector/every_operation_is_read_under_chacha", every_operation_is_read_under_chacha);
	return g_test_run();
}
