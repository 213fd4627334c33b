/* A few consensus cores whose messages and disks a test handles itself. Messages are delivered by kit_run, in order, unless `drop` says no. */
#pragma once
#include "magmad/raft/raft.h"

enum { KIT_NODES = 5 };

typedef struct {
	guint16 from, to;
	guint64 after;
	GByteArray *bytes;
} KitMsg;

typedef struct {
	guint16 id;
	Raft *raft;
	RaftState *disk;
	gboolean disk_stuck;
	gint64 disk_takes, disk_due;  /* us for what is asked at one time; due of that, 0: nothing is on its way */
	guint disk_batch;             /* so many of persists are on their way; what comes meanwhile has to wait */
	GQueue persists;              /* RaftPersist *, while stuck */
	guint64 durable;
	gint64 wake_at;
	GPtrArray *committed;         /* RaftEntry * */
	guint leads, lost, rivals;
	RaftRival rival;
	GPtrArray *cut;               /* RaftEntry *, of the last CUT; NULL: none */
	guint64 cut_commit;
	guint count[RAFT_MSG_LIMIT];  /* sent */
} KitNode;

typedef struct Kit Kit;
struct Kit {
	gint64 now;
	KitNode node[KIT_NODES + 1];
	GQueue net;                   /* KitMsg * */
	gboolean (*drop)(Kit *k, const KitMsg *p, const RaftMsg *m);
	guint32 gone;                 /* 1 << id: hears and says nothing */
};

Kit *kit_new(void);
void kit_free(Kit *k);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Kit, kit_free)
void kit_boot(Kit *k, guint16 id);       /* from its disk; 1 has bootstrapped, the others have nothing */
void kit_halt(Kit *k, guint16 id);
RaftStatus kit_step(Kit *k, guint16 id, const RaftEvent *ev);
void kit_run(Kit *k, gint64 us);
void kit_silence(Kit *k);                  /* what is under way is lost */
void kit_disk(Kit *k, guint16 id, gboolean stuck);
void kit_disk_takes(Kit *k, guint16 id, gint64 us);
/* Proposes at `at` a map of these bytes. */
RaftStatus kit_propose(Kit *k, guint16 at, const char *bytes, const char *voters, const char *members);
RaftStatus kit_force(Kit *k, guint16 at, const char *bytes, const char *members);
/* Bytes of the newest committed map there. */
const char *kit_map(Kit *k, guint16 id);
guint16 kit_leader(Kit *k);
