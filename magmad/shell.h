/* The thin shell around the core (VolcanoIo): UDP sockets of the two ports, timers, clocks, randomness, the log. Loop thread only.
 *
 * Order within a turn of the loop, which keeps an operation to one turn: sockets are dispatched (messages evaluated, transactions committed); then, before
 * the loop sleeps, the store's source, of a higher priority than all others, writes the journal in its prepare and calls on_acked, so that replies are
 * queued; then the sockets' sources send them in theirs. */
#pragma once
#include <glib.h>
#include "magmad/conflicts.h"
#include "magmad/core/volcano.h"
#include "magmad/identity.h"
#include "magmad/keep.h"
#include "magmad/slices.h"

typedef struct Shell Shell;

typedef struct {
	/* The volcano serves (refusal NULL), or never will. Once. */
	void (*ready)(void *user, const char *refusal);
	/* It can go on no more (text), or was told to halt (NULL): end the loop. */
	void (*stop)(void *user, const char *text);
	void *user;
	/* VolcanoIo.set_aside */
	void (*aside)(void *user);
} ShellOps;

/* Binds both ports and makes the volcano. id is only read during the call. The store stays the caller's and outlives the shell. */
/* kept: what keep_open() found, NULL for nothing; keep and slices stay the caller's and outlive the shell. */
Shell *shell_new(GMainContext *ctx, const Identity *id, Store *store, Slices *slices, Conflicts *conflicts, Keep *keep, GBytes *kept, gboolean no_takeover, const MagmaTrace *trace, const ShellOps *ops, GError **error);
void shell_start(Shell *s);
/* What is acknowledged is answered, then goodbye to all peers. */
void shell_goodbye(Shell *s);
void shell_free(Shell *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Shell, shell_free)
Volcano *shell_volcano(Shell *s);
/* For people: why a session ended. The core puts " at HOST:PORT" behind it where a join fails. */
const char *shell_close_text(MagmaCloseReason why);
