/* The console's way to files: a client inside magmad, connected to the volcano's own flare port on first use and dropped when idle. Loop thread only. */
#pragma once
#include "libmagma/client/client.h"

typedef struct Files Files;

Files *files_new(const MagmaAddr *flare, const guint8 psk[MAGMA_PSK_LEN], const MagmaTrace *trace);
void files_free(Files *f);
/* done is called once, maybe at once: with the client, or with the reason why there is none. A client given stays until files_leave(), one for each. */
void files_enter(Files *f, void (*done)(void *user, MagmaClient *client, const char *refusal), void *user);
void files_leave(Files *f);
/* NULL when there is none (any more). */
MagmaClient *files_client(Files *f);
