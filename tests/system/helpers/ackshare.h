/* acklog's load for a directory that many processes share, and what must hold of it afterwards. */
#ifndef ACKSHARE_H
#define ACKSHARE_H
#include <stdint.h>

/* One process of the load; processes are told apart by the name of their log. Exit code as of a program. */
int share_run(const char *dir, const char *log, uint64_t seed, double limit, const char *allow);
/* Compares dir with the logs of all processes that ever worked there. */
int share_check(const char *dir, char **logs, int count);
#endif
