/* What cluster.c (volcanos), node.c (what one sees of the world), link.c (sessions) and simclient.c (clients) share. */
#pragma once
#include "tests/sim/cluster.h"
#include "tests/sim/faults.h"
#include "tests/sim/safety.h"

typedef struct Link Link;
typedef struct Node Node;

/* The core's session: one end of a link that is a volcano. */
struct Session {
	Link *link;
	guint side;
	void *data;
};

typedef struct {
	Node *node;                   /* or a client */
	guint64 life;                 /* of the node when the link was made */
	Session *session;
	SimClient *client;
	guint peer;                   /* client: which volcano */
	guint point;                  /* in the sets of cluster_block() */
	gint64 heard;                 /* anything of the other side */
	gint64 waiting_since;         /* something of this side is not acknowledged, though it was sent more than once; 0: nothing */
	char name[20];                /* for the trace; the client may be gone */
	gboolean closed;
} End;

struct Link {
	Cluster *c;
	End end[2];                   /* 0 began it */
	gboolean is_node, accepted, watched;
	gint64 began;
	GQueue stuck[2];              /* Carried *, to that side: nothing gets through */
	guint refs;                   /* messages on their way, and the cluster's list */
};

/* A slice, or a copy of one, on a disk. */
typedef struct {
	guint16 slice;                /* 0: whatever is at home here */
	MemDisk *disk;
	Store *store;                 /* NULL: not open */
} Holding;

/* The stores of a history that does not stand. */
typedef struct {
	guint64 time;                 /* 0: free */
	GPtrArray *held;              /* Holding *; their stores are open while core looks at them */
	GBytes *note;
} SimAside;

enum { ASIDES_MAX = 8 };

struct Node {
	Cluster *c;
	guint index;
	char name[16];
	MagmaAddr addr;
	GPtrArray *held;              /* Holding *: what it has of slices; the first one is its own */
	SimAside asides[ASIDES_MAX];
	guint asides_made;
	Volcano *volcano;
	guint64 life;
	gboolean started, ready, refused, dying, ending, leaving, aside, host_gone, emptied;      /* emptied: its folder was lost once; ending: told to; leaving: it has handed over */
	gint64 leave_away, born;      /* born: it was started */
	gint64 parted;                /* from the other volcanos, until then */
	guint refuse_opens;           /* so many stores of slices cannot be opened */
	char *stopped;                /* it said that it cannot go on */
	const char *awaited;          /* a test waits for a line with this */
	guint awaited_came;           /* so often it was said */
	gint rate_ppm;                /* of its clock, against the true time */
	gint64 ahead;
	gint64 slow_until, slow_by, bad_since, bad_until, unread_until, unopened_until;
	MemUnread unread;             /* until unread_until */
	gboolean forgets;             /* when its disk has failed it has what was synced, where nothing else is wrong */
	MagmaTrace trace;
	GHashTable *timers;           /* world handles */
	GBytes *kept;                 /* what a crash leaves */
	GQueue keeping;               /* Keep *, on their way to the disk */
};

enum { BLOCKED_MAX = 64 };

struct Cluster {
	World *world;
	ClusterConfig cfg;
	Node node[CLUSTER_VOLCANOS];
	GPtrArray *links;             /* Link * that are open somewhere */
	GPtrArray *clients;
	gboolean trouble, ending;
	Node *forgot;                 /* what its disk had not synced; NULL: nobody, or the others have told it all again */
	gint64 told_again;            /* that is so since then */
	guint64 kills;
	Faults *faults;               /* while trouble is on */
	Safety *safety;
	struct { guint id; guint64 from, to; } blocked[BLOCKED_MAX];
	guint nblocked, next_block, next_point;
	gint64 gone_since, back_since;                /* the volcano that proxies speak to: out of reach, with less than REST between; in reach */
	gint64 hindered, hindered_to, looked_at;      /* how long in all; until when; at what time that was last seen */
};

/* link.c */
Session *link_connect(Node *from, const MagmaAddr *node_addr);
Link *link_from_client(SimClient *s, guint volcano);
gboolean link_send(Link *l, guint side, GBytes *msg);
/* Both ends hear of it, each in its own time; what is on its way is lost at an end that has. */
void link_cut(Link *l);
/* Begun anew by side 0; side 1 still takes what is on its way, for a while. */
void link_replace(Link *l);
/* Something is not as it was: from now on its ends find out what. */
void link_look(Link *l);
/* The end is gone without a word. */
void link_end_died(Link *l, guint side);
void link_unref(Link *l);
gboolean link_end_alive(const Link *l, guint side);

/* cluster.c */
gboolean cluster_must_rest(Cluster *c);
gboolean cluster_blocked(const Cluster *c, guint from, guint to);

/* node.c */
extern const VolcanoIo node_io;
MemUnread node_unread(void *node);                     /* what its disk does not read just now */
void node_disk_dies(Node *n);                          /* one that does not read: now it takes nothing either */
gboolean node_alive(const Node *n, guint64 life);
static inline guint node_owner(const Node *n) { return n->index + 1; }
MemStoreConfig node_store_config(Node *n);
void holding_free(gpointer h);
/* With the first store of a volcano, empty. */
GPtrArray *node_holdings_new(void);
/* What it holds lies aside from now on, and it begins again from nothing. */
void node_set_aside(Node *n);
void node_aside_free(SimAside *a);
/* The disk under its stores. */
void node_store_later(void *user, gint64 delay, void (*fn)(void *arg), void *arg);
void node_keeping_dies(Node *n);

/* simclient.c */
guint64 sim_client_id(const SimClient *s);
void sim_client_link_open(SimClient *s, Link *l, guint volcano);
void sim_client_link_closed(SimClient *s, Link *l, guint volcano);
void sim_client_message(SimClient *s, Link *l, GBytes *msg);
