/* Schedules by hand. Each makes a simulation in *s, whose failed says what was broken; the caller frees it. */
#pragma once
#include "tests/sim/raftsim.h"

void scene_figure_8(RaftSim **s, guint plant, gboolean verbose);
void scene_minority(RaftSim **s, guint plant, gboolean verbose);
void scene_reboot(RaftSim **s, guint plant, gboolean verbose);
void scene_heir(RaftSim **s, guint plant, gboolean verbose);
/* Microseconds from a proposal to its commit at the leader, and to everybody's knowing it. */
gint64 scene_commit_time(RaftSim *s, gint64 *everywhere);
gint64 scene_death_time(RaftSim *s, guint16 id);
