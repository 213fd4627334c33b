/* What the small programs share: options, the secret, the client, how they fail. */
#pragma once
#include "libmagma/client/client.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNSAFE = 3 };

#define TOOL_PORT 12000

typedef struct {
	const char *name;             /* magma-ping */
	const char *args;             /* HOST[:PORT] */
	const char *summary;
	const GOptionEntry *entries;  /* its own options, or NULL */
	gboolean network;             /* has -k, -K and -p */
	guint min_args;
} ToolSpec;

/* Parses the options and wipes the secret from argv. Returns the remaining arguments (g_strfreev), or NULL when the program is to end with *status:
 * --version was given, or the usage is wrong and has been said. */
char **tool_parse(const ToolSpec *spec, int argc, char **argv, int *status);
/* One line on stderr, "magma-ping: ...". Returns status. */
int tool_fail(const ToolSpec *spec, int status, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* Wrong usage: the line, and what would be right. Returns EXIT_USAGE. */
int tool_usage(const ToolSpec *spec, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* A started client at host, with the secret from -k, -K or MAGMA_KEY. NULL: *status, and it has been said why. */
MagmaClient *tool_client(const ToolSpec *spec, const char *host, gboolean proxy, int *status);
