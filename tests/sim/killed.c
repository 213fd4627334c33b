/* A simulated kill -9 takes with it what was under way: the stores call nobody back any more, so what they were given to hold is nobody's. The leak checker cannot tell that from a leak
 * of the program, so it is off in the programs that kill. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }
