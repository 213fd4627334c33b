/* The promises of a store's log side (StoreLogVt), as tests that run over every store that has one. */
#pragma once
#include "magmad/core/store.h"

typedef struct LogBed LogBed;

typedef struct {
	LogBed *(*new)(guint32 seed);         /* an empty store, open */
	void (*free)(LogBed *b);
	void (*step)(LogBed *b);              /* something that was coming happens */
	void (*kill)(LogBed *b);              /* as kill -9; opened again */
	void (*power)(LogBed *b);             /* as a power cut; opened again. NULL: cannot be played */
	void (*again)(LogBed *b);             /* closed and opened again */
	void (*push)(LogBed *b);              /* what may go behind the journal is brought there */
} LogBedVt;

struct LogBed {
	const LogBedVt *vt;
	Store *s;
	guint32 seed;
};

/* Registers the tests under path. */
void store_log_tests(const char *path, const LogBedVt *vt);
