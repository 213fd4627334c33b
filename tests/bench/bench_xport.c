/* What sessions cost without sockets: two endpoints in one process, datagrams handed over in memory, real time.
 * Usage: bench_xport [bulk MiB] [round trips] [path MTU] */
#include "libmagma/xport/xport.h"
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW (4u << 20)
#define BLOCK (1u << 20)
#define DEPTH 4                       /* blocks outstanding, as a client's write-behind has them */

typedef struct {
	MagmaEndpoint *ep;
	MagmaAddr addr;
	MagmaConn *conn;
	guint64 messages, bytes;
	GBytes *reply;                /* answers every message with it, when set */
} Side;

static Side client, server;
static guint8 *buf;
static gsize mtu = 65000;

static void op_random(void *user, void *p, gsize n)
{
	RAND_bytes(p, (int)n);
}

static void op_open(void *user, MagmaConn *c)
{
	((Side *)user)->conn = c;
}

static void op_message(void *user, MagmaConn *c, GBytes *msg)
{
	Side *s = user;
	s->messages++;
	s->bytes += g_bytes_get_size(msg);
	if (s->reply)
		magma_conn_send(c, s->reply, NULL);
}

static void op_close(void *user, MagmaConn *c, MagmaCloseReason why)
{
	fprintf(stderr, "bench_xport: session closed, reason %d\n", why);
	exit(1);
}

static gboolean move(Side *from, Side *to)
{
	MagmaBurst b = { .buf = buf, .max = 1 << 17 };
	gboolean any = FALSE;
	while (magma_endpoint_poll(from->ep, g_get_monotonic_time(), &b)) {
		MagmaTime now = g_get_monotonic_time();
		for (gsize at = 0; at < b.len; at += b.segment)
			if (MIN(b.segment, b.len - at) <= mtu)
				magma_endpoint_input(to->ep, now, &from->addr, b.buf + at, MIN(b.segment, b.len - at));
		magma_endpoint_input_done(to->ep, now);
		any = TRUE;
	}
	return any;
}

static void turn(void)
{
	gboolean any = move(&client, &server);
	any |= move(&server, &client);
	if (any)
		return;
	MagmaTime now = g_get_monotonic_time();
	magma_endpoint_tick(client.ep, now);
	magma_endpoint_tick(server.ep, now);
}

static void start(Side *s, guint16 port)
{
	const MagmaXportOps ops = { op_random, op_open, op_message, op_close, NULL };
	MagmaXportConfig cfg = { .prologue = "bench", .accept = TRUE, .recv_window = WINDOW };
	magma_addr_parse("127.0.0.1", port, &s->addr);
	s->ep = magma_endpoint_new(&cfg, &ops, s);
}

static void bulk(guint64 blocks)
{
	g_autofree guint8 *data = g_malloc(BLOCK);
	memset(data, 0x5a, BLOCK);
	g_autoptr(GBytes) body = g_bytes_new_static(data, BLOCK), head = g_bytes_new_static("a request's header of about this length, say", 44);
	guint64 queued = 0, before = server.messages;
	MagmaTime t = g_get_monotonic_time();
	while (server.messages - before < blocks) {
		while (queued < blocks && magma_conn_backlog(client.conn) < DEPTH * BLOCK) {
			magma_conn_send(client.conn, head, body);
			queued++;
		}
		turn();
	}
	t = g_get_monotonic_time() - t;
	while (magma_conn_backlog(client.conn))
		turn();
	printf("bulk: %.0f MB/s (%" G_GUINT64_FORMAT " MiB, datagrams of %u, rtt %d us)\n", (double)blocks * BLOCK / (double)t, blocks,
	       magma_conn_mtu(client.conn), (int)magma_conn_rtt(client.conn));
}

static void round_trips(guint n, guint depth)
{
	g_autoptr(GBytes) request = g_bytes_new_static("a request such as getattr: about this long, with key, ino, uid, gid and ids .", 80);
	g_autoptr(GBytes) reply = g_bytes_new_take(g_malloc0(140), 140);
	guint64 sent = 0, before = client.messages, datagrams = magma_endpoint_stats(client.ep)->datagrams_out + magma_endpoint_stats(server.ep)->datagrams_out;
	server.reply = reply;
	MagmaTime t = g_get_monotonic_time();
	while (client.messages - before < n) {
		while (sent < n && sent - (client.messages - before) < depth) {
			magma_conn_send(client.conn, request, NULL);
			sent++;
		}
		turn();
	}
	t = g_get_monotonic_time() - t;
	server.reply = NULL;
	datagrams = magma_endpoint_stats(client.ep)->datagrams_out + magma_endpoint_stats(server.ep)->datagrams_out - datagrams;
	printf("round trips, %u at a time: %.0f/s, %.2f us each for both sides, %.2f datagrams each\n", depth, n * 1e6 / (double)t,
	       (double)t / n, (double)datagrams / n);
}

int main(int argc, char **argv)
{
	guint64 blocks = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000;
	guint n = argc > 2 ? (guint)strtoul(argv[2], NULL, 0) : 200000;
	mtu = argc > 3 ? strtoul(argv[3], NULL, 0) : 65000;
	buf = g_malloc(1 << 17);
	start(&client, 1);
	start(&server, 2);
	magma_conn_connect(client.ep, g_get_monotonic_time(), &server.addr);
	while (!client.conn || !server.conn)
		turn();
	bulk(blocks / 10 + 1);        /* finds the path MTU */
	bulk(blocks);
	round_trips(n, 1);
	round_trips(n, 16);
	magma_endpoint_free(client.ep);
	magma_endpoint_free(server.ep);
	g_free(buf);
	return 0;
}
