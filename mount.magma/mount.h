/* One mount: what its parts share. Everything belongs to the loop's thread. */
#pragma once
#define FUSE_USE_VERSION 35
#include <fuse3/fuse_lowlevel.h>
#include "libmagma/client/client.h"
#include "mount.magma/inodes.h"
#include "mount.magma/options.h"

typedef struct Mount Mount;
typedef struct Request Request;
typedef struct Device Device;
typedef struct StatfsGather StatfsGather;

struct Mount {
	const MountOptions *opts;
	char *dir;                    /* mount point, absolute */
	GMainContext *ctx;
	GMainLoop *loop;
	MagmaTrace trace;
	MagmaClient *client;
	struct fuse_session *se;
	Device *device;
	Inodes inodes;
	gboolean killpriv_v2;         /* the kernel does not ask for security.capability before a write */
	gboolean ending;              /* the kernel's connection is over or a signal came */

	/* request.c */
	Request *free_requests;
	guint nfree_requests;
	GQueue requests;                 /* waiting, oldest first */
	GQueue handles;               /* all there are: an unmount may leave some without their RELEASE */
	GQueue interrupted;           /* those of them whose process got a signal */
	guint watch;                  /* timer over both, 0 while there is nothing to watch */

	/* fresh.c */
	guint64 changes;              /* answers so far to what may change attributes */
	struct {
		pid_t tid;            /* thread whose last request was a lookup */
		gint64 answered;      /* monotonic */
		guint64 changes;      /* when the question was asked */
		MagmaAttr attr;       /* of what it found */
	} fresh[64];                  /* by tid: a power of two; a collision only costs a question */

	/* ops_fs.c */
	StatfsGather *statfs;         /* on its way, or the answer of the last second; NULL: neither */
	GByteArray *scratch;          /* for a reply that is built; valid until the next one */
};

extern const struct fuse_lowlevel_ops mount_ops;
