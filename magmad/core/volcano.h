/* One volcano as a state machine over a Store and a VolcanoIo: messages, timers and completions in; messages, commits and content operations out. No socket, clock, thread, SQL or log
 * sink in here: the daemon (magmad/shell.c) and the simulator (tests/sim) bring them. Everything on one thread. */
#pragma once
#include "libmagma/base/trace.h"
#include "libmagma/lava/health.h"
#include "libmagma/lava/map.h"
#include "libmagma/proto/msg.h"
#include "magmad/core/store.h"

#define MAGMA_VERSION_NUMBER 0x010000
typedef gint64 MagmaTime;             /* microseconds */
/* Microseconds: by then the others have missed a volcano that is silent, and its copies own what it had, if they can. One that had to stop must not be back before: its disk may not have kept what it acknowledged. */
#define VOLCANO_MISSED_AFTER ((gint64)3000000)

typedef struct Volcano Volcano;
typedef struct Session Session;       /* the shell's; opaque here but for the user pointer */

typedef struct VolcanoIo {
	MagmaTime (*now)(void *user);                     /* monotonic */
	MagmaTs (*real)(void *user);                      /* CLOCK_REALTIME */
	void (*random)(void *user, void *buf, gsize n);
	/* Sends one message; references are taken. FALSE: the session is gone or going. */
	gboolean (*send)(void *user, Session *s, GBytes *head, GBytes *body);
	/* An answer is late: the session is to find out whether the other end is still there. May be NULL. */
	void (*probe)(void *user, Session *s);
	/* Starts a session to a volcano's node port; volcano_session_opened or _closed follows. */
	Session *(*connect)(void *user, const MagmaAddr *node_addr);
	/* One-shot timers: fn runs once after delay; the returned handle is dead then. */
	guint (*timer)(void *user, MagmaTime delay, void (*fn)(void *arg), void *arg);
	void (*timer_cancel)(void *user, guint handle);
	/* For people, once, at the edge: the log. */
	void (*say)(void *user, const char *line);
	/* The store of a slice other than the one given to volcano_new, opened or made new; blocks while its journal is read. NULL after say(): it cannot be. */
	Store *(*store_open)(void *user, guint16 slice);
	/* Its callbacks run no more; remove: what is on disk goes too. */
	void (*store_close)(void *user, guint16 slice, Store *store, gboolean remove);
	/* Keeps these bytes instead of the ones before, durably (fsync), then done; several are kept in the order of the calls, and done is never called from inside. What was kept last comes back with
	 * the next start, in VolcanoConfig. */
	void (*keep)(void *user, GBytes *bytes, void (*done)(void *done_user, int error), void *done_user);
	/* Both of two volcanos went on alone, and the other's line stands: what is kept says so by now (volcano_kept_aside). End, move all stores aside, and start again with empty ones. */
	void (*set_aside)(void *user);
	/* What was set aside (all of these are there, or none): the times at which it was (guint64), in order; a GArray for the caller. */
	GArray *(*aside_list)(void *user);
	/* Its stores (Store *), each slice's one: opened, which blocks while journals are read. NULL after say(): they cannot be. */
	GPtrArray *(*aside_open)(void *user, guint64 time);
	/* Their callbacks run no more; takes stores. */
	void (*aside_close)(void *user, guint64 time, GPtrArray *stores);
	/* Bytes kept beside them, and those bytes or NULL. */
	void (*aside_note)(void *user, guint64 time, const guint8 *p, gsize n);
	GBytes *(*aside_noted)(void *user, guint64 time);
	/* All of that goes from the disk; not open. done: once it is gone by name, perhaps from inside. */
	void (*aside_remove)(void *user, guint64 time, void (*done)(void *done_user, int error), void *done_user);
	/* The volcano can go on no more, or was told to halt (text NULL): flush and end the process. */
	void (*stop)(void *user, const char *text);
} VolcanoIo;

typedef struct {
	const char *name, *fqdn, *software;               /* software: "1.0.0" */
	MagmaAddr addr;                                   /* flare port */
	guint32 bandwidth;
	guint64 offered;
	guint16 copies_wanted;                            /* with bootstrap */
	gboolean bootstrap;                               /* first volcano of a new network */
	const MagmaAddr *join;                            /* node address of any volcano of the network to join, or NULL */
	gboolean no_takeover;                             /* of two: never goes on by itself when the other one that votes is silent */
	guint64 journal_keep;                             /* bytes of a slice's journal kept for copies that are away; 0: 256 MiB */
	GBytes *kept;                                     /* NULL: nothing yet */
	const MagmaTrace *trace;
} VolcanoConfig;

/* Neither restart (kept), bootstrap nor join: error. ready is called once: with NULL when it serves, or with the reason why it never will (join refused, ...). */
Volcano *volcano_new(const VolcanoConfig *cfg, Store *store, const VolcanoIo *io, void *io_user);
void volcano_start(Volcano *v, void (*ready)(void *user, const char *refusal), void *user);
/* Before a planned end of this volcano alone: hands leadership and slices to others where it can. done once, at once or within 3 s; perhaps from inside. */
void volcano_leave(Volcano *v, void (*done)(void *user), void *user);
/* The operator's word that the other one of two volcanos, named to confirm it, is lost for good: this one goes on without it. NULL, or why not (g_free). */
char *volcano_takeover(Volcano *v, const char *name);
/* Before the stores are opened: what they hold does not stand, and is to be moved aside, never deleted. */
gboolean volcano_kept_aside(GBytes *kept);
/* What to keep once that is done. */
GBytes *volcano_kept_set_aside(GBytes *kept);
/* They are what a volcano keeps, whole. */
gboolean volcano_kept_valid(GBytes *kept);
/* Removes what that volcano has set aside at that time (libmagma/lava/conflict.h), from its disk too. done: 0, ENOENT, EHOSTDOWN, ETIMEDOUT ...; once, perhaps from inside. */
void volcano_conflict_clear(Volcano *v, guint16 id, guint64 time, void (*done)(void *user, int error), void *user);
/* Takes no new requests any more; what runs may end. */
void volcano_stop(Volcano *v);
/* Behind that, once all that was asked of the stores is done and contents that were removed are off the disk: the next start need not look for them. */
void volcano_stopped(Volcano *v);
void volcano_free(Volcano *v);

/* At the end of each turn of the loop, before the stores write their journals: what the turn has committed leaves for the copies, so that both go on at the same time. */
/* For tests and the log: what runs and what it waits for, a line each; the caller frees it. */
char *volcano_running(Volcano *v);
void volcano_flush(Volcano *v);
/* Of all slices that this volcano answers for. */
void volcano_usage(Volcano *v, struct StoreUsage *out);

/* The shell's side of sessions. is_node: on the node port. */
void volcano_session_opened(Volcano *v, Session *s, gboolean is_node);
void volcano_session_closed(Volcano *v, Session *s, const char *why);
/* Its host says that nobody listens there any more: a hint to look at once; it proves nothing. */
void volcano_session_refused(Volcano *v, Session *s);
void volcano_message(Volcano *v, Session *s, gboolean is_node, GBytes *msg);
void session_set_volcano_data(Session *s, void *data);   /* by the shell: one pointer per session for the core */
void *session_volcano_data(Session *s);

/* For the console and the log. */
const MagmaMap *volcano_map(const Volcano *v);
guint16 volcano_id(const Volcano *v);
typedef struct {
	guint64 boot;
	MagmaTime uptime;
	guint64 clients, opens, ops_running, ops_done, forwarded, replies_held, marks, commits, orphans, dirty;
	/* after power cuts: flares whose names are to be counted, and what was put right since the start */
	guint64 suspects, scrubbed_entries, scrubbed_flares, scrubbed_links, scrubbed_contents;
	guint64 rewritten;            /* places of contents that did not read here and were written over with a copy's bytes, of the slices it answers for */
	gboolean scrubbing_contents;  /* content files are being looked through */
	guint64 op_count[MAGMA_OP_LIMIT];
	guint64 map_changes;          /* of the lava map, that this one proposed and that were committed, and how long they took from the one to the other */
	MagmaTime map_change_last, map_change_most;
	guint16 leader;               /* of the group that votes on the map; 0: unknown */
	const char *state;            /* "serving", "joining", "handing over a slice", "receiving a slice", "starting" */
	char note[200];               /* what it waits for, or "" */
} VolcanoStats;
void volcano_stats(Volcano *v, VolcanoStats *out);
/* The unsafe states as this volcano sees them: MAGMA_UNSAFE_*; lines (may be NULL) as of magma_unsafe(). 0 without a map. */
guint32 volcano_unsafe(Volcano *v, GString *lines);
/* Live status of another volcano (or itself) over the node protocol; alive FALSE after 1 s without an answer. */
void volcano_ask_status(Volcano *v, guint16 id, void (*done)(void *user, gboolean alive, const struct magma_rep_status *st), void *user);
/* Tells every other volcano of the map to halt; done after their answers or 2 s. The caller ends itself then. */
void volcano_halt_network(Volcano *v, void (*done)(void *user), void *user);
