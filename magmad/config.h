/* The configuration file: a GKeyFile with the group [magmad], whose keys are the long names of the options. */
#pragma once
#include "magmad/options.h"

/* Reads the file of -c, or the default one if it is there, into o; what the command line gave stays. A file that holds the secret must be its owner's alone. Errors name file and key. */
gboolean config_load(Options *o, GError **error);
/* The same for a file's text: for tests and the fuzzer. */
gboolean config_parse(Options *o, const char *file, const char *text, gsize len, GError **error);
