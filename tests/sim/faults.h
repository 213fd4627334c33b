/* What can go wrong, by name, and the schedule of it that a seed draws while trouble is on. Each kind can be asked for alone. */
#pragma once
#include "tests/sim/cluster.h"

typedef enum {
	FAULT_KILL,                   /* kill -9 between any two events; the host lives */
	FAULT_GONE,                   /* the host too: nothing answers, not even ICMP */
	FAULT_CUT,                    /* a session is lost */
	FAULT_REPEAT,                 /* a session is replaced, and what went over the old one still arrives, late, beside its repeat */
	FAULT_LATE,                   /* messages take up to 1.5 s and overtake each other */
	FAULT_SPLIT,                  /* volcanos are parted into two sets; nothing gets through, nobody is told */
	FAULT_ONEWAY,                 /* the same in one direction */
	FAULT_CLIENT,                 /* a client and some volcanos */
	FAULT_DRIFT,                  /* clocks run at up to 5% the wrong rate, and none agrees with another */
	FAULT_PAUSE,                  /* SIGSTOP, for 0.5 to 20 s */
	FAULT_SLOWDISK,               /* everything a volcano writes takes up to 3 s, for a while */
	FAULT_BADDISK,                /* it cannot be written: EIO */
	FAULT_UNOPENED,               /* it opens no store of a slice but its own, for a while */
	FAULT_DYING,                  /* a disk that reads nothing, and soon takes nothing; it may have forgotten what was not synced */
	FAULT_LOST,                   /* the whole folder; an empty one joins in its place */
	FAULT_KINDS
} FaultKind;

#define FAULTS_ALL ((1u << FAULT_KINDS) - 1)

const char *fault_name(FaultKind k);
/* "split,pause" as a set; 0 with a name that is none. */
guint32 faults_parse(const char *list);

typedef struct Faults Faults;
/* Draws a fault of the set every so often, in virtual time, until faults_free. */
Faults *faults_new(Cluster *c, guint32 set, gint64 every);
void faults_free(Faults *f);
