/* Routed, retried calls into a lava network: what mount.magma, the console and the tools use. Knows the lava map, keeps a session per
 * volcano (or one, as proxy), repeats a request with its transaction id until it is answered. One thread: that of its GMainContext. */
#pragma once
#include <glib.h>
#include "libmagma/base/trace.h"
#include "libmagma/lava/map.h"
#include "libmagma/proto/msg.h"
#include "libmagma/proto/list.h"
#include "libmagma/xport/xport.h"

typedef struct MagmaClient MagmaClient;

typedef struct {
	const MagmaAddr *hosts;       /* flare addresses to try in turn; copied */
	guint nhosts;
	guint8 psk[MAGMA_PSK_LEN];
	gboolean proxy;               /* speak to the first host that answers only; chosen by itself per volcano that cannot be reached */
	guint start_timeout_ms;       /* 0: 4500: "said within 5 s" */
	guint call_timeout_ms;        /* a request nobody answers fails with EIO after that; 0: 60000 */
	guint goodbye_timeout_ms;     /* how long magma_client_free may wait for the answers to its goodbyes; 0: 1000 */
	gboolean no_wait;             /* magma_client_free does not wait for the goodbyes to be answered: for a client that shares its thread with a volcano */
	const MagmaTrace *trace;
} MagmaClientConfig;

MagmaClient *magma_client_new(GMainContext *ctx, const MagmaClientConfig *cfg, GError **error);
/* First contact: session, hello, map. done is called once, with NULL or the error (MAGMA_EAUTH "authentication failed ...", MAGMA_ENOBODY ...). */
void magma_client_start(MagmaClient *c, void (*done)(void *user, const GError *error), void *user);
/* The same, running the context until it is decided. */
gboolean magma_client_start_sync(MagmaClient *c, GError **error);
/* Says goodbye to the volcanos it spoke to (opens end there); pending calls are answered ECANCELED before this returns. */
void magma_client_free(MagmaClient *c);

/* The answer. error: 0, an errno, MAGMA_ENEEDGROUPS, never MAGMA_EMAP or MAGMA_ETRYAGAIN. rep: &fields.rep_<op> with error 0, else NULL;
 * points into msg, which is borrowed: take a reference to keep both. */
typedef void (*MagmaReplyFn)(void *user, int error, const MagmaAny *rep, GBytes *msg);

/* Sends a request to the owner of its routing key. req: struct magma_req_<op>, only read during the call. body: NULL, or the bytes of its trailing
 * data field (then req's data.data is ignored and data.len set from body); a reference is taken. cred may be NULL: root. Returns the transaction id. */
guint64 magma_client_call(MagmaClient *c, MagmaOp op, const MagmaCred *cred, const void *req, GBytes *body, MagmaReplyFn done, void *user);
/* The caller no longer wants the answer (FUSE interrupt): done is called with EINTR at once if the request was never sent; else when answered. */
void magma_client_cancel(MagmaClient *c, guint64 xid);
/* To one volcano by id instead of by key: hello, ping, map, goodbye, reopen. Volcano 0: the one this client reached first, or speaks through. Fails with
 * EHOSTUNREACH where there is no direct session and none can be made (proxy). */
guint64 magma_client_call_volcano(MagmaClient *c, guint16 volcano, MagmaOp op, const void *req, MagmaReplyFn done, void *user);
/* Runs the context until the answer is there; *msg (may be NULL) gets a reference that keeps rep's bytes alive. Returns the error. For tools. */
int magma_client_call_sync(MagmaClient *c, MagmaOp op, const MagmaCred *cred, const void *req, MagmaAny *rep, GBytes **msg);

/* The lines of a PING's answer, as a terminal may see them. To free. */
char *magma_ping_lines(const struct magma_rep_ping *rep);
/* After an EIO: "no answer within 60 s: without quorum: ...", if since the last time a request was given up that nobody answered, and a host given, which is asked with PING, says what is
 * not safe. NULL: it was another error, or nobody knows of anything. To free. Runs the context, for at most 3 s. For tools. */
char *magma_client_why_sync(MagmaClient *c);

/* Opens, counted per flare and re-asserted by itself when a volcano lost them (restart, move). hold sends OPEN (every time: it checks the permission) and counts
 * on success; held counts an open that came with a CREATE reply; unhold gives one back and sends RELEASE for the last, never overtaking an OPEN. */
void magma_client_hold(MagmaClient *c, const MagmaFid *fid, guint32 flags, const MagmaCred *cred, MagmaReplyFn done, void *user);
void magma_client_held(MagmaClient *c, const MagmaFid *fid);
void magma_client_unhold(MagmaClient *c, const MagmaFid *fid);

/* The map now in use; borrowed until the loop runs again. */
const MagmaMap *magma_client_map(const MagmaClient *c);
guint64 magma_client_id(const MagmaClient *c);
/* Smoothed round trip to that volcano (0: as in magma_client_call_volcano) in microseconds, 0 if there is no session. */
MagmaTime magma_client_rtt(const MagmaClient *c, guint16 volcano);

/* Path to flare, from the root of the network, symlinks not followed: LOOKUPs and guessed keys in parallel. done gets the LOOKUP-like result. */
typedef void (*MagmaResolveFn)(void *user, int error, const MagmaAttr *attr, const MagmaFid *parent);
void magma_client_resolve(MagmaClient *c, const char *path, const MagmaCred *cred, MagmaResolveFn done, void *user);
int magma_client_resolve_sync(MagmaClient *c, const char *path, const MagmaCred *cred, MagmaAttr *attr, MagmaFid *parent);
/* One name: LOOKUP at the parent's owner and PEEK at the guessed key's owner in parallel where they differ, GETATTR where the guess failed. */
void magma_client_lookup(MagmaClient *c, const MagmaFid *dir, const char *name, gsize len, const MagmaKey *guess, const MagmaCred *cred,
	void (*done)(void *user, int error, const MagmaAttr *attr), void *user);
