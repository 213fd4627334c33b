#include "tests/sim/simnet.h"
#include <string.h>

typedef struct {
	MagmaTime at;
	guint64 serial;
	MagmaAddr from, to;
	gsize n;
	guint8 *p;
} Datagram;

struct SimNet {
	MagmaTime now;
	guint64 random_state, serial;
	GPtrArray *hosts;
	GArray *flying;               /* of Datagram, a heap by time and serial */
	guint8 *buf;
};

/* splitmix64 */
static guint64 next_random(SimNet *net)
{
	guint64 z = net->random_state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

guint32 simnet_random(SimNet *net, guint32 below)
{
	return (guint32)(next_random(net) % below);
}

static double chance(SimNet *net)
{
	return (double)(next_random(net) >> 11) / (double)(G_GUINT64_CONSTANT(1) << 53);
}

static Datagram *nth(SimNet *net, guint i)
{
	return &g_array_index(net->flying, Datagram, i);
}

static gboolean before(const Datagram *a, const Datagram *b)
{
	return a->at != b->at ? a->at < b->at : a->serial < b->serial;
}

static void swap(SimNet *net, guint i, guint j)
{
	Datagram t = *nth(net, i);
	*nth(net, i) = *nth(net, j);
	*nth(net, j) = t;
}

static void push(SimNet *net, Datagram d)
{
	d.serial = net->serial++;
	g_array_append_val(net->flying, d);
	for (guint i = net->flying->len - 1; i > 0 && before(nth(net, i), nth(net, (i - 1) / 2)); i = (i - 1) / 2)
		swap(net, i, (i - 1) / 2);
}

static Datagram pop(SimNet *net)
{
	Datagram top = *nth(net, 0);
	guint last = net->flying->len - 1;
	swap(net, 0, last);
	g_array_set_size(net->flying, last);
	for (guint i = 0;;) {
		guint child = 2 * i + 1;
		if (child >= last)
			break;
		if (child + 1 < last && before(nth(net, child + 1), nth(net, child)))
			child++;
		if (!before(nth(net, child), nth(net, i)))
			break;
		swap(net, i, child);
		i = child;
	}
	return top;
}

static void backlog_clear(SimHost *h);

static void op_random(void *user, void *buf, gsize n)
{
	SimHost *h = user;
	guint8 *p = buf;
	while (n--)
		*p++ = (guint8)next_random(h->net);
}

static void op_open(void *user, MagmaConn *c)
{
	SimHost *h = user;
	h->opened++;
	h->last = c;
	if (h->on_open)
		h->on_open(h, c);
}

static void op_message(void *user, MagmaConn *c, GBytes *msg)
{
	SimHost *h = user;
	h->messages++;
	if (h->on_message)
		h->on_message(h, c, msg);
}

static void op_close(void *user, MagmaConn *c, MagmaCloseReason why)
{
	SimHost *h = user;
	h->closed++;
	h->why = why;
	if (h->last == c)
		h->last = NULL;
	if (h->on_close)
		h->on_close(h, c, why);
}

static void op_keylog(void *user, const char *line)
{
	SimHost *h = user;
	g_string_append_printf(h->keylog, "%s\n", line);
}

SimNet *simnet_new(guint64 seed)
{
	SimNet *net = g_new0(SimNet, 1);
	net->now = 1000000;
	net->random_state = seed;
	net->hosts = g_ptr_array_new();
	net->flying = g_array_new(FALSE, FALSE, sizeof(Datagram));
	net->buf = g_malloc(1 << 17);
	return net;
}

void simnet_free(SimNet *net)
{
	for (guint i = 0; i < net->hosts->len; i++) {
		SimHost *h = g_ptr_array_index(net->hosts, i);
		magma_endpoint_free(h->ep);
		g_string_free(h->keylog, TRUE);
		backlog_clear(h);
		g_array_unref(h->backlog);
		g_free(h);
	}
	while (net->flying->len)
		g_free(pop(net).p);
	g_ptr_array_unref(net->hosts);
	g_array_unref(net->flying);
	g_free(net->buf);
	g_free(net);
}

MagmaTime simnet_now(const SimNet *net)
{
	return net->now;
}

MagmaXportConfig simnet_config(void)
{
	return (MagmaXportConfig){ .prologue = "test", .accept = TRUE };
}

void simnet_start(SimHost *h, const MagmaXportConfig *cfg)
{
	const MagmaXportOps ops = { op_random, op_open, op_message, op_close, op_keylog };
	MagmaXportConfig standard = simnet_config();
	g_assert_null(h->ep);
	h->refuses = FALSE;
	h->ep = magma_endpoint_new(cfg ? cfg : &standard, &ops, h);
}

SimHost *simnet_host(SimNet *net, const char *addr, const MagmaXportConfig *cfg)
{
	SimHost *h = g_new0(SimHost, 1);
	h->net = net;
	h->keylog = g_string_new(NULL);
	h->backlog = g_array_new(FALSE, FALSE, sizeof(Datagram));
	h->out = (SimPath){ .delay = 100, .mtu = 65507 };
	g_assert_true(magma_addr_parse(addr, 12000, &h->addr));
	g_ptr_array_add(net->hosts, h);
	simnet_start(h, cfg);
	return h;
}

void simnet_kill(SimHost *h)
{
	g_clear_pointer(&h->ep, magma_endpoint_free);
	h->last = NULL;
}

static void backlog_clear(SimHost *h)
{
	for (guint i = 0; i < h->backlog->len; i++)
		g_free(g_array_index(h->backlog, Datagram, i).p);
	g_array_set_size(h->backlog, 0);
}

/* A process that goes on finds its timers due and its socket full; it reads first. */
void simnet_pause(SimHost *h, gboolean paused)
{
	h->paused = paused;
	if (paused)
		return;
	for (guint i = 0; i < h->backlog->len; i++) {
		Datagram *d = &g_array_index(h->backlog, Datagram, i);
		magma_endpoint_input(h->ep, h->net->now, &d->from, d->p, d->n);
	}
	magma_endpoint_input_done(h->ep, h->net->now);
	backlog_clear(h);
}

MagmaConn *simnet_connect(SimHost *from, SimHost *to)
{
	return magma_conn_connect(from->ep, from->net->now, &to->addr);
}

void simnet_inject(SimNet *net, const MagmaAddr *from, SimHost *to, const guint8 *p, gsize n)
{
	magma_endpoint_input(to->ep, net->now, from, p, n);
	magma_endpoint_input_done(to->ep, net->now);
}

static MagmaTime departure(SimHost *h, gsize n)
{
	MagmaTime now = h->net->now;
	if (!h->out.rate)
		return now;
	h->busy_until = MAX(h->busy_until, now) + (MagmaTime)(n * G_USEC_PER_SEC / h->out.rate);
	return h->busy_until;
}

static void transmit(SimHost *h, const MagmaAddr *to, const guint8 *p, gsize n)
{
	SimNet *net = h->net;
	const SimPath *path = &h->out;
	h->sent++;
	h->sent_bytes += n;
	if (h->tap && !h->tap(h, to, p, n))
		return;
	if (path->cut || n > path->mtu || chance(net) < path->loss)
		return;
	if (path->queue && h->busy_until - net->now > path->queue)
		return;
	MagmaTime leaves = departure(h, n);
	for (guint copies = chance(net) < path->dup ? 2 : 1; copies; copies--) {
		Datagram d = { .from = h->addr, .to = *to, .n = n, .p = g_memdup2(p, n) };
		d.at = leaves + path->delay + (path->jitter ? simnet_random(net, (guint32)path->jitter) : 0);
		push(net, d);
	}
}

static void flush(SimHost *h)
{
	MagmaBurst b = { .buf = h->net->buf, .max = 1 << 17 };
	while (h->ep && !h->paused && magma_endpoint_poll(h->ep, h->net->now, &b)) {
		g_assert_cmpuint(b.len, >, 0);
		g_assert_cmpuint(b.len, <=, 65507);
		g_assert_cmpuint((b.len + b.segment - 1) / b.segment, <=, 64);
		for (gsize at = 0; at < b.len; at += b.segment) {
			gsize n = MIN(b.segment, b.len - at);
			if (h->out.local_mtu && n > h->out.local_mtu) {
				magma_endpoint_too_big(h->ep, &b.to, n);
				break;
			}
			transmit(h, &b.to, b.buf + at, n);
		}
	}
}

static SimHost *host_at(SimNet *net, const MagmaAddr *a)
{
	for (guint i = 0; i < net->hosts->len; i++) {
		SimHost *h = g_ptr_array_index(net->hosts, i);
		if (magma_addr_equal(&h->addr, a))
			return h;
	}
	return NULL;
}

static void refuse(SimNet *net, const Datagram *d)
{
	SimHost *sender = host_at(net, &d->from);
	if (sender && sender->ep)
		magma_endpoint_refused(sender->ep, &d->to, d->p, MIN(d->n, 548));       /* what an ICMP message of 576 bytes has room for */
}

static void arrive(SimNet *net)
{
	Datagram d = pop(net);
	SimHost *h = host_at(net, &d.to);
	if (h && h->ep && h->paused) {
		g_array_append_val(h->backlog, d);
		return;
	}
	if (h && h->ep) {
		/* A copy of its own length, so that a read beyond it is seen. */
		magma_endpoint_input(h->ep, net->now, &d.from, d.p, d.n);
		if (h->ep)
			magma_endpoint_input_done(h->ep, net->now);
	} else if (h && h->refuses) {
		refuse(net, &d);
	}
	g_free(d.p);
}

static MagmaTime next_event(SimNet *net)
{
	MagmaTime t = net->flying->len ? nth(net, 0)->at : G_MAXINT64;
	for (guint i = 0; i < net->hosts->len; i++) {
		SimHost *h = g_ptr_array_index(net->hosts, i);
		if (h->ep && !h->paused)
			t = MIN(t, magma_endpoint_deadline(h->ep));
	}
	return t;
}

static void step(SimNet *net, MagmaTime t)
{
	net->now = MAX(t, net->now);
	while (net->flying->len && nth(net, 0)->at <= net->now)
		arrive(net);
	for (guint i = 0; i < net->hosts->len; i++) {
		SimHost *h = g_ptr_array_index(net->hosts, i);
		if (h->ep && !h->paused && magma_endpoint_deadline(h->ep) <= net->now)
			magma_endpoint_tick(h->ep, net->now);
		flush(h);
	}
}

gboolean simnet_run_until(SimNet *net, MagmaTime duration, gboolean (*done)(void *user), void *user)
{
	MagmaTime end = net->now + duration;
	guint idle = 0;
	for (guint i = 0; i < net->hosts->len; i++)
		flush(g_ptr_array_index(net->hosts, i));
	for (MagmaTime t; !(done && done(user)) && (t = next_event(net)) <= end;) {
		/* A deadline that a tick does not move would keep a process spinning. */
		idle = t <= net->now ? idle + 1 : 0;
		g_assert_cmpuint(idle, <, 10000);
		step(net, t);
	}
	if (done && done(user))
		return TRUE;
	net->now = end;
	return FALSE;
}

void simnet_run(SimNet *net, MagmaTime duration)
{
	simnet_run_until(net, duration, NULL, NULL);
}
