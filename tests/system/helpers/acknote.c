#include "acknote.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REST_MS = 50, TAIL = 65536 };

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

uint64_t rnd(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void fill(unsigned char *p, size_t n, unsigned seed)
{
	uint64_t s = seed;
	for (size_t i = 0; i < n; i += 8) {
		uint64_t v = rnd(&s);
		memcpy(p + i, &v, n - i < 8 ? n - i : 8);
	}
}

int write_all(int fd, const unsigned char *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);
		if (w == 0) errno = EIO;
		if (w <= 0) return -1;
		p += w;
		n -= w;
	}
	return 0;
}

/* Is name one of those in a list with commas? */
static int listed(const char *list, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (!strncmp(p, name, n) && (!p[n] || p[n] == ',')) return 1;
	return 0;
}

int note_open(Note *n, const char *log, const char *allow)
{
	sigset_t term;
	int64_t now = now_ms();
	*n = (Note){ .fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), .begun = now, .last = now, .allow = allow };
	if (n->fd < 0) { perror(log); return -1; }
	/* It is looked for between operations only: a waiting one would end in EINTR. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	return 0;
}

int note_over(const Note *n, double limit)
{
	sigset_t pending;
	return now_ms() - n->begun >= limit * 1000 || (sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1);
}

static void put(Note *n, const char *line, int k)
{
	if (write(n->fd, line, k) == k) return;
	printf("FAILED the log cannot be written: %s\n", strerror(errno));
	exit(3);
}

void note_begin(Note *n, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int k = snprintf(line, sizeof line, "B %ld ", n->seq);
	va_start(ap, fmt);
	k += vsnprintf(line + k, sizeof line - k, fmt, ap);
	va_end(ap);
	line[k++] = '\n';
	put(n, line, k);
	n->op_begun = now_ms();
}

void note_ack(Note *n)
{
	char line[64];
	int64_t now = now_ms();
	put(n, line, snprintf(line, sizeof line, "A %ld %" PRId64 "\n", n->seq, now));
	if (now - n->last > n->gap) n->gap = now - n->last, n->gap_at = now;
	if (now - n->op_begun > n->longest) n->longest = now - n->op_begun, n->longest_at = now;
	n->last = now;
	n->acked++;
	n->seq++;
}

void note_error(Note *n, const char *what)
{
	int e = errno;
	const char *name = strerrorname_np(e) ? strerrorname_np(e) : "?";
	char line[96];
	int64_t now = now_ms();
	put(n, line, snprintf(line, sizeof line, "E %ld %" PRId64 " %s\n", n->seq, now, name));
	if (listed(n->allow, name)) n->allowed++;
	else if (n->errors++ < 20) {
		printf("FAILED operation %ld: %s: %s (at %.3f s, after %" PRId64 " ms)\n", n->seq, what, name, (now - n->begun) / 1e3, now - n->op_begun);
		fflush(stdout);
	}
	n->seq++;
	nanosleep(&(struct timespec){ .tv_nsec = REST_MS * 1000000 }, NULL);
}

int note_end(Note *n)
{
	int64_t now = now_ms();
	if (now - n->last > n->gap) n->gap = now - n->last, n->gap_at = now;
	printf("%ld operations, the longest took %.3f s (at %.1f s), longest pause %" PRId64 " ms (until %.1f s), %ld errors", n->acked, n->longest / 1e3,
		(n->longest_at ? n->longest_at - n->begun : 0) / 1e3, n->gap, (n->gap_at ? n->gap_at - n->begun : 0) / 1e3, n->errors);
	if (n->allow) printf(", %ld times %s", n->allowed, n->allow);
	printf("\n");
	return n->errors != 0;
}

/* --- reading logs --- */

int note_pause(int64_t from, int64_t to, char **logs, int count)
{
	int64_t worst = 0;
	for (int i = 0; i < count; i++) {
		FILE *in = fopen(logs[i], "r");
		char line[256];
		int64_t last = from, at;
		if (!in) { perror(logs[i]); return 1; }
		while (last <= to && fgets(line, sizeof line, in)) {
			if (sscanf(line, "A %*d %" SCNd64, &at) != 1) continue;
			/* what was waited for before FROM, an fsync that takes long, say, is not what happened then */
			if (at > last) {
				if (at - last > worst) worst = at - last;
				last = at;
			}
		}
		/* none came any more: it lasts until the end of the interval */
		if (to - last > worst) worst = to - last;
		fclose(in);
	}
	printf("%" PRId64 "\n", worst);
	return 0;
}

/* How many, as far as the end of the log tells. */
static int acked_since(const char *log, int64_t since)
{
	FILE *in = fopen(log, "r");
	char line[256];
	int64_t at;
	int n = 0;
	if (!in) return 0;
	/* a first line cut in two does not parse */
	if (fseek(in, -TAIL, SEEK_END) != 0) rewind(in);
	while (fgets(line, sizeof line, in))
		if (sscanf(line, "A %*d %" SCNd64, &at) == 1 && at > since) n++;
	fclose(in);
	return n;
}

int note_acked(int64_t since, int wanted, char **logs, int count)
{
	for (int i = 0; i < count; i++) if (acked_since(logs[i], since) < wanted) return 1;
	return 0;
}
