/* How values look to people. Pure; any thread. Results are to be freed where they are char *. */
#pragma once
#include <glib.h>
#include "libmagma/base/addr.h"

/* "2 copies", or "1 copy (2 wanted)" where fewer are kept than wanted. */
char *text_copies(guint kept, guint wanted);
/* As ls shows a mode: "drwxr-xr-x" and NUL into out[11]. */
void text_mode(guint32 mode, char *out);
/* "regular file", "directory", ... */
const char *text_type(guint32 mode);
/* "3 days 04:05:06" of seconds. */
char *text_duration(guint64 seconds);
/* Bytes of a name as a terminal may see them: what is no printable UTF-8, and the backslash, becomes \ooo. */
void text_append_clean(GString *out, const char *p, gsize n);
char *text_clean(const char *p, gsize n);
/* MByte, rounded up where it is not 0. */
guint64 text_mbyte(guint64 bytes);
