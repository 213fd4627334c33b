/* One content operation and what it does to its file, blocking: on a pool thread, or on the loop where it is known not to block. */
#pragma once
#include "magmad/core/store.h"
#include "magmad/store/pool.h"

typedef enum { CONTENT_READ, CONTENT_WRITE, CONTENT_TRUNCATE, CONTENT_FALLOCATE, CONTENT_SEEK, CONTENT_STAT, CONTENT_SYNC, CONTENT_DROP, CONTENT_BEGIN } ContentKind;

/* CONTENT_BEGIN: off, len go to the disk already, without waiting; mode: so many bytes in front of them, where they are there, leave the page cache. Only an open file. */

typedef struct {
	PoolJob job;
	ContentKind kind;
	guint64 off, len;             /* truncate: off is the size */
	guint32 mode;                 /* fallocate's mode, seek's whence */
	GBytes *data;                 /* of a write; of a read when done */
	/* the file: */
	int root;                     /* descriptor of DIR/content */
	MagmaFid fid;
	int fd;                       /* -1: to be opened first, where there is one; open when done (never after a drop) */
	gboolean sync_dir, sync_parents;      /* a sync makes the name durable too */
	gboolean reread;              /* where this opens the file: what is clean of it leaves the page cache first (reread.h) */
	/* results: */
	int error;
	gboolean sync_lost;           /* a sync failed with bytes or names not yet on disk: error says why */
	gboolean missing;             /* there is no file (afterwards) */
	guint64 size, blocks;         /* afterwards */
	guint64 blocks_before;        /* where this opened the file, or dropped it */
	MagmaTs mtime;
	guint64 found;                /* seek */
} ContentIo;

void content_io_run(ContentIo *io);
/* Without blocking: TRUE when it was done so. io->fd is open, io->size the file's. */
gboolean content_io_try_read(ContentIo *io);
