#include "libmagma/base/trace.h"
#include <stdarg.h>
#include <string.h>

#define LINE_MAX_BYTES 2048     /* a dumped message with every field at its shortened length is below 1 KiB */

void magma_trace_say(const MagmaTrace *t, char channel, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;
	int n;

	if (!t || !t->sink)
		return;
	va_start(ap, fmt);
	n = g_vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof line)
		memcpy(line + sizeof line - 4, "...", 4);
	t->sink(t->user, channel, line);
}
