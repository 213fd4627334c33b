/* A telnet client for tests, in the same loop as the console. */
#pragma once
#include <glib.h>
#include "libmagma/base/addr.h"

typedef struct {
	int fd;
	GString *in;                  /* all that came, negotiation included */
	gsize seen;                   /* of it, before the last kit_ask */
	gboolean closed;
} Peer;

#define KIT_SECRET "m4gm4s3cr3t"

Peer *kit_connect(const MagmaAddr *flare);
void kit_close(Peer *p);
void kit_send(Peer *p, const void *bytes, gsize n);
/* Runs the loop until text came behind what was seen before; fails after 5 s. What came up to the end of text, negotiation and CRs taken out, to free. */
char *kit_wait(Peer *p, const char *text);
/* Until the other side has closed. */
void kit_wait_closed(Peer *p);
/* Sends a line, waits for the next prompt; what came between them. */
char *kit_ask(Peer *p, const char *line);
/* Logs in and waits for the prompt. */
void kit_login(Peer *p);
/* Runs the loop until *flag; fails after 5 s. */
void kit_run_until(const gboolean *flag);
/* An address of the loopback with three ports free now. */
MagmaAddr kit_address(void);
