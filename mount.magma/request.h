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
 * request is freed; or sends it again. */
typedef void (*RequestDone)(Request *k, int error, const MagmaAny *rep, GBytes *msg);
typedef void (*RequestSend)(Request *k);

struct Request {
	Mount *m;
	fuse_req_t req;               /* NULL: answered */
	RequestSend send;
	RequestDone done;
	guint64 xid;
	MagmaOp op;
	gboolean waiting;             /* in m->requests */
	gboolean inflight;            /* the client owes an answer */
	guint stack;                  /* functions on the stack that still use it: an answer may come from inside send() */
	gboolean can_leave;           /* on a signal the process may go before the answer is here: nothing is changed, nothing held */
	gint64 since;                 /* monotonic; coarse: when it was first sent */
	guint64 changes;              /* the mount's, when it was made */
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

/* op for req, with its caller's uid, gid and umask. */
Request *request_new(fuse_req_t req, MagmaOp op, RequestDone done);
/* Sends fields (and body) to the owner of their routing key. */
void request_send(Request *k);
/* Sends by another way: fn calls the client once, which answers through request_answered(). fields.req_<op> must hold what routes it. */
void request_send_by(Request *k, RequestSend fn);
void request_answered(Request *k, int error, const MagmaAny *rep, GBytes *msg);
void request_answered_cb(void *user, int error, const MagmaAny *rep, GBytes *msg);

/* The request waits for something else than an answer to itself. */
void request_part_start(Request *k);
void request_part_done(Request *k);

/* Copies a name into the request; FALSE: too long (answered with ENAMETOOLONG, the request is gone). */
gboolean request_set_name(Request *k, const char *name);
gboolean request_set_name2(Request *k, const char *name);
static inline MagmaBytes request_name(const Request *k) { return MAGMA_BYTES_STR(k->name); }
static inline MagmaBytes request_name2(const Request *k) { return MAGMA_BYTES_STR(k->name2); }
static inline void request_set_dir(Request *k, Inode *i) { k->dir = inode_ref(i); }
static inline void request_set_inode(Request *k, Inode *i) { k->inode = inode_ref(i); }
static inline void request_set_handle(Request *k, Handle *h) { h->refs++; k->handle = h; }

/* ---- answers ---- */
/* The errno the kernel may see for what the client said. */
int kernel_errno(int error);
void request_reply_err(Request *k, int error);
void request_reply_attr(Request *k, const MagmaAttr *a);
/* The flare is name in dir from now on: counts the lookup. */
void request_reply_entry(Request *k, Inode *dir, const char *name, const MagmaAttr *a);
/* Opened: the open counted by the client goes into a handle, or back if the process is gone. i is only read. */
void request_reply_open(Request *k, Inode *i);
/* Created and opened. */
void request_reply_create(Request *k, const MagmaAttr *a);
void request_reply_buf(Request *k, const void *p, gsize n);
/* For operations whose answer is only an error: a RequestDone. */
void request_done_err(Request *k, int error, const MagmaAny *rep, GBytes *msg);

void attr_to_stat(const MagmaAttr *a, struct stat *st);
void entry_fill(const Mount *m, const Inode *i, const MagmaAttr *a, struct fuse_entry_param *e);

/* Nothing is waiting any more. */
gboolean requests_idle(const Mount *m);
/* With no request left: frees what is kept, and handles that were never released. */
void requests_clear(Mount *m);
static inline Mount *mount_of(fuse_req_t req) { return fuse_req_userdata(req); }
