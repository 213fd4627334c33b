/* Debug channels (-D letters) as a context passed down: no global, no sink inside a core. */
#pragma once
#include <glib.h>

typedef void (*MagmaTraceFn)(void *user, char channel, const char *line);

typedef struct {
	guint64 on;          /* bit per letter: a-z are 0-25, A-Z are 26-51; loop thread only */
	MagmaTraceFn sink;
	void *user;
} MagmaTrace;

static inline guint magma_trace_bit(char c)
{
	return c >= 'a' && c <= 'z' ? (guint)(c - 'a') : c >= 'A' && c <= 'Z' ? (guint)(c - 'A' + 26) : 63;
}
static inline gboolean magma_trace_on(const MagmaTrace *t, char c) { return t && (t->on >> magma_trace_bit(c) & 1); }
void magma_trace_say(const MagmaTrace *t, char channel, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* Arguments are evaluated only when the channel is on. */
#define MAGMA_TRACE(t, channel, ...) \
	do { if (G_UNLIKELY(magma_trace_on((t), (channel)))) magma_trace_say((t), (channel), __VA_ARGS__); } while (0)
