/* Two hosts with a session between them, and messages that say what they are. */
#pragma once
#include "libmagma/xport/internal.h"
#include "tests/sim/simnet.h"

typedef struct {
	SimNet *net;
	SimHost *a, *b;
} Pair;

/* What a host has got: each number exactly once. */
typedef struct {
	guint8 *got;
	guint n, want;
} Inbox;

extern guint64 pair_seed;

/* Takes the seed from the first argument or MAGMA_SEED, and prints it. */
void pair_test_init(int *argc, char ***argv);
Pair pair_new(void);
gboolean open_both(void *user);
/* Connects a to b and waits for both. */
MagmaConn *pair_open(Pair *p);
/* A message that says what it is: number, length, and bytes that follow from both. */
GBytes *make_message(guint32 number, gsize n);
guint32 check_message(GBytes *msg);
/* Collects what comes to h in box, each number below want exactly once. */
void inbox_attach(Inbox *box, SimHost *h, guint want);
gboolean inbox_full(void *user);
void send_number(MagmaConn *c, guint32 number, gsize n);
