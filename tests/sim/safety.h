/* What must hold between whole volcanos at every instant: the five safety properties of Raft, maps that are the same wherever they are committed, and nobody who may answer for a key while another may. Looked at after every
 * event, so it costs a microsecond where nothing has changed. */
#pragma once
#include "tests/sim/cluster.h"

typedef struct Safety Safety;

Safety *safety_new(Cluster *c);
void safety_free(Safety *s);
/* An event of that owner (world.h) has run: fails the world where a property is broken. */
void safety_look(Safety *s, guint owner);
/* For directed tests: how often a volcano began to lead, and maps were committed. */
typedef struct { guint64 leaders, maps; } SafetyStats;
SafetyStats safety_stats(const Safety *s);
