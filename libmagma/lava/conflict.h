/* What a volcano has set aside: the stores of a history that does not stand, after both of two volcanos had gone on alone (docs/reliability.md). Named by the time of that. Pure; any thread. */
#pragma once
#include <glib.h>
#include "libmagma/base/wire.h"

typedef enum {
	MAGMA_CONFLICT_WAITING,       /* to be compared with what stands */
	MAGMA_CONFLICT_COMPARING,
	MAGMA_CONFLICT_COMPARED,
	MAGMA_CONFLICT_UNREADABLE,    /* the log of that volcano says why */
	MAGMA_CONFLICT_PHASES,
} MagmaConflictPhase;

typedef struct {
	guint64 time;                 /* seconds since 1970, below 2^36 */
	MagmaConflictPhase phase;
	guint64 differing;            /* flares that differ from what stands, so far */
} MagmaConflict;

#define MAGMA_CONFLICT_TIME_TEXT 20
/* "20260131T091244Z" into out[MAGMA_CONFLICT_TIME_TEXT]; returns out. */
char *magma_conflict_time_text(guint64 time, char *out);
/* Exactly such a text; FALSE for any other. */
gboolean magma_conflict_time_parse(const char *text, guint64 *time);
/* "compared, 3 flares differ"; to be freed. */
char *magma_conflict_text(const MagmaConflict *c);
/* In lists: u64 time, u8 phase, u64 differing. */
void magma_put_conflict(GByteArray *out, const MagmaConflict *c);
void magma_get_conflict(MagmaReader *r, MagmaConflict *out);
