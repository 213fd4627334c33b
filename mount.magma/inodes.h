/* The flares the kernel knows, by node id: counted as the kernel counts them, and with the name they were last seen under, from which the
 * path (and so the key) of a new child is guessed. Loop thread only. */
#pragma once
#include "libmagma/flare/flare.h"

typedef struct Inode Inode;
struct Inode {
	MagmaFid fid;
	guint64 lookups;              /* as the kernel counts them */
	guint refs;                   /* lookups != 0, children, handles, requests: one each */
	guint32 type;                 /* S_IFMT bits */
	guint32 flags;                /* MAGMA_ATTR_* of the last attributes seen */
	Inode *parent;                /* reference; NULL: the root, or unknown */
	char *name;                   /* in parent */
	Inode *next;                  /* in its hash bucket */
};

typedef struct {
	Inode **buckets;
	guint shift;                  /* 2^(64-shift) buckets */
	guint count;
	Inode *root;
	char *root_path;              /* of the network: "/" or "/a/b" */
} Inodes;

#define INODE_ROOT_NODEID 1           /* FUSE_ROOT_ID */

/* root_path is copied. */
void inodes_init(Inodes *t, const MagmaFid *root, const char *root_path);
void inodes_clear(Inodes *t);

/* The flare was found as name in parent (both NULL: keep what is known): finds or adds it and counts one lookup, which the reply to the
 * kernel promises. attr refreshes what is kept of it. The result lives until the count is forgotten. */
Inode *inodes_enter(Inodes *t, Inode *parent, const char *name, const MagmaAttr *attr);
/* NULL: not known. */
Inode *inodes_find(const Inodes *t, const MagmaFid *fid);
/* Forgets n lookups; more than there are counts as all. */
void inodes_forget(Inodes *t, Inode *i, guint64 n);
Inode *inode_ref(Inode *i);
void inode_unref(Inodes *t, Inode *i);
/* Its name and parent are these from now on (rename). */
void inodes_move(Inodes *t, Inode *i, Inode *parent, const char *name);
/* Renamed with RENAME_EXCHANGE. */
void inodes_swap(Inodes *t, Inode *a, Inode *b);

static inline guint64 inode_nodeid(const Inodes *t, const Inode *i) { return i == t->root ? INODE_ROOT_NODEID : (guint64)(gsize)i; }
static inline Inode *inode_of(const Inodes *t, guint64 nodeid) { return nodeid == INODE_ROOT_NODEID ? t->root : (Inode *)(gsize)nodeid; }

/* Its path in the network as last seen, cut at MAGMA_PATH_MAX bytes, into out[MAGMA_PATH_MAX]; returns the length. */
gsize inode_path(const Inodes *t, const Inode *i, char *out);
/* The key a child called name would be born with. */
MagmaKey inode_child_key(const Inodes *t, const Inode *dir, const char *name);
