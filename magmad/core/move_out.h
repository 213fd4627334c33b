/* The inside of a move's source (move_out.c, move_rows.c, move_contents.c). */
#pragma once
#include "magmad/core/move.h"

#define STREAM_PIECE (256 * 1024)     /* bytes of records in one MOVE_ROWS, at most, and of opens in one MOVE_OPENS */

typedef enum { ANEW, COPY_ROWS, COPY_CONTENTS, DRAIN, LAST_ROWS, LAST_CONTENTS, LAST_MEMORY, LAST_OPENS, LAST_SYNC, READY, COMMITTING, WAITING } Phase_;

typedef struct {
	StoreTable table;
	MagmaFid fid;
} Page;

typedef struct {
	Slice *sl;
	guint64 generation;
} Ticket;

struct Move {
	Slice *sl;
	MagmaMove what;
	Phase_ phase;
	guint64 sequence;
	gboolean sending, frozen, unit;   /* unit: rows are being read; what is committed meanwhile goes behind them */
	GByteArray *out, *held;
	GByteArray *opens;            /* (u64 client, fid) each, still to be sent */
	MagmaKey at_key;
	guint64 at_ino;
	gboolean rows_done;
	Ticket *ticket;               /* of the call under way */
	GQueue pages;                 /* Page *: rows of directories and extended attributes still to be read */
	guint8 page_from[STORE_KEY_MAX];
	gsize page_fromlen;
	GQueue files;                 /* MagmaFid *: contents to be copied */
	GHashTable *queued;           /* set of ino in files */
	MagmaFid file;                /* being copied; ino 0: none */
	guint64 file_at, file_size;
	guint passes, again_left;
	Op *gather;
	MagmaTime frozen_at, again_at;
	Call *call;
	guint64 generation;           /* of this try: late answers of an earlier one are nobody's */
};

/* For a callback: which move, in which of its tries. */
Ticket *move_ticket(Move *m);
/* The move a callback belongs to; NULL if it is over. Frees the ticket. */
Move *move_redeem(Ticket *t);
gboolean move_has(Move *m, const MagmaKey *k);
/* One piece of the stream leaves; what follows waits for its answer (sending). */
void move_send(Move *m, MagmaOp op, const void *req, GBytes *body, MagmaTime limit);
MagmaTime move_patience(Move *m);
/* Goes on with whatever is next. */
void move_advance(Move *m);
void move_start_over(Move *m, const char *why);

/* move_rows.c */
void move_append_row(Move *m, const StoreRow *row);
/* Starts to read the next piece of rows. FALSE: there are none. */
gboolean move_read_rows(Move *m);
/* What this volcano keeps in memory and an heir needs, as rows; and who has what open. */
void move_append_memory(Move *m);
void move_gather_opens(Move *m);
gboolean move_send_opens(Move *m);           /* FALSE: all are there */

/* move_contents.c */
void move_queue_file(Move *m, const MagmaFid *fid);
/* One step of the file in work. FALSE: none in work and none waits. */
gboolean move_copy_contents(Move *m);
