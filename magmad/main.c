/* magmad: one volcano. Options, folder, store, shell, console, loop; what each does stands in its own file. */
#include <config.h>
#include "magmad/config.h"
#include "magmad/conflicts.h"
#include "magmad/console/console.h"
#include "magmad/console/text.h"
#include "magmad/daemonise.h"
#include "magmad/keep.h"
#include "magmad/log.h"
#include "magmad/notify.h"
#include "magmad/options.h"
#include "magmad/plan.h"
#include "magmad/shell.h"
#include "magmad/stall.h"
#include "magmad/store/diskstore.h"
#include "libmagma/base/err.h"
#include "libmagma/base/folder.h"
#include "libmagma/net/spin.h"
#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAITS_AFTER_MS 2000           /* most starts are over by then */
#define CACHE_BYTES (64u << 20)       /* rows kept in memory: some 200,000 flares */

typedef struct {
	Options *options;
	char *dir;
	Identity *id;
	MagmaTrace trace;
	GMainLoop *loop;
	Store *store;
	Slices *slices;
	Conflicts *conflicts;
	Keep *keep;
	GBytes *kept;
	Shell *shell;
	Console *console;
	int lock_fd;
	gboolean first;               /* this start makes the folder a volcano's */
	char *first_missing;          /* the highest folder it made on the way there */
	gboolean wrong;               /* the command line is what is wrong */
	gboolean ready, leaving, again;
	char *failure;                /* why it ends, when not by wish */
	gint64 away_until;            /* and until when the folder is still this process's: monotonic microseconds */
	guint waits;                  /* the source that tells the parent what for */
	char *waits_for;              /* that it was told last */
} Daemon;

static gboolean say_ready(Daemon *d)
{
	const MagmaMap *map = volcano_map(shell_volcano(d->shell));
	char addr[MAGMA_ADDR_TEXT];
	g_autofree char *copies = d->id->offered ? text_copies(map->copies_kept, map->copies_wanted) : g_strdup("a witness: votes, and keeps nothing");
	g_autofree char *names = magma_unsafe_names(volcano_unsafe(shell_volcano(d->shell), NULL));
	g_autofree char *line = g_strdup_printf("magmad: %s ready, epoch %" G_GUINT64_FORMAT ", flare %s, %s%s%s", d->id->name, map->epoch,
		magma_addr_format(&d->id->addr, addr), copies, names[0] ? "; unsafe: " : "", names);
	g_autofree char *state = g_strdup_printf("READY=1\nMAINPID=%d\nSTATUS=%s\n", (int)getpid(), line + strlen("magmad: "));

	daemonise_ready(line);
	notify_send(state);
	return TRUE;
}

/* --daemon: whoever waits at the terminal is told what for, as the console's status says it. */
static gboolean say_waits(gpointer user)
{
	Daemon *d = user;
	VolcanoStats v = { 0 };

	volcano_stats(shell_volcano(d->shell), &v);
	g_autofree char *now = g_strdup_printf("%s: %s%s%s", d->id->name, v.state ? v.state : "starting", v.note[0] ? ", " : "", v.note);
	if (g_strcmp0(now, d->waits_for) != 0)
		daemonise_waits(now);
	g_free(d->waits_for);
	d->waits_for = g_steal_pointer(&now);
	return G_SOURCE_CONTINUE;
}

/* The folder is this volcano's from here on. */
static gboolean keep_identity(Daemon *d, GError **error)
{
	const MagmaMap *map = volcano_map(shell_volcano(d->shell));
	char network[33];

	for (guint i = 0; i < sizeof map->network; i++)
		g_snprintf(network + 2 * i, 3, "%02x", map->network[i]);
	if (!d->id->pending && g_str_equal(d->id->network, network))
		return TRUE;
	g_strlcpy(d->id->network, network, sizeof d->id->network);
	d->id->pending = FALSE;
	return identity_save(d->id, d->dir, error);
}

static void fail(Daemon *d, const char *text)
{
	if (!d->failure)
		d->failure = g_strdup(text);
	g_main_loop_quit(d->loop);
}

static void on_ready(void *user, const char *refusal)
{
	Daemon *d = user;
	g_autoptr(GError) error = NULL;

	if (refusal) {
		gboolean auth = g_str_has_prefix(refusal, shell_close_text(MAGMA_CLOSE_AUTH));
		g_autofree char *text = g_strconcat(d->id->again ? d->dir : "", d->id->again ? ": " : "", refusal, auth ? ": the network has another secret key (-k, -K)" : NULL, NULL);
		fail(d, text);
		return;
	}
	if (!keep_identity(d, &error)) {
		fail(d, error->message);
		return;
	}
	d->ready = TRUE;
	g_clear_handle_id(&d->waits, g_source_remove);
	say_ready(d);
}

static void on_stop(void *user, const char *text)
{
	Daemon *d = user;
	const MagmaMap *map = d->shell ? volcano_map(shell_volcano(d->shell)) : NULL;

	if (text && map && map->volcanos->len > 1)
		d->away_until = g_get_monotonic_time() + VOLCANO_MISSED_AFTER;
	if (text)
		fail(d, text);
	else
		g_main_loop_quit(d->loop);
}

/* The stores are moved away at the next start: this process begins it itself. */
static void on_aside(void *user)
{
	Daemon *d = user;

	d->again = TRUE;
	g_main_loop_quit(d->loop);
}

static void on_left(void *user) { g_main_loop_quit(((Daemon *)user)->loop); }

/* The others go on without it: they get what it has first. Told once more, it ends at once. */
static void leave(Daemon *d)
{
	if (d->leaving || !d->ready)
		g_main_loop_quit(d->loop);
	else
		volcano_leave(shell_volcano(d->shell), on_left, d);
	d->leaving = TRUE;
}

static void on_console_stop_here(void *user, const char *who)
{
	log_say("told to stop from the console by %s", who);
	leave(user);
}

static void on_console_stop(void *user, const char *who)
{
	Daemon *d = user;

	log_say("told to stop from the console by %s", who);
	g_main_loop_quit(d->loop);
}

static gboolean on_signal(gpointer user)
{
	Daemon *d = user;

	log_say("told to stop by a signal");
	leave(d);
	return G_SOURCE_CONTINUE;
}

/* What the line gave stays; of the rest only the debug channels can change while the volcano runs. */
static gboolean on_hangup(gpointer user)
{
	Daemon *d = user;
	g_autoptr(Options) now = options_new();
	g_autoptr(GError) error = NULL;

	notify_send("RELOADING=1\n");
	log_reopen();
	for (guint i = 0; i < OPT_COUNT; i++)
		if (d->options->v[i].from == OPTION_LINE && d->options->v[i].text)
			options_set(now, i, d->options->v[i].text, OPTION_LINE, OPTIONS[i].key, NULL);
	if (!config_load(now, &error)) {
		log_error("%s; the configuration stays as it was", error->message);
	} else {
		d->trace.on = options_channels(now);
		log_say("configuration read again");
		if (options_number(now, OPT_BANDWIDTH) != options_number(d->options, OPT_BANDWIDTH))
			log_say("bandwidth %" G_GUINT64_FORMAT ": the network knows %u Kbit/s and that stays: it cannot be changed yet", options_number(now, OPT_BANDWIDTH),
				d->id->bandwidth);
	}
	notify_send("READY=1\n");
	return G_SOURCE_CONTINUE;
}

/* Contents are files: as many at once as the system lets us have. */
static void raise_file_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* Decides what this start is, with the folder locked; nothing in it has been changed when this fails. */
static gboolean take_folder(Daemon *d, GError **error)
{
	FolderState state = folder_look(d->dir, error);

	if (state == FOLDER_ERROR)
		return FALSE;
	if (state == FOLDER_FOREIGN) {
		g_set_error(error, MAGMA_ERROR, ENOTEMPTY, "%s: is not empty and holds no volcano: give an empty folder with -d", d->dir);
		return FALSE;
	}
	if (state != FOLDER_VOLCANO) {
		if (!(d->id = plan_first(d->options, d->dir, error)))
			return FALSE;
		d->first = TRUE;
		d->first_missing = folder_first_missing(d->dir);
		if (d->first_missing && !magma_folder_make(d->dir, error)) {
			g_prefix_error(error, "cannot make the folder ");
			return FALSE;
		}
	}
	if ((d->lock_fd = diskstore_lock(d->dir, error)) < 0) {
		d->first = FALSE;             /* whoever holds it made what is there */
		return FALSE;
	}
	/* between the look and the lock another magmad may have come and gone */
	if (d->first && folder_look(d->dir, NULL) != FOLDER_EMPTY) {
		d->first = FALSE;
		g_set_error(error, MAGMA_ERROR, EBUSY, "%s: another magmad uses the folder", d->dir);
		return FALSE;
	}
	return d->first || (d->id = plan_restart(d->options, d->dir, error));
}

/* What is kept says no more that the stores do not stand: those are the new ones. */
static gboolean keep_set_aside(Daemon *d, GError **error)
{
	g_autoptr(GBytes) now = volcano_kept_set_aside(d->kept);
	int e = keep_put_now(d->keep, now);

	if (e) {
		g_set_error(error, MAGMA_ERROR, e, "%s/lava.db: %s", d->dir, g_strerror(e));
		return FALSE;
	}
	g_bytes_unref(d->kept);
	d->kept = g_steal_pointer(&now);
	return TRUE;
}

/* Wherever it is cut off the next start goes on with the same one, which is a store once all else is done. */
static gboolean set_aside(Daemon *d, GError **error)
{
	gboolean told = d->kept && volcano_kept_aside(d->kept);
	g_autofree char *where = told ? folder_set_aside(d->dir, error) : folder_aside_left(d->dir);

	if (!where)
		return !told;
	if (told && (!diskstore_create_again(d->dir, error) || !keep_set_aside(d, error)))
		return FALSE;
	log_error("CONFLICT: what was changed here while the other volcano went on without this one does not stand; it is in %s", where);
	return diskstore_adopt(where, error);
}

static gboolean open_store(Daemon *d, GError **error)
{
	DiskStoreConfig cfg = { .dir = d->dir, .cache_bytes = CACHE_BYTES, .trace = &d->trace, .lock_fd = dup(d->lock_fd), .one_of_several = TRUE };

	if (d->first)
		folder_prepare(d->dir);
	if (d->first && (!diskstore_create(d->dir, error) || !identity_save(d->id, d->dir, error)))
		return FALSE;
	if (!(d->keep = keep_open(d->dir, NULL, !d->id->pending, &d->kept, error)) || !set_aside(d, error) || !(d->store = diskstore_open(&cfg, error)))
		return FALSE;
	d->conflicts = conflicts_new(&cfg);
	cfg.cache_bytes = CACHE_BYTES / 4;
	d->slices = slices_new(&cfg);
	return TRUE;
}

static gboolean open_network(Daemon *d, GError **error)
{
	ShellOps ops = { on_ready, on_stop, d, on_aside };

	/* after the store: its source comes first, see shell.h */
	if (!(d->shell = shell_new(NULL, d->id, d->store, d->slices, d->conflicts, d->keep, d->kept, options_number(d->options, OPT_NO_TAKEOVER) != 0, &d->trace, &ops, error)))
		return FALSE;
	ConsoleConfig cfg = { .volcano = shell_volcano(d->shell), .store = d->store, .trace = &d->trace, .name = d->id->name, .flare = d->id->addr,
		.cache_bytes = CACHE_BYTES, .stop = on_console_stop, .stop_here = on_console_stop_here, .user = d };
	memcpy(cfg.psk, d->id->psk, sizeof cfg.psk);
	d->console = console_new(&cfg, error);
	explicit_bzero(&cfg, sizeof cfg);
	return d->console != NULL;
}

static gboolean serve(Daemon *d, GError **error)
{
	if (!take_folder(d, error)) {
		d->wrong = error && *error && (*error)->code == EINVAL;
		return FALSE;
	}
	log_open(options_number(d->options, OPT_DAEMON) ? LOG_TO_SYSLOG : LOG_TO_STDERR, d->id->name);
	if (!open_store(d, error) || !open_network(d, error))
		return FALSE;
	magma_net_spin(g_main_context_default());
	stall_watch(g_main_context_default());
	d->loop = g_main_loop_new(NULL, FALSE);
	guint signals[] = { g_unix_signal_add(SIGTERM, on_signal, d), g_unix_signal_add(SIGINT, on_signal, d), g_unix_signal_add(SIGHUP, on_hangup, d) };
	if (daemonise_watched())
		d->waits = g_timeout_add(WAITS_AFTER_MS, say_waits, d);
	shell_start(d->shell);
	if (!d->failure)
		g_main_loop_run(d->loop);
	for (guint i = 0; i < G_N_ELEMENTS(signals); i++)
		g_source_remove(signals[i]);
	if (d->away_until) {          /* stay_away: told to end is mostly told to be back at once */
		signal(SIGTERM, SIG_IGN);
		signal(SIGINT, SIG_IGN);
	}
	g_clear_handle_id(&d->waits, g_source_remove);
	if (d->failure)
		g_set_error_literal(error, MAGMA_ERROR, EIO, d->failure);
	else if (d->first && !d->ready)
		g_set_error_literal(error, MAGMA_ERROR, EINTR, "stopped before it was ready");
	return d->failure == NULL && (d->ready || !d->first);
}

/* Whoever starts it again at once would bring it back before the others have missed it, and it would own what it had without what its disk has lost. */
static void stay_away(const Daemon *d)
{
	gint64 left = d->away_until - g_get_monotonic_time();

	if (left > 0)
		g_usleep((gulong)left);
}

/* Others count it from the map on that they gave it: what it has may be the only copy of a slice by then. The next start goes on with what there is (pending=). */
static gboolean others_know(const Daemon *d)
{
	const MagmaMap *map = d->shell ? volcano_map(shell_volcano(d->shell)) : NULL;

	return map && map->volcanos->len > 1;
}

/* Everything down again, in the reverse order; a first start of which nobody heard leaves nothing. FALSE: what was acknowledged may not be on disk. */
static gboolean end(Daemon *d)
{
	gboolean undo = d->first && !d->ready && !others_know(d);

	if (d->ready && !d->again)        /* one that is told so has TimeoutStopSec= left */
		notify_send("STOPPING=1\n");
	console_free(d->console);
	if (d->shell)
		shell_goodbye(d->shell);
	shell_free(d->shell);
	keep_close(d->keep);
	int error = slices_free(d->slices);
	conflicts_free(d->conflicts);
	if (d->kept)
		g_bytes_unref(d->kept);
	if (d->store && undo)
		diskstore_abandon(d->store);
	else if (d->store && diskstore_close(d->store) != 0)
		error = EIO;
	if (undo)
		folder_undo(d->dir, d->first_missing);
	stay_away(d);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	if (d->loop)
		g_main_loop_unref(d->loop);
	identity_free(d->id);
	g_free(d->failure);
	g_free(d->waits_for);
	g_free(d->first_missing);
	g_free(d->dir);
	return !error;
}

static int run(Options *o)
{
	Daemon d = { .options = o, .lock_fd = -1, .trace = { options_channels(o), log_trace, NULL } };
	g_autoptr(GError) error = NULL;
	int status = 0;

	d.dir = g_canonicalize_filename(options_text(o, OPT_DIR), NULL);
	gboolean ok = serve(&d, &error), was_ready = d.ready;
	if (!ok) {
		g_autofree char *line = g_strdup_printf("magmad: %s", error->message);
		status = d.wrong ? 2 : 1;
		if (was_ready)
			log_error("%s", error->message);
		end(&d);
		if (!was_ready)
			daemonise_refused(line, status);
	} else if (!end(&d)) {
		status = 1;
	}
	return ok && !status && d.again && !d.leaving ? run(o) : status;
}

static int usage(const GError *error)
{
	fprintf(stderr, "magmad: %s\n", error->message);
	return 2;
}

int main(int argc, char **argv)
{
	char **args = options_take(argc, argv);
	g_autoptr(Options) o = options_new();
	g_autofree char *help = NULL;
	g_autoptr(GError) error = NULL;

	g_set_prgname("magmad");
	switch (options_parse(o, args, &help, &error)) {
	case OPTIONS_HELP:
		fputs(help, stdout);
		return 0;
	case OPTIONS_VERSION:
		puts("magmad " PACKAGE_VERSION);
		return 0;
	case OPTIONS_WRONG:
		return usage(error);
	case OPTIONS_RUN:
		break;
	}
	if (!options_check(o, &error))
		return usage(error);
	if (!config_load(o, &error) || !options_check(o, &error)) {
		fprintf(stderr, "magmad: %s\n", error->message);
		return 1;
	}
	/* SIGHUP reads it again, and the background is not where we were called */
	if (options_given(o, OPT_CONFIG)) {
		g_autofree char *file = g_canonicalize_filename(options_text(o, OPT_CONFIG), NULL);
		options_set(o, OPT_CONFIG, file, OPTION_LINE, "-c", NULL);
	}
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	log_open(LOG_TO_STDERR, "magmad");
	if (options_number(o, OPT_DAEMON) && !daemonise(&error)) {
		fprintf(stderr, "magmad: %s\n", error->message);
		return 1;
	}
	return run(o);
}
