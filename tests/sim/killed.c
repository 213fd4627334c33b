/* A simulated kill -9 takes with it what was under way: the store calls nobody back any more, so what the mirror (or the test in its place) had given it to hold is nobody's. That is no leak of the program.
 * (magmad/core keeps such things in a table of its own and frees them with the volcano.) */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:magmad/mirror/\nleak:tests/sim/mirror_\n"; }
