/* Looks at all rows of a quiet cluster, below the operations, and fails the world where a promise is broken: one tree, every count right, nothing left over. */
#pragma once
#include "tests/sim/cluster.h"

typedef struct Fsck Fsck;

/* All started volcanos must be up, clients idle, nothing open. */
Fsck *fsck_run(Cluster *c);
void fsck_free(Fsck *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fsck, fsck_free)
/* Number of links, or for a directory of entries; -1: there is no such flare. */
gint64 fsck_nlink(Fsck *f, guint64 ino);
gint64 fsck_entries(Fsck *f, guint64 ino);
/* Is anything left of operations (marks, commits, orphans, write intents)? The first such, or NULL. */
const char *fsck_unsettled(Cluster *c);
/* Two stores of one slice, byte for byte, rows and content files: NULL, or what the copy is or has. */
const char *fsck_compare(Store *owner, Store *copy);
/* Copies that the map calls in sync have the owner's bytes: NULL, or the first that has not. Of a quiet cluster; what is dropped at the owner may be dropped there a moment later. */
const char *fsck_copies(Cluster *c);
