/* DIR has: t/0..3     tokens appended by everybody; each line must be there once, and those of one process in order
 *          n/NAME     a counter of each process; n/shared.GROUP.0..1 counters changed under fcntl locks by all processes of one mount, whose names
 *                     begin with GROUP and a dot (locks are kept within one mount)
 *          f/NAME.k   files replaced the safe way: written beside, fsynced, renamed over; always one whole version
 *          r0..r3     names of each process's items, which are linked, unlinked and renamed between these; an item's links are its names
 * Unlike acklog check, what was in flight or failed must be done or not done, never half. */
#include "ackshare.h"
#include "acknote.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOKENS = 4, SHARED = 2, FILES = 4, VERSIONS = 8, ITEMS = 6, DIRS = 4, MAX_TOKEN = 400, MAX_FILE = 100000, ITEM_SIZE = 3000, NAME_LEN = 64 };

typedef enum { UNDONE, DONE, UNSURE } Outcome;
/* kind: T token, C counter, F file, R rename, L link, U unlink. a: which file, counter or item; from, to: directories of an item. */
typedef struct { char kind; int a, from, to; unsigned len, seed; } Op;
typedef struct { unsigned len, seed; } Version;

/* What one process has done, as it goes along and as its log tells. */
typedef struct {
	char name[NAME_LEN];
	Op *ops;                                   /* by sequence number; the model only */
	Outcome *outcome;
	int *seen;                                 /* how often the token was found */
	long n, room;
	long lo[1 + SHARED], hi[1 + SHARED];       /* how often each counter was changed, at least and at most; [0] is its own */
	Version version[FILES][VERSIONS];          /* which of them a file may be: [0], or those it may have become since */
	int versions[FILES];
	unsigned mask[ITEMS], mask2[ITEMS];        /* in which directories an item has a name: this or that */
} Proc;

static unsigned item_seed(const char *name, int item)
{
	unsigned h = 2166136261u + item;
	while (*name) h = (h ^ (unsigned char)*name++) * 16777619u;
	return h;
}

static void shared_path(char *out, size_t room, const char *name, int which)
{
	snprintf(out, room, "n/shared.%.*s.%d", (int)strcspn(name, "."), name, which);
}

static const char *base(const char *log) { return strrchr(log, '/') ? strrchr(log, '/') + 1 : log; }

static size_t token(char *out, const char *name, long seq, const Op *o)
{
	unsigned char bytes[MAX_TOKEN / 2];
	size_t k = snprintf(out, NAME_LEN + 32, "%s %ld ", name, seq);
	fill(bytes, o->len, o->seed);
	for (unsigned i = 0; i < o->len; i++) k += sprintf(out + k, "%02x", bytes[i]);
	out[k++] = '\n';
	return k;
}

static void proc_init(Proc *p, const char *log)
{
	memset(p, 0, sizeof *p);
	snprintf(p->name, sizeof p->name, "%s", base(log));
	for (int i = 0; i < ITEMS; i++) p->mask[i] = p->mask2[i] = 1;
}

static unsigned changed(unsigned mask, const Op *o)
{
	switch (o->kind) {
	case 'R': return (mask & ~(1u << o->from)) | 1u << o->to;
	case 'L': return mask | 1u << o->to;
	case 'U': return mask & ~(1u << o->from);
	}
	return mask;
}

static void settle(Proc *p, const Op *o, Outcome how)
{
	switch (o->kind) {
	case 'C':
		p->hi[o->a]++;
		if (how == DONE) p->lo[o->a]++;
		break;
	case 'F':
		if (how == DONE) p->versions[o->a] = 0;
		if (p->versions[o->a] < VERSIONS) p->version[o->a][p->versions[o->a]++] = (Version){ o->len, o->seed };
		break;
	case 'R': case 'L': case 'U':
		p->mask2[o->a] = changed(p->mask[o->a], o);
		if (how == DONE) p->mask[o->a] = p->mask2[o->a];
		break;
	}
}

/* --- the load --- */

typedef struct { Proc p; int kept[TOKENS]; long own_lo, own_hi; } Load;

static int whole_file(const char *path, unsigned len, unsigned seed)
{
	static unsigned char buf[MAX_FILE];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), rc;
	if (fd < 0) return -1;
	fill(buf, len, seed);
	rc = write_all(fd, buf, len) || fsync(fd) ? -1 : 0;
	int e = errno;
	if (close(fd) != 0 && !rc) return -1;
	errno = e;
	return rc;
}

/* One write, since only a whole one is one operation. Odd seeds use a descriptor that stays open over all faults. */
static int append(Load *l, const Op *o, long seq)
{
	char text[MAX_TOKEN + NAME_LEN + 32], path[32];
	size_t n = token(text, l->p.name, seq, o);
	int keep = o->seed & 1, fd = keep ? l->kept[o->a] : -1;
	snprintf(path, sizeof path, "t/%d", o->a);
	if (fd < 0) fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (fd < 0) return -1;
	ssize_t w = write(fd, text, n);
	if (w >= 0 && (size_t)w < n) errno = EIO, w = -1;
	int e = errno, bad = w < 0;
	l->kept[o->a] = keep && !bad ? fd : keep ? -1 : l->kept[o->a];
	if ((!keep || bad) && close(fd) != 0 && !bad) return -1;
	errno = e;
	return bad ? -1 : 0;
}

/* Reads the number, adds one and writes it back; other processes are kept out by a lock. Its own must be what it wrote last: EBADMSG otherwise. */
static int count(Load *l, const Op *o)
{
	char path[NAME_LEN + 16], text[24] = "";
	if (o->a) shared_path(path, sizeof path, l->p.name, o->a - 1);
	else snprintf(path, sizeof path, "n/%s", l->p.name);
	int fd = open(path, O_RDWR | O_CREAT, 0644), rc = -1;
	if (fd < 0) return -1;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	ssize_t n = o->a && fcntl(fd, F_SETLKW, &lock) != 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
	long v = n > 0 ? atol(text) : 0;
	if (n >= 0 && !o->a && (v < l->own_lo || v > l->own_hi)) errno = EBADMSG, n = -1;
	if (n >= 0) {
		int k = snprintf(text, sizeof text, "%020ld\n", v + 1);
		if (!o->a) l->own_lo = v, l->own_hi = v + 1;
		rc = pwrite(fd, text, k, 0) == k ? 0 : -1;
		if (!rc && o->seed % 4 == 0) rc = fdatasync(fd);
		if (!rc && !o->a) l->own_lo = v + 1;
	}
	int e = errno;
	if (close(fd) != 0 && !rc) return -1;
	errno = e;
	return rc;
}

static int perform(Load *l, const Op *o, long seq)
{
	char p[NAME_LEN + 16], p2[NAME_LEN + 16];
	switch (o->kind) {
	case 'T': return append(l, o, seq);
	case 'C': return count(l, o);
	case 'F':
		snprintf(p, sizeof p, "f/%s.%d.new", l->p.name, o->a);
		snprintf(p2, sizeof p2, "f/%s.%d", l->p.name, o->a);
		return whole_file(p, o->len, o->seed) ? -1 : rename(p, p2);
	}
	snprintf(p, sizeof p, "r%d/%s.%d", o->from, l->p.name, o->a);
	snprintf(p2, sizeof p2, "r%d/%s.%d", o->to, l->p.name, o->a);
	return o->kind == 'R' ? rename(p, p2) : o->kind == 'L' ? link(p, p2) : unlink(p);
}

/* An item operation that can succeed, or one of the others. */
static Op choose(const Proc *p, uint64_t *seed)
{
	static const char kinds[] = "TTTCCFRRLU";
	for (;;) {
		Op o = { .kind = kinds[rnd(seed) % (sizeof kinds - 1)], .from = rnd(seed) % DIRS, .to = rnd(seed) % DIRS, .seed = (unsigned)rnd(seed) };
		unsigned r = (unsigned)rnd(seed), mask;
		switch (o.kind) {
		case 'T': o.a = r % TOKENS; o.len = 1 + (r >> 8) % (MAX_TOKEN / 2); return o;
		case 'C': o.a = r % (1 + SHARED); return o;
		case 'F': o.a = r % FILES; o.len = 1 + (r >> 8) % (r & 64 ? 4000 : MAX_FILE); return o;
		}
		o.a = r % ITEMS;
		mask = p->mask[o.a];
		int source = mask >> o.from & 1, target = mask >> o.to & 1;
		if (mask == p->mask2[o.a] && source && (o.kind == 'U' ? mask & (mask - 1) : !target)) return o;
	}
}

static int prepare(Load *l, const char *dir)
{
	static const char *const dirs[] = { "t", "n", "f", "r0", "r1", "r2", "r3" };
	char path[NAME_LEN + 16];
	if (chdir(dir) != 0) { perror(dir); return -1; }
	umask(022);
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		if (mkdir(dirs[i], 0755) != 0 && errno != EEXIST) { perror(dirs[i]); return -1; }
	for (int i = 0; i < ITEMS; i++) {
		snprintf(path, sizeof path, "r0/%s.%d", l->p.name, i);
		if (whole_file(path, ITEM_SIZE, item_seed(l->p.name, i)) != 0) { perror(path); return -1; }
	}
	for (int i = 0; i < TOKENS; i++) l->kept[i] = -1;
	return 0;
}

int share_run(const char *dir, const char *log, uint64_t seed, double limit, const char *allow)
{
	static Load l;
	Note n;
	proc_init(&l.p, log);
	if (note_open(&n, log, allow) != 0 || prepare(&l, dir) != 0) return 1;
	n.last = now_ms();
	while (!note_over(&n, limit)) {
		Op o = choose(&l.p, &seed);
		char what[64];
		note_begin(&n, "%c %d %d %d %u %u", o.kind, o.a, o.from, o.to, o.len, o.seed);
		int rc = perform(&l, &o, n.seq);
		settle(&l.p, &o, rc == 0 ? DONE : UNSURE);
		if (rc == 0) { note_ack(&n); continue; }
		snprintf(what, sizeof what, "shared %c %d from %d to %d", o.kind, o.a, o.from, o.to);
		note_error(&n, what);
	}
	return note_end(&n);
}

/* --- comparing --- */

static int bad;
static void wrong(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void wrong(const char *path, const char *fmt, ...)
{
	va_list ap;
	if (bad++ >= 20) return;
	printf("WRONG %s: ", path);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static int proc_read(Proc *p, const char *log)
{
	FILE *in = fopen(log, "r");
	char line[256];
	long seq;
	Op o;
	if (!in) { perror(log); return -1; }
	proc_init(p, log);
	while (fgets(line, sizeof line, in)) {
		if (sscanf(line, "B %ld %c %d %d %d %u %u", &seq, &o.kind, &o.a, &o.from, &o.to, &o.len, &o.seed) == 7 && seq == p->n) {
			if (p->n == p->room) {
				p->room = p->room ? p->room * 2 : 1024;
				p->ops = realloc(p->ops, p->room * sizeof *p->ops);
				p->outcome = realloc(p->outcome, p->room * sizeof *p->outcome);
			}
			p->outcome[p->n] = UNDONE;
			p->ops[p->n++] = o;
		} else if (sscanf(line, "A %ld", &seq) == 1 && seq == p->n - 1) {
			p->outcome[seq] = DONE;
			settle(p, &p->ops[seq], DONE);
		} else if (sscanf(line, "E %ld", &seq) == 1 && seq == p->n - 1) {
			p->outcome[seq] = UNSURE;
			settle(p, &p->ops[seq], UNSURE);
		}
	}
	fclose(in);
	if (p->n && p->outcome[p->n - 1] == UNDONE) settle(p, &p->ops[p->n - 1], p->outcome[p->n - 1] = UNSURE);
	p->seen = calloc(p->n + 1, sizeof *p->seen);
	return 0;
}

static Proc *find(Proc *p, int n, const char *name)
{
	for (int i = 0; i < n; i++) if (!strcmp(p[i].name, name)) return &p[i];
	return NULL;
}

static void compare_tokens(Proc *procs, int n, int file)
{
	char path[32], name[NAME_LEN], want[MAX_TOKEN + NAME_LEN + 32], *line = NULL;
	size_t room = 0;
	ssize_t len;
	long seq, last[n], at = 0;
	snprintf(path, sizeof path, "t/%d", file);
	FILE *in = fopen(path, "r");
	if (!in) { wrong(path, "%s", strerror(errno)); return; }
	for (int i = 0; i < n; i++) last[i] = -1;
	for (; (len = getline(&line, &room, in)) > 0; at += len) {
		Proc *p = sscanf(line, "%63s %ld", name, &seq) == 2 ? find(procs, n, name) : NULL;
		if (!p || seq < 0 || seq >= p->n || p->ops[seq].kind != 'T' || p->ops[seq].a != file) {
			wrong(path, "nobody wrote the line at byte %ld", at);
			continue;
		}
		if ((size_t)len != token(want, name, seq, &p->ops[seq]) || memcmp(want, line, len)) wrong(path, "token %ld of %s, at byte %ld, has other bytes", seq, name, at);
		else if (p->seen[seq]++) wrong(path, "token %ld of %s is there again at byte %ld", seq, name, at);
		else if (seq < last[p - procs]) wrong(path, "token %ld of %s comes behind token %ld", seq, name, last[p - procs]);
		else last[p - procs] = seq;
	}
	free(line);
	if (ferror(in)) wrong(path, "cannot be read whole");
	fclose(in);
}

static void compare_lost_tokens(const Proc *p)
{
	char path[32];
	for (long i = 0; i < p->n; i++) {
		if (p->ops[i].kind != 'T' || p->outcome[i] != DONE || p->seen[i]) continue;
		snprintf(path, sizeof path, "t/%d", p->ops[i].a);
		wrong(path, "token %ld of %s is lost", i, p->name);
	}
}

static void compare_counter(const char *path, long lo, long hi)
{
	char text[128] = "";
	int fd = open(path, O_RDONLY);
	if (fd < 0) {
		if (lo || errno != ENOENT) wrong(path, "%s", strerror(errno));
		return;
	}
	long v = read(fd, text, sizeof text - 1) > 0 ? atol(text) : 0;
	close(fd);
	if (v < lo || v > hi) wrong(path, "is %ld; %ld changes were acknowledged, %ld begun", v, lo, hi);
}

/* The bytes of a file: how many, or -1. */
static ssize_t slurp(const char *path, unsigned char *buf, size_t room)
{
	int fd = open(path, O_RDONLY);
	size_t n = 0;
	ssize_t r = 0;
	if (fd < 0) return -1;
	while (n < room && (r = read(fd, buf + n, room - n)) > 0) n += r;
	close(fd);
	return r < 0 ? -1 : (ssize_t)n;
}

static int is(const unsigned char *buf, ssize_t n, unsigned len, unsigned seed)
{
	static unsigned char want[MAX_FILE];
	if (n < 0 || (unsigned)n != len) return 0;
	fill(want, len, seed);
	return !memcmp(buf, want, len);
}

static void compare_files(const Proc *p)
{
	static unsigned char buf[MAX_FILE + 1];
	char path[NAME_LEN + 16];
	for (int k = 0; k < FILES; k++) {
		int acked = 0, good = 0;
		for (long i = 0; i < p->n; i++) acked |= p->ops[i].kind == 'F' && p->ops[i].a == k && p->outcome[i] == DONE;
		snprintf(path, sizeof path, "f/%s.%d", p->name, k);
		ssize_t n = slurp(path, buf, sizeof buf);
		if (n < 0 && errno == ENOENT && !acked) continue;
		if (n < 0) { wrong(path, "%s", errno == ENOENT ? "is lost" : strerror(errno)); continue; }
		for (int v = 0; v < p->versions[k]; v++) good |= is(buf, n, p->version[k][v].len, p->version[k][v].seed);
		if (!good && p->versions[k] < VERSIONS) wrong(path, "is not the last version that was fsynced and renamed to it");
	}
}

static void compare_items(const Proc *p)
{
	static unsigned char buf[ITEM_SIZE + 1];
	char path[NAME_LEN + 16];
	for (int i = 0; i < ITEMS; i++) {
		unsigned mask = 0, links = 0;
		ino_t ino = 0;
		for (int d = 0; d < DIRS; d++) {
			struct stat st;
			snprintf(path, sizeof path, "r%d/%s.%d", d, p->name, i);
			if (lstat(path, &st) != 0) {
				if (errno != ENOENT) wrong(path, "%s", strerror(errno));
				continue;
			}
			mask |= 1u << d;
			links = st.st_nlink;
			if (ino && st.st_ino != ino) wrong(path, "is not the same file as its other names");
			ino = st.st_ino;
			if (!is(buf, slurp(path, buf, sizeof buf), ITEM_SIZE, item_seed(p->name, i))) wrong(path, "has other bytes");
		}
		snprintf(path, sizeof path, "r*/%s.%d", p->name, i);
		if (mask != p->mask[i] && mask != p->mask2[i])
			wrong(path, "has names in directories %#x; it must be %#x or %#x", mask, p->mask[i], p->mask2[i]);
		if (links != (unsigned)__builtin_popcount(mask)) wrong(path, "has %u links and %d names", links, __builtin_popcount(mask));
	}
}

/* What is listed in the directories of names must be what lookups found. */
static void compare_listing(Proc *procs, int n)
{
	char dir[8], name[NAME_LEN], path[300];
	for (int d = 0; d < DIRS; d++) {
		snprintf(dir, sizeof dir, "r%d", d);
		DIR *s = opendir(dir);
		if (!s) { wrong(dir, "%s", strerror(errno)); continue; }
		for (struct dirent *e; (e = readdir(s)); ) {
			if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
			char *dot = strrchr(e->d_name, '.');
			int item = dot ? atoi(dot + 1) : -1;
			snprintf(name, sizeof name, "%.*s", (int)(dot ? dot - e->d_name : 0), e->d_name);
			Proc *p = find(procs, n, name);
			snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
			if (!p || item < 0 || item >= ITEMS || !((p->mask[item] | p->mask2[item]) >> d & 1)) wrong(path, "is listed though it was never made or was removed");
		}
		closedir(s);
	}
}

/* A counter of a group is the sum over its processes; the group's first one looks at it. */
static void compare_shared(const Proc *p, int n, int first)
{
	size_t len = strcspn(p[first].name, ".") + 1;
	char path[NAME_LEN + 16];
	for (int i = 0; i < first; i++) if (!strncmp(p[i].name, p[first].name, len)) return;
	for (int s = 1; s <= SHARED; s++) {
		long lo = 0, hi = 0;
		for (int i = first; i < n; i++)
			if (!strncmp(p[i].name, p[first].name, len)) lo += p[i].lo[s], hi += p[i].hi[s];
		shared_path(path, sizeof path, p[first].name, s - 1);
		compare_counter(path, lo, hi);
	}
}

int share_check(const char *dir, char **logs, int count)
{
	Proc *p = calloc(count, sizeof *p);
	long acked = 0, unsure = 0;
	char path[NAME_LEN + 16];
	for (int i = 0; i < count; i++) if (proc_read(&p[i], logs[i]) != 0) return 1;
	if (chdir(dir) != 0) { perror(dir); return 1; }
	for (int f = 0; f < TOKENS; f++) compare_tokens(p, count, f);
	for (int i = 0; i < count; i++) {
		compare_lost_tokens(&p[i]);
		compare_files(&p[i]);
		compare_items(&p[i]);
		snprintf(path, sizeof path, "n/%s", p[i].name);
		compare_counter(path, p[i].lo[0], p[i].hi[0]);
		compare_shared(p, count, i);
		for (long k = 0; k < p[i].n; k++) *(p[i].outcome[k] == DONE ? &acked : &unsure) += 1;
	}
	compare_listing(p, count);
	printf("%ld acknowledged operations of %d processes compared, %ld unsure, %d wrong\n", acked, count, unsure, bad);
	for (int i = 0; i < count; i++) free(p[i].ops), free(p[i].outcome), free(p[i].seen);
	free(p);
	return bad != 0;
}
