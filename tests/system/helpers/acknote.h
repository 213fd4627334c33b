/* What acklog's two kinds of load share: the log of what was begun and acknowledged, numbers from a seed, and the pauses that a log shows.
 *
 * A log has a line "B SEQ ..." before each operation, and "A SEQ MS" after it was acknowledged or "E SEQ MS ERRNO" after it failed; MS counts on
 * CLOCK_MONOTONIC, so that logs and what the shell notes (acklog now) can be compared. */
#ifndef ACKNOTE_H
#define ACKNOTE_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
	int fd;
	long seq;                     /* of the operation that is next or in flight */
	long acked, errors, allowed;  /* allowed: errors with the errno that a healthy file system may give here */
	int64_t begun, last;          /* ms: when the log was opened; of the last acknowledgement */
	int64_t gap, gap_at;          /* ms: the longest time without an acknowledgement, and when it ended */
	int64_t longest, longest_at;  /* ms: the same of single operations */
	int64_t op_begun;
	const char *allow;            /* its name, such as ENOSPC, or several with commas; may be NULL */
} Note;

int64_t now_ms(void);
uint64_t rnd(uint64_t *state);
/* n bytes that follow from the seed alone. */
void fill(unsigned char *p, size_t n, unsigned seed);
/* Writes all of it, or fails with errno set; a short write that says nothing counts as EIO. */
int write_all(int fd, const unsigned char *p, size_t n);

/* Opens (appends to) the log; SIGTERM ends the loads from here on. 0, or -1 after saying why. */
int note_open(Note *n, const char *log, const char *allow);
/* Has SIGTERM come, or the time run out? */
int note_over(const Note *n, double limit);
/* The text behind "B SEQ ". A log that cannot be written ends the process: nothing could be proven without it. */
void note_begin(Note *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void note_ack(Note *n);
/* errno says what happened. Prints a line with the time unless the error is the allowed one, and rests a moment, so that a dead mount gives no flood. */
void note_error(Note *n, const char *what);
/* Prints the summary. Exit code: were there errors? */
int note_end(Note *n);

/* acklog pause FROM TO LOG...: the longest time without an acknowledgement in any of the logs that begins in [FROM, TO], in ms; one that began before counts from FROM on. */
int note_pause(int64_t from, int64_t to, char **logs, int count);
/* acklog acked SINCE N LOG...: has each had N acknowledgements since then (at most some hundred)? Exit code 0 or 1. */
int note_acked(int64_t since, int wanted, char **logs, int count);
#endif
