/* The model of one client alone: what a POSIX file system would have. */
#pragma once
#include "tests/sim/workload.h"
#include "libmagma/proto/list.h"

typedef struct MNode {
	MagmaFid fid;
	guint32 mode;
	guint nlink;                  /* names; of a directory 2 + directories in it */
	gboolean open, gone;          /* gone: no name and not open */
	struct MNode *parent;         /* directories */
	GHashTable *entries;          /* name -> MNode */
	GByteArray *data;
	char *target;
	GHashTable *xattrs;           /* name -> GBytes */
} MNode;

typedef struct {
	Cluster *c;
	World *w;
	const Workload *load;
	SimClient *client;
	MNode *root;
	GPtrArray *nodes;             /* all that ever were */
	guint ops;
} Alone;

/* Asks and waits; what comes back must be one of the errors of want (ended by -1), or 0 where want is empty. Returns it. */
int alone_ask(Alone *a, MagmaOp op, const void *req, MagmaAny *rep, const GArray *want);
void alone_check_node(Alone *a, MNode *n);
void alone_check_dir(Alone *a, MNode *n);
void alone_check_all(Alone *a);
void alone_check_lookup(Alone *a, MNode *dir, const char *name);
