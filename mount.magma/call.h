/* A FUSE request on its way through the network: what is kept until its answer comes, the repeat with the caller's groups, interrupts, and
 * what the kernel is told. Loop thread only. */
#pragma once
#include <string.h>
#include "libmagma/base/err.h"
#include "mount.magma/mount.h"

/* An open file or directory; fi->fh points to it. The last reference gives the open back to the volcano, so that it never overtakes
 * an operation through it. */
typedef struct {
	Inode *inode;
	guint refs;
	GList link;                   /* in m->handles */
} Handle;
Handle *handle_new(Mount *m, Inode *i);
void handle_unref(Mount *m, Handle *h);
static inline Handle *handle_of(const struct fuse_file_info *fi) { return (Handle *)(gsize)fi->fh; }

/* error: 0 or what the volcano or the client said. Answers the kernel with one of the reply functions below and nothing else; after that the
 * call is freed; or sends it again. */
typedef void (*CallDone)(Call *k, int error, const MagmaAny *rep, GBytes *msg);
typedef void (*CallSend)(Call *k);

struct Call {
	Mount *m;
	fuse_req_t req;               /* NULL: answered */
	CallSend send;
	CallDone done;
	guint64 xid;
	MagmaOp op;
	gboolean waiting;             /* in m->calls */
	gboolean inflight;            /* the client owes an answer */
	guint stack;                  /* functions on the stack that still use it: an answer may come from inside send() */
	gboolean can_leave;           /* on a signal the process may go before the answer is here: nothing is changed, nothing held */
	gint64 since;                 /* monotonic; coarse: when it was first sent */
	gint64 signalled;             /* 0: no signal yet */
	MagmaCred cred;
	MagmaAny fields;              /* struct magma_req_<op> */
	GBytes *body;                 /* its trailing data, if it travels as such */
	Inode *dir, *inode;           /* references; what dir and inode mean is each operation's */
	Handle *handle;               /* reference */
	struct fuse_file_info fi;
	guint32 mode;                 /* create: to send it again */
	const MagmaAttr *attr;        /* of a lookup: only while it is being answered */
	gsize size;                   /* of the kernel's buffer, or of what is written */
	guint64 off;                  /* readdir: where the kernel is */
	guint tries;
	void *copy;                   /* g_free: groups aside, whatever else fields point to */
	guint8 *groups;               /* g_free */
	GList link, signal_link;
	char name[MAGMA_NAME_MAX + 1], name2[MAGMA_NAME_MAX + 1];
};

/* A call of op for req, with its caller's uid, gid and umask. */
Call *call_new(fuse_req_t req, MagmaOp op, CallDone done);
/* Sends fields (and body) to the owner of their routing key. */
void call_send(Call *k);
/* Sends by another way: fn calls the client once, which answers through call_answered(). fields.req_<op> must hold what routes it. */
void call_send_by(Call *k, CallSend fn);
void call_answered(Call *k, int error, const MagmaAny *rep, GBytes *msg);
void call_answered_cb(void *user, int error, const MagmaAny *rep, GBytes *msg);

/* The call waits for something else than an answer to itself. */
void call_part_start(Call *k);
void call_part_done(Call *k);

/* Copies a name into the call; FALSE: too long (answered with ENAMETOOLONG, the call is gone). */
gboolean call_set_name(Call *k, const char *name);
gboolean call_set_name2(Call *k, const char *name);
static inline MagmaBytes call_name(const Call *k) { return MAGMA_BYTES_STR(k->name); }
static inline MagmaBytes call_name2(const Call *k) { return MAGMA_BYTES_STR(k->name2); }
static inline void call_set_dir(Call *k, Inode *i) { k->dir = inode_ref(i); }
static inline void call_set_inode(Call *k, Inode *i) { k->inode = inode_ref(i); }
static inline void call_set_handle(Call *k, Handle *h) { h->refs++; k->handle = h; }

/* ---- answers ---- */
/* The errno the kernel may see for what the client said. */
int kernel_errno(int error);
void call_reply_err(Call *k, int error);
void call_reply_attr(Call *k, const MagmaAttr *a);
/* The flare is name in dir from now on: counts the lookup. */
void call_reply_entry(Call *k, Inode *dir, const char *name, const MagmaAttr *a);
/* Opened: the open counted by the client goes into a handle, or back if the process is gone. i is only read. */
void call_reply_open(Call *k, Inode *i);
/* Created and opened. */
void call_reply_create(Call *k, const MagmaAttr *a);
void call_reply_buf(Call *k, const void *p, gsize n);
/* For operations whose answer is only an error: a CallDone. */
void call_done_err(Call *k, int error, const MagmaAny *rep, GBytes *msg);

void attr_to_stat(const MagmaAttr *a, struct stat *st);
void entry_fill(const Mount *m, const Inode *i, const MagmaAttr *a, struct fuse_entry_param *e);

/* Nothing is waiting any more. */
gboolean calls_idle(const Mount *m);
/* With no call left: frees what is kept, and handles that were never released. */
void calls_clear(Mount *m);
static inline Mount *mount_of(fuse_req_t req) { return fuse_req_userdata(req); }
