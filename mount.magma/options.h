/* The command line of mount.magma, in both its forms, as a value. No I/O but the environment variable MAGMA_KEY. */
#pragma once
#include <glib.h>

#define MOUNT_DEFAULT_PORT 12000

typedef enum { MOUNT_RUN, MOUNT_HELP, MOUNT_VERSION } MountAction;

typedef struct {
	MountAction action;
	gboolean helper;              /* called as mount(8) calls its helpers: SPEC DIR [-sfnv] [-N ns] [-o opts] [-t type] */
	gboolean dry_run;             /* helper's -f */
	gboolean foreground;          /* own -f, -d */
	gboolean fuse_debug;
	gboolean verbose;
	char **hosts;                 /* HOST, HOST:PORT or [IP6]:PORT, as magma_resolve() takes them */
	guint16 port;                 /* for hosts without one */
	char *path;                   /* the directory that becomes the root: "/" or "/a/b" */
	char *dir;                    /* mount point as given */
	char *source;                 /* first column of /proc/mounts: SPEC verbatim */
	char *nspath;                 /* -N: mount namespace to mount in; NULL: ours */
	char *key;                    /* secret; magma_secret_free; NULL where a file or the environment has it */
	char *keyfile;
	gboolean proxy;
	gboolean readdirplus;
	gboolean read_only;
	GPtrArray *kernel;            /* char *: options for the kernel and fusermount3, "ro", "nosuid", "allow_other" ... */
	guint64 trace;                /* --debug: bits of MagmaTrace.on */
	guint call_timeout_ms;        /* 0: the client's default */
} MountOptions;

/* Parses argv (whose secrets become '*'). as_root: what defaults root gets (allow_other, suid, dev). NULL with *error set to the one line
 * for the user where the usage is wrong. */
MountOptions *mount_options_parse(int argc, char **argv, gboolean as_root, char **error);
void mount_options_free(MountOptions *o);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MountOptions, mount_options_free)

/* The text of --help. */
extern const char MOUNT_HELP_TEXT[];
