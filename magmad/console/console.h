/* The telnet console of a volcano: TCP, on the flare address and its port + 2. Never blocks the loop. Loop thread only. docs: magmad(8). */
#pragma once
#include <glib.h>
#include "magmad/core/volcano.h"
#include "libmagma/xport/xport.h"

typedef struct Console Console;

typedef struct {
	Volcano *volcano;             /* outlives the console */
	Store *store;                 /* so does the store */
	MagmaTrace *trace;            /* `debug on` and `debug off` change it */
	const char *name;             /* copied */
	MagmaAddr flare;              /* this volcano's flare port; the console's is two further */
	guint8 psk[MAGMA_PSK_LEN];    /* what the secret at login must derive to, and what files are reached with */
	guint64 cache_bytes;          /* the store's limit, where `cache load` ends */
	/* A user who is logged in wants this volcano to stop. who: address and port. */
	void (*stop)(void *user, const char *who);
	void (*stop_here)(void *user, const char *who);      /* while the others go on; NULL: as stop */
	void *user;
} ConsoleConfig;

/* Listens at once. An address that cannot be bound is an error that names it. */
Console *console_new(const ConsoleConfig *cfg, GError **error);
/* Tells the sessions that magmad stops, and closes them. NULL is fine. */
void console_free(Console *c);
guint console_sessions(const Console *c);
