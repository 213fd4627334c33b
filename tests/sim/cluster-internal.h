/* What cluster.c (volcanos), link.c (sessions) and simclient.c (clients) share. */
#pragma once
#include "tests/sim/cluster.h"

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
	char name[20];                /* for the trace; the client may be gone */
	gboolean closed;
} End;

struct Link {
	Cluster *c;
	End end[2];                   /* 0 began it */
	gboolean is_node, accepted;
	guint refs;                   /* messages on their way, and the cluster's list */
};

/* The store of another slice than the one made for the volcano. */
typedef struct {
	guint16 slice;
	MemDisk *disk;
	Store *store;                 /* NULL: not open */
} SideStore;

enum { SIDE_STORES_MAX = 16, ASIDES_MAX = 8 };

/* The stores of a history that does not stand. */
typedef struct {
	guint64 time;                 /* 0: free */
	MemDisk *disk[SIDE_STORES_MAX + 1];
	Store *store[SIDE_STORES_MAX + 1];    /* NULL: not open */
	guint n;
	GBytes *note;
} SimAside;

struct Node {
	Cluster *c;
	guint index;
	char name[16];
	MagmaAddr addr;
	MemDisk *disk;
	Store *store;                 /* NULL: down */
	SideStore side[SIDE_STORES_MAX];   /* disk NULL: free */
	SimAside asides[ASIDES_MAX];
	guint asides_made;
	Volcano *volcano;
	guint64 life;
	gboolean started, ready, refused, dying, ending, leaving, aside;      /* ending: told to; leaving: it has handed over */
	gint64 parted;                /* from the other volcanos, until then */
	gint64 leave_away;
	MagmaTrace trace;
	GHashTable *timers;           /* world handles */
	GBytes *kept;                 /* what a crash leaves */
	GQueue keeping;               /* Keep *, on their way to the disk */
};

struct Cluster {
	World *world;
	ClusterConfig cfg;
	Node node[CLUSTER_VOLCANOS];
	GPtrArray *links;             /* Link * that are open somewhere */
	GPtrArray *clients;
	gboolean trouble;
	guint64 kills;
	gint64 gone_since, back_since;                /* the volcano that proxies speak to: out of reach, with less than REST between; in reach */
	gint64 hindered, hindered_to, looked_at;      /* how long in all; until when; at what time that was last seen */
};

/* link.c */
Session *link_connect(Node *from, const MagmaAddr *node_addr);
Link *link_from_client(SimClient *s, guint volcano);
gboolean link_send(Link *l, guint side, GBytes *msg);
/* Both ends hear of it, each in its own time; what is on its way is lost at an end that has. */
void link_cut(Link *l);
/* The end is gone without a word. */
void link_end_died(Link *l, guint side);
void link_unref(Link *l);
gboolean link_end_alive(const Link *l, guint side);

/* cluster.c */
gboolean node_alive(const Node *n, guint64 life);

/* simclient.c */
guint64 sim_client_id(const SimClient *s);
void sim_client_link_open(SimClient *s, Link *l, guint volcano);
void sim_client_link_closed(SimClient *s, Link *l, guint volcano);
void sim_client_message(SimClient *s, Link *l, GBytes *msg);
