#include "magmad/log.h"
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* A process has one log; set before any thread exists. */
static LogTarget target;
static char name[64] = "magmad";

static void emit(int priority, char channel, const char *text)
{
	g_autofree char *clean = g_strdup(text);
	char tag[8] = "";

	for (char *p = clean; *p; p++)
		if ((guchar)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	if (channel)
		g_snprintf(tag, sizeof tag, "[%c] ", channel);
	if (target == LOG_TO_SYSLOG) {
		syslog(priority, "%s %s%s", name, tag, clean);
		return;
	}
	g_autoptr(GDateTime) now = g_date_time_new_now_local();
	g_autofree char *time = g_date_time_format(now, "%F %T");
	g_autofree char *line = g_strdup_printf("%s.%06d %s %s%s\n", time, g_date_time_get_microsecond(now), name, tag, clean);
	/* one write: lines of several threads do not mix; a log nobody takes is no reason to stop */
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return;
}

static void from_glib(const char *domain, GLogLevelFlags level, const char *message, gpointer user)
{
	if (level & (G_LOG_LEVEL_DEBUG | G_LOG_LEVEL_INFO))
		return;
	emit(level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL) ? LOG_ERR : level & G_LOG_LEVEL_WARNING ? LOG_WARNING : LOG_NOTICE, 0, message);
}

void log_open(LogTarget to, const char *who)
{
	target = to;
	g_strlcpy(name, who, sizeof name);
	if (to == LOG_TO_SYSLOG)
		openlog("magmad", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	g_log_set_default_handler(from_glib, NULL);
}

void log_reopen(void)
{
	if (target != LOG_TO_SYSLOG)
		return;
	closelog();
	openlog("magmad", LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void log_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	emit(LOG_NOTICE, 0, text);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	emit(LOG_ERR, 0, text);
}

void log_trace(void *user, char channel, const char *line)
{
	emit(LOG_DEBUG, channel, line);
}
