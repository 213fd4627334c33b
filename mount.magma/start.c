#include "config.h"
#include "mount.magma/start.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib-unix.h>
#include "libmagma/net/net.h"
#include "libmagma/net/spin.h"
#include "mount.magma/request.h"
#include "mount.magma/device.h"
#include "mount.magma/log.h"
#include "mount.magma/ops.h"

#define READ_AHEAD_KB 1024            /* READs of 1 MiB: the largest the kernel sends */
#define MAX_ADDRESSES 16              /* per host name */
#define END_WAIT_MS 2000              /* after a signal: how long processes may still use what they have open */

typedef struct {
	Mount m;
	void (*report)(void *user);
	void *report_user;
	int signal_fd;
	guint end_timer;
	guint dev_major, dev_minor;   /* of what we mounted */
} Run;

/* ---- contact ---- */

static gboolean resolve_hosts(const MountOptions *o, GArray *addrs, GError **error)
{
	g_autoptr(GError) last = NULL;
	for (char **h = o->hosts; *h; h++) {
		MagmaAddr found[MAX_ADDRESSES];
		g_clear_error(&last);
		guint n = magma_resolve(*h, o->port, found, MAX_ADDRESSES, &last);
		g_array_append_vals(addrs, found, n);
	}
	if (addrs->len)
		return TRUE;
	g_propagate_error(error, g_steal_pointer(&last));
	return FALSE;
}

static gboolean contact(Run *r, char *secret, GError **error)
{
	const MountOptions *o = r->m.opts;
	g_autoptr(GArray) addrs = g_array_new(FALSE, FALSE, sizeof(MagmaAddr));
	MagmaClientConfig cfg = { .proxy = o->proxy, .call_timeout_ms = o->call_timeout_ms, .trace = &r->m.trace };
	if (!resolve_hosts(o, addrs, error))
		return FALSE;
	gboolean derived = magma_psk_derive(secret, strlen(secret), cfg.psk);
	explicit_bzero(secret, strlen(secret));
	if (!derived) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: the key cannot be derived", o->source);
		return FALSE;
	}
	cfg.hosts = (const MagmaAddr *)addrs->data;
	cfg.nhosts = addrs->len;
	r->m.client = magma_client_new(r->m.ctx, &cfg, error);
	explicit_bzero(cfg.psk, sizeof cfg.psk);
	return r->m.client && magma_client_start_sync(r->m.client, error);
}

/* Who mounts, with all groups: whether the subdirectory can be seen is decided for them. */
static MagmaCred own_cred(guint8 **groups)
{
	gid_t list[1024];
	int n = MAX(getgroups(G_N_ELEMENTS(list), list), 0);
	*groups = g_malloc((gsize)n * 4);
	for (int i = 0; i < n; i++)
		magma_be32_store(*groups + 4 * i, list[i]);
	return (MagmaCred){ .uid = getuid(), .gid = getgid(), .has_groups = TRUE, .ngroups = (guint16)n, .groups_be = *groups };
}

static gboolean find_root(Run *r, GError **error)
{
	const MountOptions *o = r->m.opts;
	g_autofree guint8 *groups = NULL;
	MagmaCred cred = own_cred(&groups);
	MagmaAttr attr;
	MagmaFid parent;
	int e = magma_client_resolve_sync(r->m.client, o->path, &cred, &attr, &parent);
	if (!e && !S_ISDIR(attr.mode))
		e = ENOTDIR;
	if (e) {
		g_autofree char *why = e == EIO ? magma_client_why_sync(r->m.client) : NULL;
		g_set_error(error, MAGMA_ERROR, e, "%s: %s", o->source, why ? why : magma_strerror(e));
		return FALSE;
	}
	inodes_init(&r->m.inodes, &attr.fid, o->path);
	return TRUE;
}

/* ---- the mount point ---- */

static gboolean enter_namespace(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int e = fd < 0 || setns(fd, CLONE_NEWNS) ? errno : 0;
	if (fd >= 0)
		close(fd);
	if (e)
		g_set_error(error, MAGMA_ERROR, e, "mount namespace %s: %s", path, g_strerror(e));
	return !e;
}

static struct fuse_session *session_new(Mount *m)
{
	g_autofree char *opts = g_strdup("subtype=magma");
	char *list = NULL;
	g_autofree char *fsname = g_strdup_printf("fsname=%s", m->opts->source);
	fuse_opt_add_opt(&list, opts);
	fuse_opt_add_opt_escaped(&list, fsname);      /* it may have commas in it */
	for (guint i = 0; i < m->opts->kernel->len; i++)
		fuse_opt_add_opt_escaped(&list, m->opts->kernel->pdata[i]);
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	fuse_opt_add_arg(&args, "mount.magma");
	fuse_opt_add_arg(&args, "-o");
	fuse_opt_add_arg(&args, list);
	if (m->opts->fuse_debug)
		fuse_opt_add_arg(&args, "-d");
	struct fuse_session *se = fuse_session_new(&args, &mount_ops, sizeof mount_ops, m);
	fuse_opt_free_args(&args);
	free(list);
	return se;
}

static gboolean mount_it(Mount *m, GError **error)
{
	if (m->opts->nspath && !enter_namespace(m->opts->nspath, error))
		return FALSE;
	log_take_fuse(TRUE);
	m->se = session_new(m);
	if (m->se && fuse_session_mount(m->se, m->dir) == 0) {
		log_take_fuse(FALSE);
		return TRUE;
	}
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), e = errno;
	if (fd >= 0)
		close(fd);
	if (fd < 0 && (e == ENOENT || e == ENODEV || e == ENXIO))
		g_set_error(error, MAGMA_ERROR, e, "/dev/fuse: %s: load FUSE with modprobe fuse, or let this container have the device", g_strerror(e));
	else
		g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", m->dir, log_fuse_line());
	g_clear_pointer(&m->se, fuse_session_destroy);
	return FALSE;
}

/* AT_STATX_DONT_SYNC: a question to ourselves would wait for ever. */
static gboolean device_at(const char *dir, guint *major, guint *minor)
{
	struct statx st;
	if (statx(AT_FDCWD, dir, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st))
		return FALSE;
	*major = st.stx_dev_major;
	*minor = st.stx_dev_minor;
	return TRUE;
}

static gboolean still_mounted(const Run *r)
{
	guint major, minor;
	return r->dev_major + r->dev_minor && device_at(r->m.dir, &major, &minor) && major == r->dev_major && minor == r->dev_minor;
}

/* The kernel reads ahead 128 KiB unless told otherwise, and only root may tell. */
static void raise_read_ahead(const Run *r)
{
	if (geteuid() != 0 || !(r->dev_major + r->dev_minor))
		return;
	g_autofree char *path = g_strdup_printf("/sys/class/bdi/%u:%u/read_ahead_kb", r->dev_major, r->dev_minor);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (dprintf(fd, "%d\n", READ_AHEAD_KB) < 0)
		log_say("%s: %s", path, g_strerror(errno));
	close(fd);
}

/* ---- the loop ---- */

static void on_ready(Mount *m)
{
	Run *r = (Run *)m;
	device_at(m->dir, &r->dev_major, &r->dev_minor);
	raise_read_ahead(r);
	r->report(r->report_user);
}

static void on_end(Mount *m)
{
	m->ending = TRUE;
	g_main_loop_quit(m->loop);
}

static gboolean end_overdue(gpointer user)
{
	Run *r = user;
	r->end_timer = 0;
	on_end(&r->m);
	return G_SOURCE_REMOVE;
}

/* Lazily, and from another process: the kernel may write back mapped pages before it lets go, and those writes come to us. */
static void detach(const Mount *m)
{
	const char *dir = m->dir;
	pid_t pid = fork();
	if (pid != 0)
		return;                   /* SIGCHLD is ignored: nobody to bury */
	close(fuse_session_fd(m->se));    /* the connection is over when the one who answers has gone */
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
		execlp("fusermount3", "fusermount3", "-u", "-q", "-z", "--", dir, (char *)NULL);
	_exit(0);
}

static gboolean on_signal(gint fd, GIOCondition condition, gpointer user)
{
	Run *r = user;
	struct signalfd_siginfo si;
	if (read(fd, &si, sizeof si) != (ssize_t)sizeof si)
		return G_SOURCE_CONTINUE;
	if (r->end_timer) {
		on_end(&r->m);            /* the second one: at once */
		return G_SOURCE_CONTINUE;
	}
	if (still_mounted(r))
		detach(&r->m);
	g_autoptr(GSource) s = g_timeout_source_new(END_WAIT_MS);
	g_source_set_callback(s, end_overdue, r, NULL);
	r->end_timer = g_source_attach(s, r->m.ctx);
	return G_SOURCE_CONTINUE;
}

static void take_signals(Run *r)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (r->m.opts->foreground)
		sigaddset(&set, SIGHUP);
	else
		signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	g_autoptr(GSource) s = g_unix_fd_source_new(r->signal_fd, G_IO_IN);
	g_source_set_callback(s, G_SOURCE_FUNC(on_signal), r, NULL);
	g_source_attach(s, r->m.ctx);
}

/* ---- all of it ---- */

static void run_init(Run *r, const MountOptions *opts, const char *dir, void (*report)(void *user), void *user)
{
	*r = (Run){ .report = report, .report_user = user, .signal_fd = -1 };
	r->m.opts = opts;
	r->m.dir = g_strdup(dir);
	r->m.ctx = g_main_context_ref(g_main_context_default());
	magma_net_spin(r->m.ctx);
	r->m.loop = g_main_loop_new(r->m.ctx, FALSE);
	r->m.trace = (MagmaTrace){ .on = opts->trace, .sink = log_trace };
	r->m.scratch = g_byte_array_new();
	g_queue_init(&r->m.requests);
	g_queue_init(&r->m.handles);
	g_queue_init(&r->m.interrupted);
}

/* Takes /dev/fuse away from libfuse and leaves it a pipe nobody reads, which looks to it like a connection that is over. It would unmount by path
 * else, and hit what somebody else has mounted there since. */
static void unmount_it(Run *r)
{
	int fds[2];
	fuse_session_exit(r->m.se);
	if (pipe2(fds, O_CLOEXEC) == 0) {
		dup2(fds[1], fuse_session_fd(r->m.se));
		close(fds[0]);
		close(fds[1]);
	}
	fuse_session_unmount(r->m.se);
	fuse_session_destroy(r->m.se);
}

/* The loop ends when the kernel says that the connection is over, or after on_signal() has detached the mount. So nothing is unmounted here: what is
 * mounted in the directory now is somebody else's, even where it has got the device number of the one that was ours.
 * The client goes before the FUSE session, which its last answers need. */
static void run_clear(Run *r)
{
	Mount *m = &r->m;
	m->ending = TRUE;
	g_clear_pointer(&m->client, magma_client_free);
	statfs_clear(m);
	requests_clear(m);
	g_clear_pointer(&m->device, device_free);
	if (m->se)
		unmount_it(r);
	inodes_clear(&m->inodes);
	g_byte_array_unref(m->scratch);
	g_main_loop_unref(m->loop);
	g_main_context_unref(m->ctx);
	g_free(m->dir);
	if (r->signal_fd >= 0)
		close(r->signal_fd);
}

int mount_run(const MountOptions *opts, const char *dir, char *secret, void (*report)(void *user), void *user)
{
	g_autoptr(GError) error = NULL;
	Run r;
	run_init(&r, opts, dir, report, user);
	gboolean up = contact(&r, secret, &error) && find_root(&r, &error) && mount_it(&r.m, &error);
	if (up) {
		take_signals(&r);
		r.m.device = device_new(&r.m, on_ready, on_end);
		if (opts->verbose)
			log_say("%s mounted on %s, epoch %" G_GUINT64_FORMAT, opts->source, dir, magma_client_map(r.m.client)->epoch);
		g_main_loop_run(r.m.loop);
	} else {
		log_say("%s", error ? error->message : "failed");
	}
	run_clear(&r);
	return up ? 0 : 1;
}
