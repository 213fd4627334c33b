/* Handshakes that fail, datagrams that are forged, peers that do not keep to the protocol. */
#include "tests/sim/pair.h"
#include <stdlib.h>
#include <string.h>

static gboolean a_closed(void *user)
{
	return ((Pair *)user)->a->closed > 0;
}

static MagmaConn *connect_in_vain(Pair *p, MagmaTime limit, MagmaCloseReason why)
{
	MagmaTime start = simnet_now(p->net);
	MagmaConn *c = simnet_connect(p->a, p->b);
	g_assert_true(simnet_run_until(p->net, 60 * SEC, a_closed, p));
	g_assert_cmpint(p->a->why, ==, why);
	g_assert_cmpint(simnet_now(p->net) - start, <=, limit);
	g_assert_cmpuint(p->a->opened, ==, 0);
	return c;
}

static void wrong_key_is_told_from_nobody_there(void)
{
	Pair p = pair_new();
	MagmaXportConfig cfg = simnet_config();
	cfg.psk[0] = 1;
	simnet_kill(p.b);
	simnet_start(p.b, &cfg);
	connect_in_vain(&p, 2 * SEC, MAGMA_CLOSE_AUTH);
	g_assert_cmpuint(p.b->opened, ==, 0);
	g_assert_cmpuint(magma_endpoint_stats(p.b->ep)->handshake_rejects_sent, >=, 3);
	simnet_free(p.net);
}

static void other_prologue_is_another_key(void)
{
	Pair p = pair_new();
	MagmaXportConfig cfg = simnet_config();
	cfg.prologue = "other";
	simnet_kill(p.b);
	simnet_start(p.b, &cfg);
	connect_in_vain(&p, 2 * SEC, MAGMA_CLOSE_AUTH);
	simnet_free(p.net);
}

static void nobody_answers(void)
{
	Pair p = pair_new();
	simnet_kill(p.b);
	connect_in_vain(&p, 4 * SEC + MSEC, MAGMA_CLOSE_NOBODY);
	g_assert_cmpuint(p.a->sent, >=, 5);
	g_assert_cmpuint(p.a->sent, <=, 10);
	simnet_free(p.net);
}

static void refused_port_is_said_so(void)
{
	Pair p = pair_new();
	simnet_kill(p.b);
	p.b->refuses = TRUE;
	connect_in_vain(&p, 4 * SEC + MSEC, MAGMA_CLOSE_REFUSED);
	simnet_free(p.net);
}

static void initiator_only_endpoint_answers_nothing(void)
{
	Pair p = pair_new();
	MagmaXportConfig cfg = simnet_config();
	cfg.accept = FALSE;
	simnet_kill(p.b);
	simnet_start(p.b, &cfg);
	connect_in_vain(&p, 4 * SEC + MSEC, MAGMA_CLOSE_NOBODY);
	g_assert_cmpuint(p.b->sent, ==, 0);
	simnet_free(p.net);
}

static void handshake_survives_loss_and_sends_what_waited(void)
{
	guint64 first = pair_seed;
	guint replaced = 0;
	for (; pair_seed < first + 50; pair_seed++) {
		Pair p = pair_new();
		Inbox box;
		inbox_attach(&box, p.b, 3);
		p.a->out.loss = p.b->out.loss = 0.3;
		p.a->out.dup = p.b->out.dup = 0.2;
		p.a->out.jitter = p.b->out.jitter = 50 * MSEC;
		MagmaXportConfig cfg = simnet_config();
		cfg.handshake_timeout_ms = 60000;
		simnet_kill(p.a);
		simnet_start(p.a, &cfg);
		MagmaConn *c = simnet_connect(p.a, p.b);
		for (guint m = 0; m < 3; m++)
			send_number(c, m, 500);
		gboolean all = simnet_run_until(p.net, 60 * SEC, inbox_full, &box);
		/* With a third of all datagrams lost a session may look dead; then it is replaced, and its user is told. */
		g_assert_true(all || p.a->why == MAGMA_CLOSE_REPLACED);
		replaced += p.a->closed;
		g_free(box.got);
		simnet_free(p.net);
	}
	pair_seed = first;
	g_assert_cmpuint(replaced, <, 5);
}

static void both_may_start_at_once(void)
{
	Pair p = pair_new();
	simnet_connect(p.a, p.b);
	simnet_connect(p.b, p.a);
	simnet_run(p.net, SEC);
	g_assert_cmpuint(p.a->opened, ==, 2);
	g_assert_cmpuint(p.b->opened, ==, 2);
	simnet_free(p.net);
}

/* ---- recorded and forged datagrams ---- */

typedef struct {
	GPtrArray *taken;             /* of GBytes */
	guint skip;
} Recorder;

static gboolean record(SimHost *h, const MagmaAddr *to, const guint8 *p, gsize n)
{
	Recorder *r = h->user;
	if (r->taken->len < 200)
		g_ptr_array_add(r->taken, g_bytes_new(p, n));
	return TRUE;
}

static void recorder_attach(Recorder *r, SimHost *h)
{
	*r = (Recorder){ .taken = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref) };
	h->user = r;
	h->tap = record;
}

static void replayed_hello_leaves_nothing_behind(void)
{
	Pair p = pair_new();
	Recorder r;
	recorder_attach(&r, p.a);
	MagmaConn *c = pair_open(&p);
	send_number(c, 1, 100);
	simnet_run(p.net, 20 * SEC);
	SimHost *mallory = simnet_host(p.net, "10.6.6.6", NULL);
	for (guint round = 0; round < 100; round++)
		for (guint i = 0; i < r.taken->len; i++) {
			gsize n;
			const guint8 *d = g_bytes_get_data(r.taken->pdata[i], &n);
			simnet_inject(p.net, &mallory->addr, p.b, d, n);
		}
	g_assert_cmpuint(p.b->ep->n_half, <=, 1);
	simnet_run(p.net, 15 * SEC);
	g_assert_cmpuint(p.b->ep->n_half, ==, 0);
	g_assert_cmpuint(p.b->opened, ==, 1);
	g_assert_cmpuint(p.b->messages, ==, 1);
	g_assert_cmpuint(magma_endpoint_stats(p.b->ep)->replayed, >, 0);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	send_number(p.b->last, 2, 100);
	simnet_run(p.net, SEC);
	g_assert_cmpuint(p.a->messages, ==, 1);
	g_ptr_array_unref(r.taken);
	simnet_free(p.net);
}

static void flood_of_handshakes_asks_for_cookies_and_lets_others_in(void)
{
	Pair p = pair_new();
	SimHost *floods[40];
	/* Holders of the key that never go on after the hello: nothing reaches them. */
	p.b->out.cut = TRUE;
	for (guint i = 0; i < 40; i++) {
		g_autofree char *name = g_strdup_printf("10.1.0.%u", i + 1);
		floods[i] = simnet_host(p.net, name, NULL);
		simnet_connect(floods[i], p.b);
	}
	simnet_run(p.net, 50 * MSEC);
	g_assert_cmpuint(p.b->ep->n_half, ==, COOKIE_FROM);
	g_assert_cmpuint(magma_endpoint_stats(p.b->ep)->cookies_sent, >=, 40 - COOKIE_FROM);
	p.b->out.cut = FALSE;
	for (guint i = 0; i < 40; i++)
		simnet_kill(floods[i]);
	guint64 cookies = magma_endpoint_stats(p.b->ep)->cookies_sent;
	MagmaTime start = simnet_now(p.net);
	pair_open(&p);
	g_assert_cmpint(simnet_now(p.net) - start, <, 10 * MSEC);
	g_assert_cmpuint(magma_endpoint_stats(p.b->ep)->cookies_sent, ==, cookies + 1);
	simnet_free(p.net);
}

static void hello_speaks_for_its_own_connection_id_only(void)
{
	Pair p = pair_new();
	Recorder r;
	recorder_attach(&r, p.a);
	p.a->out.cut = TRUE;
	simnet_connect(p.a, p.b);
	simnet_run(p.net, MSEC);
	gsize n;
	g_autofree guint8 *d = g_memdup2(g_bytes_get_data(r.taken->pdata[0], &n), HELLO_LEN);
	d[4] ^= 1;
	simnet_inject(p.net, &p.a->addr, p.b, d, HELLO_LEN);
	g_assert_cmpuint(p.b->ep->n_half, ==, 0);
	d[4] ^= 1;
	simnet_inject(p.net, &p.a->addr, p.b, d, HELLO_LEN);
	g_assert_cmpuint(p.b->ep->n_half, ==, 1);
	g_ptr_array_unref(r.taken);
	simnet_free(p.net);
}

static guint64 answered;

static gboolean count_answers(SimHost *h, const MagmaAddr *to, const guint8 *p, gsize n)
{
	answered += n;
	return FALSE;
}

/* For each datagram of a stranger, whatever it is, what comes back is no longer. */
static void nothing_is_amplified(void)
{
	Pair p = pair_new();
	Recorder r;
	recorder_attach(&r, p.a);
	MagmaConn *c = pair_open(&p);
	send_number(c, 1, 3000);
	simnet_run(p.net, 30 * SEC);
	SimHost *mallory = simnet_host(p.net, "10.6.6.6", NULL);
	MagmaXportConfig other = simnet_config();
	other.psk[5] = 1;
	SimHost *stranger = simnet_host(p.net, "10.6.6.7", &other);
	stranger->user = &r;
	stranger->tap = record;
	simnet_connect(stranger, p.b);
	simnet_run(p.net, SEC);
	simnet_kill(stranger);
	p.b->tap = count_answers;
	for (guint i = 0; i < r.taken->len; i++) {
		gsize n;
		const guint8 *d = g_bytes_get_data(r.taken->pdata[i], &n);
		answered = 0;
		simnet_inject(p.net, &mallory->addr, p.b, d, n);
		simnet_run(p.net, MSEC);
		g_assert_cmpuint(answered, <=, n);
		for (gsize cut = 0; cut < n; cut += 1 + n / 20) {
			answered = 0;
			simnet_inject(p.net, &mallory->addr, p.b, d, cut);
			simnet_run(p.net, MSEC);
			g_assert_cmpuint(answered, <=, cut);
		}
	}
	g_ptr_array_unref(r.taken);
	simnet_free(p.net);
}

static void rejects_are_rate_limited(void)
{
	Pair p = pair_new();
	guint8 hello[HELLO_LEN] = { DGRAM_HELLO };
	hello[DGRAM_PREFIX] = PROTOCOL_VERSION;
	for (guint i = 0; i < 10000; i++) {
		put_be(hello + 20, i, 4);
		simnet_inject(p.net, &p.a->addr, p.b, hello, sizeof hello);
	}
	g_assert_cmpuint(magma_endpoint_stats(p.b->ep)->handshake_rejects_sent, <=, 32);
	g_assert_cmpuint(magma_endpoint_stats(p.b->ep)->bad_tag, ==, 10000);
	g_assert_cmpuint(g_hash_table_size(p.b->ep->by_cid), ==, 0);
	simnet_free(p.net);
}

static gsize mangle(SimNet *net, guint8 *d, gsize n)
{
	switch (simnet_random(net, 6)) {
	case 0:
		return simnet_random(net, (guint32)n + 1);       /* cut */
	case 1:
		d[simnet_random(net, (guint32)n)] ^= (guint8)(1 << simnet_random(net, 8));
		return n;
	case 2:
		for (gsize i = DGRAM_PREFIX; i < n; i++)         /* a connection id that exists, random rest */
			d[i] = (guint8)simnet_random(net, 256);
		return n;
	case 3:
		for (gsize i = 0; i < n; i++)
			d[i] = (guint8)simnet_random(net, 256);
		return n;
	case 4:
		d[0] = (guint8)simnet_random(net, 256);
		return n;
	default:
		return n;                                        /* repeated as it was */
	}
}

static gsize footprint(const MagmaEndpoint *ep, const MagmaConn *c)
{
	return g_hash_table_size(ep->by_cid) + ep->n_half + c->received.cap + c->loss.size + g_hash_table_size(c->recvq.partial) + c->recvq.buffered;
}

/* Random, truncated, replayed and forged datagrams, while messages go back and forth: each message comes once, nothing grows.
 * MAGMA_FORGED: how many (50,000; a million for the long run). */
static void forged_datagrams_disturb_nothing(void)
{
	Pair p = pair_new();
	Recorder ra, rb;
	recorder_attach(&ra, p.a);
	recorder_attach(&rb, p.b);
	guint many = g_getenv("MAGMA_FORGED") ? (guint)strtoul(g_getenv("MAGMA_FORGED"), NULL, 0) : 50000;
	MagmaConn *c = pair_open(&p);
	for (guint i = 0; i < 100; i++) {
		send_number(c, i, 500 + 100 * (i % 30));
		send_number(p.b->last, i, 300);
		simnet_run(p.net, MSEC);
	}
	simnet_run(p.net, SEC);
	gsize before = footprint(p.b->ep, p.b->last) + footprint(p.a->ep, c);
	SimHost *mallory = simnet_host(p.net, "10.6.6.6", NULL);
	p.b->on_message = p.a->on_message = NULL;
	guint a_got = p.a->messages, b_got = p.b->messages;
	for (guint i = 0; i < many; i++) {
		guint8 d[65536];
		gboolean to_a = simnet_random(p.net, 2);
		GPtrArray *from = to_a ? rb.taken : ra.taken;
		gsize n;
		const guint8 *orig = g_bytes_get_data(from->pdata[simnet_random(p.net, from->len)], &n);
		memcpy(d, orig, n);
		n = mangle(p.net, d, n);
		g_autofree guint8 *exact = g_memdup2(d, n);
		const MagmaAddr *claims = simnet_random(p.net, 2) ? &mallory->addr : to_a ? &p.b->addr : &p.a->addr;
		simnet_inject(p.net, claims, to_a ? p.a : p.b, exact ? exact : d, n);
		if (i % 500 == 0)
			simnet_run(p.net, MSEC);
	}
	g_assert_cmpuint(p.a->closed + p.b->closed, ==, 0);
	g_assert_cmpuint(p.a->messages, ==, a_got);
	g_assert_cmpuint(p.b->messages, ==, b_got);
	simnet_run(p.net, 15 * SEC);
	g_assert_cmpuint(footprint(p.b->ep, p.b->last) + footprint(p.a->ep, c), ==, before);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	send_number(c, 1, 20000);
	send_number(p.b->last, 1, 20000);
	simnet_run(p.net, SEC);
	g_assert_cmpuint(p.a->messages, ==, a_got + 1);
	g_assert_cmpuint(p.b->messages, ==, b_got + 1);
	const MagmaXportStats *s = magma_endpoint_stats(p.b->ep);
	g_test_message("bad_tag %" G_GUINT64_FORMAT " bad_form %" G_GUINT64_FORMAT " replayed %" G_GUINT64_FORMAT " unknown %" G_GUINT64_FORMAT, s->bad_tag,
		       s->bad_form, s->replayed, s->unknown_session);
	g_assert_cmpuint(s->bad_tag, >, 0);
	g_assert_cmpuint(s->replayed, >, 0);
	g_ptr_array_unref(ra.taken);
	g_ptr_array_unref(rb.taken);
	simnet_free(p.net);
}

/* ---- peers that hold the key and break the rules ---- */

static void say(Pair *p, MagmaConn *c, const guint8 *frames, gsize n)
{
	guint8 d[2000];
	d[0] = (guint8)(DGRAM_DATA | (c->tx.phase & 1));
	put_be(d + 1, c->peer_cid, 8);
	put_be(d + DGRAM_PREFIX, c->loss.next, 4);
	sealer_begin(&c->tx, c->loss.next, d, DATA_HEADER);
	sealer_piece(&c->tx, d + DATA_HEADER, frames, n);
	sealer_end(&c->tx, d + DATA_HEADER + n);
	loss_sent(&c->loss, simnet_now(p->net), (guint)n, FALSE);
	simnet_inject(p->net, &p->a->addr, p->b, d, DATA_HEADER + n + SEAL_TAG);
}

typedef struct {
	guint8 bytes[64];
	gsize n;
} Frames;

static Frames msg_frame(guint64 id, guint64 total, guint64 off, guint64 len, gsize present)
{
	Frames f = { 0 };
	guint8 *p = f.bytes;
	*p++ = FRAME_MSG;
	p = varint_put(p, id);
	p = varint_put(p, total);
	p = varint_put(p, off);
	p = varint_put(p, len);
	f.n = (gsize)(p - f.bytes) + present;
	return f;
}

static Frames ack_frame(guint64 top, guint64 n, guint64 first, guint64 gap, guint64 len)
{
	Frames f = { 0 };
	guint8 *p = f.bytes;
	*p++ = FRAME_ACK;
	p = varint_put(p, top);
	p = varint_put(p, 0);
	p = varint_put(p, n);
	p = varint_put(p, first);
	p = varint_put(p, gap);
	p = varint_put(p, len);
	f.n = (gsize)(p - f.bytes);
	return f;
}

static void peer_that_breaks_the_protocol_is_cut_off(void)
{
	const guint64 big = (G_GUINT64_CONSTANT(1) << 62) - 1;
	const Frames bad[] = {
		{ { 0x77 }, 1 },
		{ { FRAME_MSG }, 1 },
		{ { FRAME_ACK }, 1 },
		msg_frame(0, 100, 0, 10, 5),
		msg_frame(0, 100, 91, 10, 10),
		msg_frame(0, 100, big, 10, 10),
		msg_frame(0, big, 0, 10, 10),
		msg_frame(0, MAGMA_MSG_MAX + 1, 0, 10, 10),
		msg_frame(0, 100, 0, big, 10),
		msg_frame(0, 100, 50, 0, 0),
		msg_frame(MSG_ID_WINDOW, 10, 0, 10, 10),
		msg_frame(big, 10, 0, 10, 10),
		ack_frame(1000, 1, 0, 0, 0),
		ack_frame(big, 1, 0, 0, 0),
		ack_frame(0, 1, 1, 0, 0),
		ack_frame(0, 2, 0, 0, 0),
		ack_frame(0, 65, 0, 0, 0),
		ack_frame(0, 0, 0, 0, 0),
		ack_frame(0, 2, 0, big, big),
	};
	for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
		Pair p = pair_new();
		MagmaConn *c = pair_open(&p);
		simnet_run(p.net, SEC);
		say(&p, c, bad[i].bytes, bad[i].n);
		if (p.b->closed != 1)
			g_error("violation %u was accepted", i);
		g_assert_cmpint(p.b->why, ==, MAGMA_CLOSE_PROTOCOL);
		simnet_run(p.net, SEC);
		g_assert_cmpint(p.a->why, ==, MAGMA_CLOSE_PROTOCOL);
		simnet_free(p.net);
	}
}

static void too_many_unfinished_messages_are_cut_off(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	guint i = 0;
	for (; !p.b->closed && i < 20; i++) {
		Frames f = msg_frame(i, MAGMA_MSG_MAX, 0, 10, 10);
		say(&p, c, f.bytes, f.n);
	}
	g_assert_cmpuint(i, ==, RECV_LIMIT / MAGMA_MSG_MAX + 1);
	simnet_free(p.net);
	p = pair_new();
	c = pair_open(&p);
	for (i = 0; !p.b->closed && i < 2 * MSG_STARTED_MAX; i++) {
		Frames f = msg_frame(i, 100, 0, 10, 10);
		say(&p, c, f.bytes, f.n);
	}
	g_assert_cmpuint(i, ==, MSG_STARTED_MAX + 1);
	simnet_free(p.net);
}

static void repeated_bytes_are_acknowledged_at_once(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	simnet_run(p.net, SEC);
	Frames f = msg_frame(0, 10, 0, 10, 10);
	say(&p, c, f.bytes, f.n);
	g_assert_cmpint(p.b->last->ack_at, ==, simnet_now(p.net) + LOSS_MAX_ACK_DELAY);
	say(&p, c, f.bytes, f.n);
	g_assert_cmpint(p.b->last->ack_at, ==, simnet_now(p.net));
	g_assert_cmpuint(p.b->messages, ==, 1);
	simnet_free(p.net);
}

static void changing_the_total_is_cut_off(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	Frames f = msg_frame(0, 100, 0, 10, 10), g = msg_frame(0, 101, 10, 10, 10);
	say(&p, c, f.bytes, f.n);
	g_assert_cmpuint(p.b->closed, ==, 0);
	say(&p, c, g.bytes, g.n);
	g_assert_cmpuint(p.b->closed, ==, 1);
	simnet_free(p.net);
}

#define TEST(name) g_test_add_func("/hostile/" #name, name)

/* ---- messages of the network that anybody can make ---- */

static guint8 last_sent[2000];
static gsize last_n;
static guint hellos;

static gboolean note_sent(SimHost *h, const MagmaAddr *to, const guint8 *p, gsize n)
{
	hellos += p[0] == DGRAM_HELLO;
	if (p[0] >= DGRAM_DATA)
		memcpy(last_sent, p, last_n = MIN(n, sizeof last_sent));
	return TRUE;
}

static void refused_counts_only_when_it_quotes_what_was_sent(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	MagmaEndpoint *ep = p.a->ep;
	MagmaAddr elsewhere = p.b->addr;
	simnet_run(p.net, SEC);
	p.a->tap = note_sent;
	p.b->out.cut = TRUE;
	send_number(c, 1, 100);
	simnet_run(p.net, MSEC);
	g_assert_true(c->waiting_since > 0);
	guint8 wrong[DATA_HEADER];
	memcpy(wrong, last_sent, sizeof wrong);
	elsewhere.port++;
	for (guint n = 0; n < DATA_HEADER; n++)
		magma_endpoint_refused(ep, &p.b->addr, last_sent, n);    /* too little of it */
	magma_endpoint_refused(ep, &elsewhere, last_sent, last_n);
	for (guint bit = 0; bit < 8 * (DGRAM_PREFIX + 4); bit++) {
		if (bit == 0)
			continue;        /* the phase */
		wrong[bit / 8] ^= 1u << bit % 8;
		if (bit / 8 < DGRAM_PREFIX || get_be(wrong + DGRAM_PREFIX, 4) >= c->loss.next)
			magma_endpoint_refused(ep, &p.b->addr, wrong, sizeof wrong);
		wrong[bit / 8] ^= 1u << bit % 8;
	}
	put_be(wrong + DGRAM_PREFIX, c->loss.base - 1, 4);               /* an acknowledged one */
	magma_endpoint_refused(ep, &p.b->addr, wrong, sizeof wrong);
	g_assert_null(c->parallel);
	g_assert_cmpuint(ep->stats.hints_ignored, >, DATA_HEADER + 60);
	magma_endpoint_quoted_too_big(ep, &p.b->addr, wrong, sizeof wrong, 1300);
	g_assert_cmpuint(c->pmtu.ceiling, ==, 0);
	magma_endpoint_quoted_too_big(ep, &p.b->addr, last_sent, last_n, 1300);
	g_assert_cmpuint(c->pmtu.ceiling, ==, 1299);
	magma_endpoint_refused(ep, &p.b->addr, last_sent, last_n);
	g_assert_nonnull(c->parallel);
	simnet_free(p.net);
}

/* Somebody on the path sees what is sent and says each time that nobody listens there. */
static void refusals_on_end_begin_few_handshakes(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	hellos = 0;
	p.a->tap = note_sent;
	for (guint i = 0; i < 2000; i++) {
		send_number(c, i, 100);
		simnet_run(p.net, 0);
		magma_endpoint_refused(p.a->ep, &p.b->addr, last_sent, last_n);
		simnet_run(p.net, 5 * MSEC);
	}
	g_assert_cmpuint(hellos, >, 0);
	g_assert_cmpuint(hellos, <=, 11);        /* 10 s, one a second */
	g_assert_cmpuint(p.a->opened, ==, 1);
	g_assert_cmpuint(p.b->messages, ==, 2000);
	simnet_free(p.net);
}

#define MANY_SESSIONS 60

static void refusals_of_many_sessions_share_a_limit(void)
{
	Pair p = pair_new();
	MagmaConn *c[MANY_SESSIONS];
	guint begun = 0;
	for (guint i = 0; i < MANY_SESSIONS; i++) {
		c[i] = simnet_connect(p.a, p.b);
		simnet_run(p.net, 10 * MSEC);
		g_assert_true(magma_conn_is_open(c[i]));
	}
	simnet_run(p.net, SEC);
	p.a->tap = note_sent;
	p.b->out.cut = TRUE;
	for (guint i = 0; i < MANY_SESSIONS; i++) {
		send_number(c[i], 1, 100);
		simnet_run(p.net, 0);
		magma_endpoint_refused(p.a->ep, &p.b->addr, last_sent, last_n);
		begun += c[i]->parallel != NULL;
	}
	g_assert_cmpuint(begun, ==, 16);
	simnet_free(p.net);
}

int main(int argc, char **argv)
{
	pair_test_init(&argc, &argv);
	TEST(wrong_key_is_told_from_nobody_there);
	TEST(other_prologue_is_another_key);
	TEST(nobody_answers);
	TEST(refused_port_is_said_so);
	TEST(refused_counts_only_when_it_quotes_what_was_sent);
	TEST(refusals_on_end_begin_few_handshakes);
	TEST(refusals_of_many_sessions_share_a_limit);
	TEST(initiator_only_endpoint_answers_nothing);
	TEST(handshake_survives_loss_and_sends_what_waited);
	TEST(both_may_start_at_once);
	TEST(replayed_hello_leaves_nothing_behind);
	TEST(flood_of_handshakes_asks_for_cookies_and_lets_others_in);
	TEST(hello_speaks_for_its_own_connection_id_only);
	TEST(nothing_is_amplified);
	TEST(rejects_are_rate_limited);
	TEST(forged_datagrams_disturb_nothing);
	TEST(peer_that_breaks_the_protocol_is_cut_off);
	TEST(too_many_unfinished_messages_are_cut_off);
	TEST(repeated_bytes_are_acknowledged_at_once);
	TEST(changing_the_total_is_cut_off);
	return g_test_run();
}
