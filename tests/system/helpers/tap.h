/* Checks of a file system: each is a function that runs in a child, in a fresh directory, and returns or fails. Results are "ok - TEXT" lines, which
 * tests/system/lib.sh takes over. */
#pragma once
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
	const char *text;           /* the promise it holds */
	void (*fn)(void);
} TapCheck;

/* Runs the checks whose text contains one of the filters (all with none) under dir. The exit code for main. */
int tap_main(const char *dir, const char *const *filters, const TapCheck *const *tables);

/* Ends the check as failed: where, what, errno. */
_Noreturn void tap_fail(const char *file, int line, const char *what);
/* Ends the check as not possible here. */
_Noreturn void tap_skip(const char *why);

/* The condition holds, or the check has failed. */
#define MUST(c) do { if (!(c)) tap_fail(__FILE__, __LINE__, #c); } while (0)
/* The call fails with that errno. */
#define FAILS(e, call) do { errno = 0; if ((call) != -1 || errno != (e)) tap_fail(__FILE__, __LINE__, #call " fails with " #e); } while (0)

/* Makes a regular file with n bytes of text. */
void put_file(const char *path, const void *data, size_t n);
void put_text(const char *path, const char *text);
/* The file has exactly these bytes. */
void same_file(const char *path, const void *data, size_t n);
void same_text(const char *path, const char *text);
/* Bytes that depend on seed and offset. */
void pattern(void *buf, size_t n, uint64_t seed, uint64_t off);
uint64_t rnd(uint64_t *state);
ino_t ino_of(const char *path);
/* Becomes uid, gid with these groups; for good. Paths must be relative from here on: the root directory may be closed to others. */
void become(uid_t uid, gid_t gid, size_t n, const gid_t *groups);
/* Runs fn in a child with those credentials; fails the check if it failed there. */
void as_user(uid_t uid, gid_t gid, size_t n, const gid_t *groups, void (*fn)(void));
