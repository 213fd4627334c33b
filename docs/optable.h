/* The generated parts of docs/protocol.md and docs/magma.lua. */
#pragma once
#include <glib.h>

/* text with what stands between its marker lines replaced by what the table of operations says; NULL: a marker is missing. Free with g_free. */
char *optable_update(const char *text);           /* of protocol.md */
char *optable_update_lua(const char *text);       /* of magma.lua */
