/* The telnet side of a console session (RFC 854, 855, 857): bytes in, lines and signals out. Any bytes are fine. No socket; loop thread only. */
#pragma once
#include <glib.h>

#define TELNET_LINE_MAX 4096          /* a command and a path of 4 KiB do not both fit; paths that long are not typed */

typedef struct {
	/* A whole line, NUL behind it, without its end; no NUL inside. */
	void (*line)(void *user, const char *line, gsize len);
	void (*too_long)(void *user); /* a line over TELNET_LINE_MAX ended, it was dropped */
	void (*interrupt)(void *user);/* ^C, IP, BRK, ABORT: the line so far is dropped */
	void (*eof)(void *user);      /* ^D at the start of a line, EOF */
	void (*reply)(void *user, const void *p, gsize n);
} TelnetOps;

typedef struct {
	const TelnetOps *ops;
	void *user;
	GString *text;
	guint8 state, verb;
	gboolean overflow;
	gboolean hiding;              /* we offered ECHO and echo nothing */
} Telnet;

void telnet_init(Telnet *t, const TelnetOps *ops, void *user);
void telnet_clear(Telnet *t);
/* ops may be called, and may end the session: a call back that clears t must make *stop TRUE before it returns. */
void telnet_input(Telnet *t, const guint8 *p, gsize n, const gboolean *stop);
/* TRUE: what is typed is no longer shown. */
void telnet_hide(Telnet *t, gboolean hide);
/* Text for a terminal: LF becomes CR LF, 255 is doubled. */
void telnet_append(GString *out, const char *p, gsize n);
