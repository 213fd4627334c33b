/* The handshake on both sides: hello, welcome, cookie, reject. Rules H1-H7 of docs/protocol-sessions.md. */
#include "libmagma/xport/internal.h"
#include <openssl/crypto.h>
#include <openssl/sha.h>

#define DEFAULT_TIMEOUT_MS 4000
#define RETRY_FIRST (100 * MSEC)
#define RETRY_MAX SEC
#define HALF_OPEN_LIFE (10 * SEC)
#define COOKIES_MAX 3                 /* followed per handshake: who forges more than that changes nothing */
#define SECRET_LIFE (60 * SEC)        /* a cookie is good for one to two of these */
#define REJECT_COST (SEC / 16)        /* 16 rejects a second ... */
#define REJECT_BURST (2 * SEC)        /* ... after a burst of 32 */
#define GIVE_UP_AFTER (1500 * MSEC)   /* rejected again and again for that long: it is the key */
#define GIVE_UP_REJECTS 3

#define REPLACE_GRACE (10 * MSEC)     /* a peer that only hung acknowledges within that, after LOSS_MAX_ACK_DELAY */

#define SUITE_AES_FAST 1              /* in the hello: AES-GCM is the faster one here */

#define NOISE_AT (DGRAM_PREFIX + 1)   /* in the hello, behind the version */

static gboolean aes_is_fast(const MagmaEndpoint *ep)
{
	return !ep->cfg.slow_aes && seal_prefers_aes();
}

static void make_hello(MagmaConn *c)
{
	MagmaEndpoint *ep = c->ep;
	Handshake *hs = c->hs;
	guint8 payload[HELLO_PAYLOAD] = { 0 }, e[32], *p = payload;
	p = put_be(p, c->cid, 8);
	*p++ = aes_is_fast(ep) ? SUITE_AES_FAST : 0;
	p = put_be(p, ep->cfg.recv_window, 8);
	*p++ = hs->have_cookie;
	memcpy(p, hs->cookie, COOKIE_LEN);
	ep->ops.random(ep->user, e, sizeof e);
	noise_init(&hs->noise, ep->prologue, strlen(ep->prologue));
	hs->hello[0] = DGRAM_HELLO;
	put_be(hs->hello + 1, c->cid, 8);
	hs->hello[DGRAM_PREFIX] = PROTOCOL_VERSION;
	if (!noise_write1(&hs->noise, ep->cfg.psk, e, payload, sizeof payload, hs->hello + NOISE_AT))
		g_error("X25519 is not available in this OpenSSL");
	SHA256(hs->hello, HELLO_LEN, hs->hello_hash);
	OPENSSL_cleanse(e, sizeof e);
}

static void hello_due(MagmaConn *c)
{
	c->hs->due = TRUE;
	c->hs->next = NEVER;
	xconn_ready(c);
}

void handshake_start(MagmaConn *c, MagmaTime now)
{
	c->hs->started = now;
	c->hs->interval = RETRY_FIRST;
	make_hello(c);
	hello_due(c);
	xconn_rearm(c);
}

static MagmaTime timeout(const MagmaConn *c)
{
	guint ms = c->ep->cfg.handshake_timeout_ms;
	return (MagmaTime)(ms ? ms : DEFAULT_TIMEOUT_MS) * MSEC;
}

MagmaTime handshake_deadline(const MagmaConn *c)
{
	if (c->state == XC_HALF)
		return c->hs->started + HALF_OPEN_LIFE;
	if (c->hs->open_at)
		return c->hs->open_at;
	/* A parallel handshake goes on until the session it would replace ends. */
	return c->replaces ? c->hs->next : MIN(c->hs->next, c->hs->started + timeout(c));
}

void handshake_tick(MagmaConn *c, MagmaTime now)
{
	Handshake *hs = c->hs;
	if (c->state == XC_HALF) {
		if (now >= hs->started + HALF_OPEN_LIFE)
			xconn_die(c, MAGMA_CLOSE_SILENT);
	} else if (!c->replaces && now >= hs->started + timeout(c)) {
		xconn_die(c, hs->rejects ? MAGMA_CLOSE_AUTH : hs->refused ? MAGMA_CLOSE_REFUSED : MAGMA_CLOSE_NOBODY);
	} else if (hs->open_at) {
		if (now >= hs->open_at)
			xconn_opened(c);
	} else if (now >= hs->next) {
		hello_due(c);
	}
}

gsize handshake_poll(MagmaConn *c, MagmaTime now, guint8 *out)
{
	Handshake *hs = c->hs;
	if (!hs->due || hs->open_at)
		return 0;
	hs->due = FALSE;
	if (c->state == XC_HALF) {
		memcpy(out, hs->welcome, WELCOME_LEN);
		return WELCOME_LEN;
	}
	memcpy(out, hs->hello, HELLO_LEN);
	hs->next = now + hs->interval;
	hs->interval = MIN(2 * hs->interval, RETRY_MAX);
	xconn_rearm(c);
	return HELLO_LEN;
}

void handshake_on_welcome(MagmaConn *c, MagmaTime now, const guint8 *p, gsize n)
{
	guint8 payload[WELCOME_PAYLOAD], i2r[32], r2i[32];
	if (c->state != XC_HELLO || c->hs->open_at || n != WELCOME_LEN) {
		c->ep->stats.bad_form++;
		return;
	}
	if (!noise_read2(&c->hs->noise, p + DGRAM_PREFIX, n - DGRAM_PREFIX, payload)) {
		c->ep->stats.bad_tag++;
		return;
	}
	guint suite = payload[8];
	guint64 window = get_be(payload + 9, 8);
	c->peer_cid = get_be(payload, 8);
	if (suite != SEAL_AES256GCM && suite != SEAL_CHACHA20POLY1305) {
		xconn_die(c, MAGMA_CLOSE_PROTOCOL);
		return;
	}
	noise_split(&c->hs->noise, i2r, r2i);
	xconn_set_keys(c, i2r, r2i, suite, (gsize)MIN(window, G_MAXSIZE / 4));
	OPENSSL_cleanse(i2r, 32);
	OPENSSL_cleanse(r2i, 32);
	c->ping_due = TRUE;      /* the responder opens at our first datagram, whatever is in it */
	if (c->replaces)
		c->hs->open_at = now + REPLACE_GRACE;
	else
		xconn_opened(c);
	xconn_rearm(c);
}

static gboolean echo_is_right(const MagmaConn *c, const guint8 *p)
{
	return c->state == XC_HELLO && !c->hs->open_at && CRYPTO_memcmp(p + DGRAM_PREFIX, c->hs->hello_hash, ECHO_LEN) == 0;
}

void handshake_on_cookie(MagmaConn *c, MagmaTime now, const guint8 *p, gsize n)
{
	if (n != COOKIE_DGRAM_LEN || !echo_is_right(c, p)) {
		c->ep->stats.bad_form++;
		return;
	}
	if (c->hs->cookies++ >= COOKIES_MAX)
		return;
	memcpy(c->hs->cookie, p + DGRAM_PREFIX + ECHO_LEN, COOKIE_LEN);
	c->hs->have_cookie = TRUE;
	make_hello(c);           /* with a new ephemeral key: the old one must not seal two payloads */
	hello_due(c);
	xconn_rearm(c);
}

/* Rule H6: only a hint. An early end needs rejects again and again, and no welcome all that time. */
void handshake_on_reject(MagmaConn *c, MagmaTime now, const guint8 *p, gsize n)
{
	if (n != REJECT_LEN || !echo_is_right(c, p)) {
		c->ep->stats.bad_form++;
		return;
	}
	c->hs->rejects++;
	if (!c->replaces && c->hs->rejects >= GIVE_UP_REJECTS && now - c->hs->started >= GIVE_UP_AFTER)
		xconn_die(c, MAGMA_CLOSE_AUTH);
}

static void answer(MagmaEndpoint *ep, const MagmaAddr *to, guint8 type, const guint8 *hello, const guint8 hash[32], const guint8 *cookie)
{
	guint8 out[CONTROL_LEN], *p = out;
	*p++ = type;
	memcpy(p, hello + 1, 8);
	memcpy(p + 8, hash, ECHO_LEN);
	p += 8 + ECHO_LEN;
	if (cookie) {
		memcpy(p, cookie, COOKIE_LEN);
		p += COOKIE_LEN;
	}
	xep_control(ep, to, out, (gsize)(p - out));
}

static void reject(MagmaEndpoint *ep, MagmaTime now, const MagmaAddr *to, const guint8 *hello, const guint8 hash[32])
{
	ep->reject_tokens = MIN(ep->reject_tokens + (guint64)MAX(now - ep->reject_time, 0), (guint64)REJECT_BURST);
	ep->reject_time = now;
	if (ep->reject_tokens < REJECT_COST)
		return;
	char text[MAGMA_ADDR_TEXT];
	MAGMA_TRACE(ep->cfg.trace, 'n', "hello from %s is of another key", magma_addr_format(to, text));
	ep->reject_tokens -= REJECT_COST;
	ep->stats.handshake_rejects_sent++;
	answer(ep, to, DGRAM_REJECT, hello, hash, NULL);
}

static void rotate_secret(MagmaEndpoint *ep, MagmaTime now)
{
	if (ep->cookie_rotated && now - ep->cookie_rotated < SECRET_LIFE)
		return;
	if (ep->cookie_rotated && now - ep->cookie_rotated < 2 * SECRET_LIFE)
		memcpy(ep->cookie_secret[1], ep->cookie_secret[0], 32);
	else
		ep->ops.random(ep->user, ep->cookie_secret[1], 32);
	ep->ops.random(ep->user, ep->cookie_secret[0], 32);
	ep->cookie_rotated = MAX(now, 1);
}

/* Rule H5: bound to address, port and connection id. */
static void make_cookie(const guint8 secret[32], const MagmaAddr *from, guint64 cid, guint8 out[COOKIE_LEN])
{
	guint8 data[1 + 16 + 2 + 8], mac[32];
	data[0] = from->family;
	memcpy(data + 1, from->ip, 16);
	put_be(data + 17, from->port, 2);
	put_be(data + 19, cid, 8);
	noise_hmac(secret, 32, data, sizeof data, mac);
	memcpy(out, mac, COOKIE_LEN);
}

static gboolean cookie_is_right(MagmaEndpoint *ep, const MagmaAddr *from, guint64 cid, const guint8 *cookie)
{
	guint8 expected[COOKIE_LEN];
	for (guint i = 0; i < 2; i++) {
		make_cookie(ep->cookie_secret[i], from, cid, expected);
		if (CRYPTO_memcmp(expected, cookie, COOKIE_LEN) == 0)
			return TRUE;
	}
	return FALSE;
}

static MagmaConn *find_half(MagmaEndpoint *ep, const guint8 hash[32])
{
	for (guint i = 0; i < ep->n_half; i++)
		if (memcmp(ep->half[i]->hs->hello_hash, hash, 32) == 0)
			return ep->half[i];
	return NULL;
}

static void welcome_due(MagmaConn *c)
{
	c->hs->due = TRUE;
	xconn_ready(c);
}

static void accept(MagmaEndpoint *ep, MagmaTime now, const MagmaAddr *from, NoiseState *noise, const guint8 *hello_payload, const guint8 hash[32])
{
	guint8 payload[WELCOME_PAYLOAD] = { 0 }, e[32], i2r[32], r2i[32];
	if (ep->n_half == HALF_OPEN_MAX)
		xconn_die(ep->half[0], MAGMA_CLOSE_SILENT);
	MagmaConn *c = xconn_new(ep, from, FALSE);
	Handshake *hs = c->hs;
	SealSuite suite = (hello_payload[8] & SUITE_AES_FAST) && aes_is_fast(ep) ? SEAL_AES256GCM : SEAL_CHACHA20POLY1305;
	c->peer_cid = get_be(hello_payload, 8);
	hs->started = now;
	memcpy(hs->hello_hash, hash, 32);
	put_be(payload, c->cid, 8);
	payload[8] = (guint8)suite;
	put_be(payload + 9, ep->cfg.recv_window, 8);
	hs->welcome[0] = DGRAM_WELCOME;
	put_be(hs->welcome + 1, c->peer_cid, 8);
	ep->ops.random(ep->user, e, sizeof e);
	if (!noise_write2(noise, e, payload, sizeof payload, hs->welcome + DGRAM_PREFIX)) {
		ep->stats.bad_form++;    /* an ephemeral key of low order, from someone who knows the secret */
		xconn_die(c, MAGMA_CLOSE_PROTOCOL);
		return;
	}
	noise_split(noise, i2r, r2i);
	xconn_set_keys(c, i2r, r2i, suite, (gsize)MIN(get_be(hello_payload + 9, 8), G_MAXSIZE / 4));
	OPENSSL_cleanse(e, 32);
	OPENSSL_cleanse(i2r, 32);
	OPENSSL_cleanse(r2i, 32);
	welcome_due(c);
	xconn_rearm(c);
}

void handshake_on_hello(MagmaEndpoint *ep, MagmaTime now, const MagmaAddr *from, const guint8 *p, gsize n)
{
	guint8 hash[32], payload[HELLO_PAYLOAD], cookie[COOKIE_LEN];
	if (!ep->cfg.accept) {
		ep->stats.unknown_session++;
		return;
	}
	if (n != HELLO_LEN || p[DGRAM_PREFIX] != PROTOCOL_VERSION) {
		ep->stats.bad_form++;
		return;
	}
	SHA256(p, n, hash);
	MagmaConn *known = find_half(ep, hash);
	if (known) {
		if (magma_addr_equal(&known->peer, from))
			welcome_due(known);
		return;
	}
	NoiseState noise;
	noise_init(&noise, ep->prologue, strlen(ep->prologue));
	if (!noise_read1(&noise, ep->cfg.psk, p + NOISE_AT, n - NOISE_AT, payload)) {
		ep->stats.bad_tag++;
		reject(ep, now, from, p, hash);
		return;
	}
	guint64 cid = get_be(payload, 8);
	if (cid != get_be(p + 1, 8)) {
		ep->stats.bad_form++;
		return;
	}
	rotate_secret(ep, now);
	if (ep->n_half >= COOKIE_FROM && !(payload[17] && cookie_is_right(ep, from, cid, payload + 18))) {
		make_cookie(ep->cookie_secret[0], from, cid, cookie);
		ep->stats.cookies_sent++;
		answer(ep, from, DGRAM_COOKIE, p, hash, cookie);
		return;
	}
	accept(ep, now, from, &noise, payload, hash);
	OPENSSL_cleanse(&noise, sizeof noise);
}
