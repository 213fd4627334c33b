#define FUSE_USE_VERSION 35
#include "mount.magma/log.h"
#include <fuse3/fuse_lowlevel.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#define QUIET_US (10 * G_USEC_PER_SEC)
#define CAUSES 64                     /* remembered at a time; a power of two */

/* The process has one place to complain to, so this is the one module with state of its own. Loop thread only. */
static gboolean in_syslog, keep_fuse;
static char fuse_line[256];
static struct { guint cause; gint64 said; } causes[CAUSES];

void log_to_syslog(void)
{
	openlog("mount.magma", LOG_PID, LOG_DAEMON);
	in_syslog = TRUE;
}

static void say(int level, const char *line)
{
	if (in_syslog)
		syslog(level, "%s", line);
	else
		fprintf(stderr, "mount.magma: %s\n", line);
}

void log_say(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	g_autofree char *line = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	say(LOG_WARNING, line);
}

void log_cause(guint cause, const char *fmt, ...)
{
	guint at = cause % CAUSES;
	gint64 now = g_get_monotonic_time();
	if (causes[at].said && causes[at].cause == cause && now - causes[at].said < QUIET_US)
		return;
	causes[at].cause = cause;
	causes[at].said = now;
	va_list ap;
	va_start(ap, fmt);
	g_autofree char *line = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	say(LOG_WARNING, line);
}

void log_trace(void *user, char channel, const char *line)
{
	g_autofree char *text = g_strdup_printf("[%c] %s", channel, line);
	say(LOG_DEBUG, text);
}

static void fuse_says(enum fuse_log_level level, const char *fmt, va_list ap)
{
	g_autofree char *line = g_strdup_vprintf(fmt, ap);
	g_strchomp(line);
	if (keep_fuse)
		g_strlcpy(fuse_line, g_str_has_prefix(line, "fuse: ") ? line + 6 : line, sizeof fuse_line);
	else
		say(level <= FUSE_LOG_ERR ? LOG_ERR : LOG_DEBUG, line);
}

void log_take_fuse(gboolean keep)
{
	keep_fuse = keep;
	fuse_line[0] = 0;
	fuse_set_log_func(fuse_says);
}

const char *log_fuse_line(void)
{
	return fuse_line[0] ? fuse_line : "the mount was refused";
}
