#include "mount.magma/request.h"
#include <errno.h>
#include <fcntl.h>
#include "mount.magma/fresh.h"
#include "mount.magma/log.h"

#define MAX_FREE_REQUESTS 256
#define WATCH_MS 500
#define STALLED_AFTER_US (5 * G_USEC_PER_SEC)  /* longer than a lost volcano's pause (4 s) */
#define LEAVE_AFTER_US STALLED_AFTER_US        /* a signal (Go sends them by the thousand) is no reason for EINTR while answers will come */

/* ---- handles ---- */

Handle *handle_new(Mount *m, Inode *i)
{
	Handle *h = g_new(Handle, 1);
	*h = (Handle){ .inode = inode_ref(i), .refs = 1, .link.data = h };
	g_queue_push_tail_link(&m->handles, &h->link);
	return h;
}

void handle_unref(Mount *m, Handle *h)
{
	if (!h || --h->refs)
		return;
	if (m->client)                /* else it has said goodbye, which ends all opens */
		magma_client_unhold(m->client, &h->inode->fid);
	g_queue_unlink(&m->handles, &h->link);
	inode_unref(&m->inodes, h->inode);
	g_free(h);
}

/* ---- life ---- */

static void watch_start(Mount *m);

static void interrupted(fuse_req_t req, void *data)
{
	Request *k = data;
	if (k->signalled)
		return;
	k->signalled = g_get_monotonic_time();
	g_queue_push_tail_link(&k->m->interrupted, &k->signal_link);
	watch_start(k->m);
}

Request *request_new(fuse_req_t req, MagmaOp op, RequestDone done)
{
	Mount *m = mount_of(req);
	Request *k = m->free_requests;
	if (k) {
		m->free_requests = k->link.data;
		m->nfree_requests--;
	} else {
		k = g_new(Request, 1);
	}
	memset(k, 0, offsetof(Request, name));
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	fresh_drop(m, ctx->pid);
	k->m = m;
	k->req = req;
	k->op = op;
	k->done = done;
	k->cred = (MagmaCred){ .uid = ctx->uid, .gid = ctx->gid, .umask = (guint16)(ctx->umask & 07777) };
	k->link.data = k->signal_link.data = k;
	k->changes = m->changes;
	const MagmaOpInfo *info = magma_op_info(op);
	/* programs take any error of fsync(2) for data that is lost */
	k->can_leave = !(info->flags & MAGMA_OP_MUTATES) && op != MAGMA_OP_open && op != MAGMA_OP_fsync;
	return k;
}

static void request_free(Request *k)
{
	Mount *m = k->m;
	if (k->waiting)
		g_queue_unlink(&m->requests, &k->link);
	if (k->signalled)
		g_queue_unlink(&m->interrupted, &k->signal_link);
	handle_unref(m, k->handle);
	if (k->dir)
		inode_unref(&m->inodes, k->dir);
	if (k->inode)
		inode_unref(&m->inodes, k->inode);
	g_clear_pointer(&k->body, g_bytes_unref);
	g_free(k->copy);
	g_free(k->groups);
	if (m->nfree_requests >= MAX_FREE_REQUESTS) {
		g_free(k);
		return;
	}
	k->link.data = m->free_requests;
	m->free_requests = k;
	m->nfree_requests++;
}

/* The end of every step: the request goes when the kernel has its answer, the client owes none, and nobody on the stack still uses it. */
static void request_settle(Request *k)
{
	if (!k->req && !k->inflight && !k->stack)
		request_free(k);
}

gboolean requests_idle(const Mount *m) { return m->requests.length == 0; }

void requests_clear(Mount *m)
{
	if (m->watch)
		g_source_remove(m->watch);
	m->watch = 0;
	while (m->handles.head) {
		Handle *h = m->handles.head->data;
		h->refs = 1;
		handle_unref(m, h);
	}
	for (Request *k = m->free_requests, *next; k; k = next) {
		next = k->link.data;
		g_free(k);
	}
	m->free_requests = NULL;
}

/* ---- sending ---- */

static void send_generic(Request *k)
{
	k->xid = magma_client_call(k->m->client, k->op, &k->cred, &k->fields, k->body, request_answered_cb, k);
}

static void send_now(Request *k)
{
	k->stack++;
	k->inflight = TRUE;
	k->send(k);
	k->stack--;
	request_settle(k);
}

void request_send_by(Request *k, RequestSend fn)
{
	Mount *m = k->m;
	k->send = fn;
	if (!k->waiting) {
		k->waiting = TRUE;
		k->since = g_get_monotonic_time();
		g_queue_push_tail_link(&m->requests, &k->link);
		watch_start(m);
		fuse_req_interrupt_func(k->req, interrupted, k);
	}
	send_now(k);
}

void request_send(Request *k) { request_send_by(k, send_generic); }

/* The caller's supplementary groups out of /proc: 17-30 us, so only when a volcano says that they decide. */
static void fetch_groups(Request *k)
{
	gid_t few[64];
	g_autofree gid_t *many = NULL;
	gid_t *list = few;
	int n = k->req ? fuse_req_getgroups(k->req, G_N_ELEMENTS(few), few) : 0;
	if (n > (int)G_N_ELEMENTS(few)) {
		int room = MIN(n, MAGMA_GROUPS_MAX);
		list = many = g_new(gid_t, room);
		n = MIN(fuse_req_getgroups(k->req, room, many), room);
	}
	n = MAX(n, 0);                /* the process is gone: it has none */
	k->groups = g_malloc((gsize)n * 4);
	for (int i = 0; i < n; i++)
		magma_be32_store(k->groups + 4 * i, list[i]);
	k->cred.has_groups = TRUE;
	k->cred.ngroups = (guint16)n;
	k->cred.groups_be = k->groups;
}

static gboolean may_change_attributes(const Request *k)
{
	return magma_op_info(k->op)->flags & MAGMA_OP_MUTATES || (k->op == MAGMA_OP_open && k->fields.req_open.flags & O_TRUNC);
}

void request_answered(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	k->stack++;
	k->inflight = FALSE;
	k->xid = 0;
	if (may_change_attributes(k))
		k->m->changes++;
	if (!k->req) {
		/* the process left */
	} else if (error == MAGMA_ENEEDGROUPS && !k->cred.has_groups) {
		fetch_groups(k);
		send_now(k);
	} else {
		k->done(k, error, rep, msg);
	}
	k->stack--;
	request_settle(k);
}

void request_answered_cb(void *user, int error, const MagmaAny *rep, GBytes *msg) { request_answered(user, error, rep, msg); }

void request_part_start(Request *k) { k->stack++; }

void request_part_done(Request *k)
{
	k->stack--;
	request_settle(k);
}

static gboolean set_name(Request *k, char *to, const char *name)
{
	gsize len = strlen(name);
	if (len > MAGMA_NAME_MAX) {
		request_reply_err(k, ENAMETOOLONG);
		request_settle(k);
		return FALSE;
	}
	memcpy(to, name, len + 1);
	return TRUE;
}

gboolean request_set_name(Request *k, const char *name) { return set_name(k, k->name, name); }
gboolean request_set_name2(Request *k, const char *name) { return set_name(k, k->name2, name); }

/* ---- what waits too long ---- */

static void say_stalled(Mount *m, const Request *k)
{
	MagmaKey key;
	const MagmaMap *map = magma_client_map(m->client);
	const MagmaVolcano *v = map && magma_msg_route(k->op, &k->fields, &key) ? magma_map_route(map, &key) : NULL;
	char addr[MAGMA_ADDR_TEXT];
	if (v)
		log_cause(1000u + v->id, "volcano %s (%s) does not answer; retrying", v->name, magma_addr_format(&v->addr, addr));
	else
		log_cause(999, "no volcano answers; retrying");
}

static gboolean watch_tick(gpointer data)
{
	Mount *m = data;
	gint64 now = g_get_monotonic_time();
	Request *oldest = m->requests.head ? m->requests.head->data : NULL;
	if (oldest && now - oldest->since > STALLED_AFTER_US)
		say_stalled(m, oldest);
	for (GList *l = m->interrupted.head, *next; l; l = next) {
		Request *k = l->data;
		next = l->next;
		if (now - k->signalled <= LEAVE_AFTER_US || !k->req)
			continue;
		if (k->can_leave)
			request_reply_err(k, EINTR);
		else if (k->xid && k->op != MAGMA_OP_fsync)
			magma_client_cancel(m->client, k->xid);
	}
	if (m->requests.length)
		return G_SOURCE_CONTINUE;
	m->watch = 0;
	return G_SOURCE_REMOVE;
}

static void watch_start(Mount *m)
{
	if (m->watch)
		return;
	g_autoptr(GSource) s = g_timeout_source_new(WATCH_MS);
	g_source_set_callback(s, watch_tick, m, NULL);
	m->watch = g_source_attach(s, m->ctx);
}
