/* Internal to base and its test: the portable way, so that it is tested on machines that never take it. */
#pragma once
#include <glib.h>

guint32 crc32c_portable(guint32 crc, const void *p, gsize n);
