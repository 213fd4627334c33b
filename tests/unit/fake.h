/* A lava network in the test's own process: fake volcanos with real sessions on loopback, a tree of flares, and hooks that lose, refuse and delay. */
#pragma once
#include "libmagma/client/client.h"
#include "libmagma/net/net.h"

typedef struct World World;
typedef struct Fake Fake;

/* What a hook makes of a request. */
typedef enum { SERVE, DROP, SERVE_AND_LOSE_REPLY, REFUSE } Verdict;
typedef struct {
	Fake *at;                     /* whom it reached */
	MagmaConn *conn;
	MagmaHdr h;
	guint64 ino;                  /* of the first fid */
	MagmaKey key;
	gboolean forwarded;
} Seen;
typedef Verdict (*Hook)(void *user, const Seen *s, guint32 *error);

struct Fake {
	World *world;
	MagmaNet *net;
	MagmaAddr addr;
	guint16 id;
	guint64 boot;
	gboolean no_hello;
	MagmaMap *stale;              /* the map that it still goes by, owned; NULL: the world's */
	GHashTable *opens;            /* ino: who has it open does not matter here */
	guint reopened, executed;
};

struct World {
	GMainContext *ctx;
	guint8 psk[MAGMA_PSK_LEN];
	MagmaMap *map;
	Fake *fakes[4];
	guint n;
	GPtrArray *flares;            /* Flare */
	GArray *seen;                 /* Seen: every request, in order of arrival */
	Hook hook;
	void *hook_user;
	guint64 next_ino;
	const char *unsafe;           /* what PING says is not safe */
	GHashTable *done;             /* "client:xid" of what was executed: as stored replies, it survives restarts and moves with the keys */
};

typedef struct {
	MagmaAttr attr;
	guint64 parent;
	char *name;
} Flare;

/* n volcanos with equal slices on 127.0.0.1. */
World *world_new(guint n);
World *world_new_with_secret(guint n, const char *secret);
void world_free(World *w);
void fake_stop(Fake *f);
/* Again at the same address, with another boot and no memory of opens. */
void fake_restart(Fake *f);
/* The map changes: slices shift by one volcano; the epoch grows. */
void world_rotate(World *w);
/* path's parent must be there; the key is that of born (NULL: of path). */
Flare *world_make(World *w, const char *path, const char *born, guint32 mode);
Fake *world_owner(World *w, const MagmaKey *key);
/* Requests of that op that arrived so far. */
guint world_count(World *w, MagmaOp op);
const Seen *world_nth(World *w, MagmaOp op, guint nth);
MagmaClientConfig world_config(World *w, const MagmaAddr *hosts, guint n);
MagmaClient *world_client(World *w, gboolean proxy);
/* Runs the context until *flag or for at most that long; whether it was in time. */
gboolean run_until(World *w, const gboolean *flag, guint ms);
void run_for(World *w, guint ms);
