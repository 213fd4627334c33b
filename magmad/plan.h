/* What this start is: the first of a new network, a join, or a restart; and who the volcano is. Blocks (names are resolved, the key is derived); touches
 * nothing. Errors say what would be right; their code is EINVAL where the command line is wrong. */
#pragma once
#include "magmad/identity.h"
#include "magmad/options.h"

/* For a folder without a volcano: name, full name, address, key and storage from the options and what they default to. The result is pending. */
Identity *plan_first(const Options *o, const char *dir, GError **error);
/* For a folder with one: refuses what differs from what it knows. */
Identity *plan_restart(const Options *o, const char *dir, GError **error);
