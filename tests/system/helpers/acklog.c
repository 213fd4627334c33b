/* acklog run DIR LOG SEED SECONDS [ERRNO]   makes random changes under DIR, its own, and notes each in LOG, before (B) and after (A) it was acknowledged;
 *                                   every one must succeed. One that fails is noted (E) and the run goes on, but ends in failure; ERRNO (ENOSPC, or
 *                                   several with commas) is an error that is no failure. Ends at the time or on SIGTERM; prints what it did, the longest wait and the longest pause.
 * acklog check DIR LOG              replays LOG in memory and compares: everything acknowledged is there, byte for byte, and nothing else. The one
 *                                   operation that was not acknowledged, if LOG ends in one, may be done, half done (contents) or not done.
 * acklog share, shared              the same for a DIR that many processes share (ackshare.c): once and whole, also what was in flight.
 * acklog now, pause, acked          times (acknote.h).
 * LOG lies on another file system, so it survives what the test does to DIR. */
#include "ackshare.h"
#include "acknote.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIRS = 4, FILES = 16, SLOTS = DIRS * FILES, MAX_SIZE = 200000 };

typedef enum { ABSENT, REG, DIRECTORY, SYMLINK } Kind;
typedef enum { OP_CREATE, OP_APPEND, OP_WRITE, OP_TRUNC, OP_UNLINK, OP_MKDIR, OP_RMDIR, OP_RENAME, OP_LINK, OP_SYMLINK, OP_CHMOD, OP_FSYNC, OPS,
	OP_CLEAR = OPS /* whatever is there goes: what follows an error */ } OpKind;
static const char *const op_names[] = { "create", "append", "write", "trunc", "unlink", "mkdir", "rmdir", "rename", "link", "symlink", "chmod", "fsync", "clear" };

typedef struct {
	Kind kind;
	int refs;
	int unknown;                /* an operation on it failed: its bytes, mode and links are not looked at any more */
	mode_t mode;
	size_t size;
	unsigned char *data;
	unsigned seed;              /* of a symlink's target */
} Obj;

typedef struct { int op, slot, slot2; unsigned off, len, seed; } Op;

static Obj *slots[SLOTS];
static unsigned char unsure[SLOTS];  /* an operation that failed may have left it either way */

static const char *slot_path(int slot)
{
	static char buf[4][32];
	static int k;
	char *p = buf[k++ & 3];
	snprintf(p, 32, "d%d/f%d", slot / FILES, slot % FILES);
	return p;
}

/* --- the model --- */

static Obj *obj_new(Kind kind, mode_t mode)
{
	Obj *o = calloc(1, sizeof *o);
	*o = (Obj){ .kind = kind, .refs = 1, .mode = mode, .data = kind == REG ? calloc(1, MAX_SIZE) : NULL };
	return o;
}
static void obj_drop(Obj **o)
{
	if (*o && --(*o)->refs == 0) {
		free((*o)->data);
		free(*o);
	}
	*o = NULL;
}
static Kind kind_of(int slot) { return slots[slot] ? slots[slot]->kind : ABSENT; }

/* May that operation succeed now? */
static int sure(int slot) { return !unsure[slot] && !(slots[slot] && slots[slot]->unknown); }
static int two_slots(const Op *o) { return o->op == OP_RENAME || o->op == OP_LINK; }
static int fits(const Op *o)
{
	Kind k = kind_of(o->slot), k2 = kind_of(o->slot2);
	if (o->op == OP_CLEAR) return !sure(o->slot);
	if (!sure(o->slot) || (two_slots(o) && !sure(o->slot2))) return 0;
	switch (o->op) {
	case OP_CREATE: return k == ABSENT || k == REG;
	case OP_APPEND: return k == REG && slots[o->slot]->size + o->len <= MAX_SIZE;
	case OP_WRITE: return k == REG && o->off + o->len <= MAX_SIZE;
	case OP_TRUNC: case OP_CHMOD: case OP_FSYNC: return k == REG;
	case OP_UNLINK: return k == REG || k == SYMLINK;
	case OP_MKDIR: case OP_SYMLINK: return k == ABSENT;
	case OP_RMDIR: return k == DIRECTORY;
	case OP_RENAME: return k != ABSENT && o->slot != o->slot2 && slots[o->slot] != slots[o->slot2] &&
			(k2 == ABSENT || (k == DIRECTORY ? k2 == DIRECTORY : k2 != DIRECTORY));
	case OP_LINK: return k == REG && k2 == ABSENT;
	}
	return 0;
}

static void apply(const Op *o)
{
	Obj **s = &slots[o->slot], **t = &slots[o->slot2];
	switch (o->op) {
	case OP_CREATE:
		if (!*s) *s = obj_new(REG, 0644);
		memset((*s)->data, 0, MAX_SIZE);
		fill((*s)->data, o->len, o->seed);
		(*s)->size = o->len;
		break;
	case OP_APPEND:
		fill((*s)->data + (*s)->size, o->len, o->seed);
		(*s)->size += o->len;
		break;
	case OP_WRITE:
		fill((*s)->data + o->off, o->len, o->seed);
		if ((*s)->size < o->off + o->len) (*s)->size = o->off + o->len;
		break;
	case OP_TRUNC:
		if (o->off < (*s)->size) memset((*s)->data + o->off, 0, (*s)->size - o->off);
		(*s)->size = o->off;
		break;
	case OP_UNLINK: case OP_RMDIR: obj_drop(s); break;
	case OP_MKDIR: *s = obj_new(DIRECTORY, 0755); break;
	case OP_SYMLINK: *s = obj_new(SYMLINK, 0777); (*s)->seed = o->seed; break;
	case OP_RENAME: obj_drop(t); *t = *s; *s = NULL; break;
	case OP_LINK: *t = *s; (*s)->refs++; break;
	case OP_CHMOD: (*s)->mode = o->seed & 0777; break;
	case OP_CLEAR: obj_drop(s); unsure[o->slot] = 0; break;
	}
}

/* It failed: nothing is known about what it touched, until that is cleared away. */
static void doubt(const Op *o)
{
	int touched[2] = { o->slot, two_slots(o) ? o->slot2 : o->slot };
	for (int i = 0; i < 2; i++) {
		unsure[touched[i]] = 1;
		if (slots[touched[i]]) slots[touched[i]]->unknown = 1;
	}
}

/* --- the file system --- */

static int with_file(const Op *o, int flags)
{
	static unsigned char buf[MAX_SIZE];
	int fd = open(slot_path(o->slot), flags, 0644), rc = 0;
	if (fd < 0) return -1;
	if (o->op == OP_FSYNC) rc = fsync(fd);
	else if (o->op == OP_TRUNC) rc = ftruncate(fd, o->off);
	else {
		fill(buf, o->len, o->seed);
		if (o->op == OP_WRITE) rc = lseek(fd, o->off, SEEK_SET) < 0 ? -1 : 0;
		if (!rc) rc = write_all(fd, buf, o->len);
	}
	int e = errno;
	if (close(fd) != 0 && !rc) return -1;
	errno = e;
	return rc;
}

static int perform(const Op *o)
{
	const char *p = slot_path(o->slot), *p2 = slot_path(o->slot2);
	char target[32];
	switch (o->op) {
	case OP_CREATE: return with_file(o, O_WRONLY | O_CREAT | O_TRUNC);
	case OP_APPEND: return with_file(o, O_WRONLY | O_APPEND);
	case OP_WRITE: case OP_TRUNC: case OP_FSYNC: return with_file(o, O_WRONLY);
	case OP_UNLINK: return unlink(p);
	case OP_MKDIR: return mkdir(p, 0755);
	case OP_RMDIR: return rmdir(p);
	case OP_RENAME: return rename(p, p2);
	case OP_LINK: return link(p, p2);
	case OP_SYMLINK: snprintf(target, sizeof target, "target-%u", o->seed); return symlink(target, p);
	case OP_CHMOD: return chmod(p, o->seed & 0777);
	case OP_CLEAR: return unlink(p) == 0 || errno == ENOENT || (errno == EISDIR && rmdir(p) == 0) ? 0 : -1;
	}
	return -1;
}

static Op choose(uint64_t *seed)
{
	Op o;
	do {
		o = (Op){ .op = rnd(seed) % OPS, .slot = rnd(seed) % SLOTS, .slot2 = rnd(seed) % SLOTS, .seed = (unsigned)rnd(seed) };
		o.len = 1 + rnd(seed) % (rnd(seed) % 4 ? 6000 : 80000);
		o.off = rnd(seed) % (rnd(seed) % 4 ? 8000 : 100000);
		if (!sure(o.slot)) o.op = OP_CLEAR;
	} while (!fits(&o));
	return o;
}

static int run(const char *dir, const char *log, uint64_t seed, double limit, const char *allow)
{
	Note n;
	if (note_open(&n, log, allow) != 0) return 1;
	if (chdir(dir) != 0) { perror(dir); return 1; }
	umask(022);
	for (int d = 0; d < DIRS; d++) {
		char name[8];
		snprintf(name, sizeof name, "d%d", d);
		if (mkdir(name, 0755) != 0) { perror(name); return 1; }
	}
	while (!note_over(&n, limit)) {
		Op o = choose(&seed);
		note_begin(&n, "%d %d %d %u %u %u", o.op, o.slot, o.slot2, o.off, o.len, o.seed);
		if (perform(&o) == 0) {
			note_ack(&n);
			apply(&o);
			continue;
		}
		char what[96];
		snprintf(what, sizeof what, "%s %s %s", op_names[o.op], slot_path(o.slot), slot_path(o.slot2));
		note_error(&n, what);
		doubt(&o);
	}
	return note_end(&n);
}

/* --- comparing --- */

static int bad;
static void wrong(int slot, const char *what)
{
	if (bad++ < 20) printf("WRONG %s: %s\n", slot_path(slot), what);
}

/* Whose bytes are these? Names the operations that wrote what stands at p. */
static void trace_back(const char *log, const unsigned char *p, size_t n)
{
	FILE *in = fopen(log, "r");
	char line[256];
	int found = 0;
	while (in && n >= 16 && found < 4 && fgets(line, sizeof line, in)) {
		Op o;
		long seq;
		unsigned char head[16];
		if (sscanf(line, "B %ld %d %d %d %u %u %u", &seq, &o.op, &o.slot, &o.slot2, &o.off, &o.len, &o.seed) != 7 || o.len < sizeof head || o.op > OP_WRITE) continue;
		fill(head, sizeof head, o.seed);
		const unsigned char *at = memmem(p, n, head, sizeof head);
		if (at) printf("  at %zu are the bytes of operation %ld (%s %s, %u bytes)\n", (size_t)(at - p), seq, op_names[o.op], slot_path(o.slot), o.len), found++;
	}
	if (in) fclose(in);
}

static void compare(int slot, const char *log)
{
	static unsigned char buf[MAX_SIZE + 1];
	struct stat st;
	const Obj *o = slots[slot];
	const char *p = slot_path(slot);
	char text[200], target[64], want[64];
	if (unsure[slot]) return;
	if (lstat(p, &st) != 0) {
		if (o || errno != ENOENT) wrong(slot, o && errno == ENOENT ? "is lost" : strerror(errno));
		return;
	}
	if (!o) { wrong(slot, "is there though it was removed"); return; }
	if (o->unknown) return;
	if (o->kind == DIRECTORY) { if (!S_ISDIR(st.st_mode)) wrong(slot, "is no directory"); return; }
	if (o->kind == SYMLINK) {
		ssize_t n = readlink(p, target, sizeof target - 1);
		snprintf(want, sizeof want, "target-%u", o->seed);
		target[n < 0 ? 0 : n] = 0;
		if (strcmp(target, want)) wrong(slot, "is another symlink");
		return;
	}
	if (!S_ISREG(st.st_mode)) { wrong(slot, "is no regular file"); return; }
	if ((st.st_mode & 07777) != o->mode) wrong(slot, "has another mode");
	if ((int)st.st_nlink != o->refs) { snprintf(text, sizeof text, "has %d links instead of %d", (int)st.st_nlink, o->refs); wrong(slot, text); }
	if ((size_t)st.st_size != o->size) { snprintf(text, sizeof text, "has size %lld instead of %zu", (long long)st.st_size, o->size); wrong(slot, text); return; }
	int fd = open(p, O_RDONLY);
	size_t n = 0;
	for (ssize_t r; n < sizeof buf && (r = read(fd, buf + n, sizeof buf - n)) > 0; ) n += r;
	close(fd);
	if (n != o->size) { wrong(slot, "cannot be read whole"); return; }
	for (size_t i = 0; i < n; i++)
		if (buf[i] != o->data[i]) {
			size_t other = 0, zeros = 0;
			for (size_t k = i; k < n; k++) {
				other += buf[k] != o->data[k];
				zeros += !buf[k];
			}
			snprintf(text, sizeof text, "differs at byte %zu of %zu, in %zu bytes; %zu from there on are zero", i, n, other, zeros);
			wrong(slot, text);
			trace_back(log, buf, n);
			return;
		}
}

static void no_strangers(void)
{
	for (int d = 0; d < DIRS; d++) {
		char n[8];
		snprintf(n, sizeof n, "d%d", d);
		DIR *dir = opendir(n);
		if (!dir) { printf("WRONG %s: %s\n", n, strerror(errno)); bad++; continue; }
		for (struct dirent *e; (e = readdir(dir)); ) {
			if (e->d_name[0] == '.') continue;
			int f;
			char rest;
			if (sscanf(e->d_name, "f%d%c", &f, &rest) != 1 || f < 0 || f >= FILES || (!slots[d * FILES + f] && !unsure[d * FILES + f])) {
				if (bad++ < 20) printf("WRONG %s/%s: is listed though it was never made or was removed\n", n, e->d_name);
			}
		}
		closedir(dir);
	}
}

static int check(const char *dir, const char *log)
{
	FILE *in = fopen(log, "r");
	if (!in || chdir(dir) != 0) { perror(in ? dir : log); return 1; }
	Op o = { 0 };
	long n = 0, failed = 0, seq = 0, pending = -1, last[SLOTS] = { 0 };
	OpKind last_op[SLOTS] = { 0 };
	char line[256];
	while (fgets(line, sizeof line, in)) {
		Op next;
		if (sscanf(line, "B %ld %d %d %d %u %u %u", &seq, &next.op, &next.slot, &next.slot2, &next.off, &next.len, &next.seed) == 7) {
			o = next;
			pending = seq;
		} else if (sscanf(line, "A %ld", &seq) == 1 && seq == pending) {
			apply(&o);
			last[o.slot] = last[o.slot2] = seq;
			last_op[o.slot] = last_op[o.slot2] = o.op;
			pending = -1;
			n++;
		} else if (sscanf(line, "E %ld", &seq) == 1 && seq == pending) {
			doubt(&o);
			pending = -1;
			failed++;
		}
	}
	/* Contents shared through links are excused together: any slot with the pending operation's flare. */
	for (int s = 0; s < SLOTS; s++) {
		int excused = pending >= 0 && (s == o.slot || s == o.slot2 || (slots[s] && (slots[s] == slots[o.slot] || slots[s] == slots[o.slot2])));
		int before = bad;
		if (!excused) compare(s, log);
		if (bad > before && bad < 20) printf("  %s was changed last by operation %ld (%s) of %ld\n", slot_path(s), last[s], op_names[last_op[s]], seq);
	}
	if (pending < 0) no_strangers();
	printf("%ld acknowledged operations compared, %d wrong", n, bad);
	if (pending >= 0) printf(", in flight was %s %s %s", op_names[o.op], slot_path(o.slot), slot_path(o.slot2));
	if (failed) printf(", %ld had failed", failed);
	printf("\n");
	return bad != 0;
}

int main(int argc, char **argv)
{
	const char *cmd = argc > 1 ? argv[1] : "";
	const char *allow = argc > 6 ? argv[6] : NULL;
	if (!strcmp(cmd, "run") && (argc == 6 || argc == 7)) return run(argv[2], argv[3], strtoull(argv[4], NULL, 0), atof(argv[5]), allow);
	if (!strcmp(cmd, "share") && (argc == 6 || argc == 7)) return share_run(argv[2], argv[3], strtoull(argv[4], NULL, 0), atof(argv[5]), allow);
	if (!strcmp(cmd, "check") && argc == 4) return check(argv[2], argv[3]);
	if (!strcmp(cmd, "shared") && argc >= 4) return share_check(argv[2], argv + 3, argc - 3);
	if (!strcmp(cmd, "now") && argc == 2) return printf("%lld\n", (long long)now_ms()) < 0;
	if (!strcmp(cmd, "pause") && argc >= 5) return note_pause(atoll(argv[2]), atoll(argv[3]), argv + 4, argc - 4);
	if (!strcmp(cmd, "acked") && argc >= 5) return note_acked(atoll(argv[2]), atoi(argv[3]), argv + 4, argc - 4);
	fprintf(stderr, "usage: acklog run|share DIR LOG SEED SECONDS [ERRNO] | check DIR LOG | shared DIR LOG... | now | pause FROM TO LOG... | acked SINCE N LOG...\n");
	return 2;
}
