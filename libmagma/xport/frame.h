/* The wire of sessions: datagram types, frame types and their sizes. docs/protocol-sessions.md, D1-D4 and F1-F5. */
#pragma once
#include <glib.h>
#include <string.h>

enum {
	DGRAM_HELLO = 0x01,       /* first handshake message */
	DGRAM_WELCOME = 0x02,     /* second handshake message */
	DGRAM_COOKIE = 0x03,      /* say hello again, with this */
	DGRAM_REJECT = 0x04,      /* the tag of your hello is wrong: not our key */
	DGRAM_DATA = 0x40,        /* the lowest bit is the key phase */
};

enum {
	FRAME_PAD = 0x00,         /* this byte and all behind it mean nothing */
	FRAME_PING = 0x01,
	FRAME_ACK = 0x02,
	FRAME_MSG = 0x03,
	FRAME_CLOSE = 0x04,
	FRAME_CHALLENGE = 0x05,   /* are you there? say these bytes */
	FRAME_RESPONSE = 0x06,
};

#define FRAME_CLOSE_GOODBYE 0
#define FRAME_CLOSE_PROTOCOL 1

#define PROTOCOL_VERSION 1
#define DGRAM_PREFIX 9            /* type, connection id of the receiver (in a HELLO: of the sender) */
#define DATA_HEADER 13            /* prefix, low 32 bits of the packet number */
#define DATA_OVERHEAD (DATA_HEADER + 16)
#define HELLO_LEN 192             /* padded: no answer is longer, so nobody is made an amplifier */
#define HELLO_PAYLOAD (HELLO_LEN - DGRAM_PREFIX - 1 - 48)
#define WELCOME_PAYLOAD 32
#define WELCOME_LEN (DGRAM_PREFIX + 48 + WELCOME_PAYLOAD)
#define ECHO_LEN 16               /* of SHA-256 of the hello: only who saw it can answer it */
#define COOKIE_LEN 16
#define COOKIE_DGRAM_LEN (DGRAM_PREFIX + ECHO_LEN + COOKIE_LEN)
#define REJECT_LEN (DGRAM_PREFIX + ECHO_LEN)

#define PATH_DATA 8               /* of a CHALLENGE, and of its RESPONSE */
#define PATH_DGRAM (DATA_OVERHEAD + 1 + PATH_DATA)

#define ACK_RANGES_MAX 64u
#define ACK_FRAME_MAX (1 + 8 + 8 + 2 + 8 + (ACK_RANGES_MAX - 1) * 16)
#define MSG_HEADER_MAX (1 + 8 + 4 + 4 + 4)

static inline gsize varint_size(guint64 v)
{
	return v < 0x40 ? 1 : v < 0x4000 ? 2 : v < 0x40000000 ? 4 : 8;
}

static inline guint8 *varint_put(guint8 *p, guint64 v)
{
	gsize n = varint_size(v);
	guint8 mark = n == 1 ? 0 : n == 2 ? 0x40 : n == 4 ? 0x80 : 0xc0;
	for (gsize i = n; i-- > 0; v >>= 8)
		p[i] = (guint8)v;
	p[0] |= mark;
	return p + n;
}

static inline guint8 *put_be(guint8 *p, guint64 v, gsize n)
{
	for (gsize i = n; i-- > 0; v >>= 8)
		p[i] = (guint8)v;
	return p + n;
}

static inline guint64 get_be(const guint8 *p, gsize n)
{
	guint64 v = 0;
	for (gsize i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}
