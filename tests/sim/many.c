/* Several clients on a small namespace. What was acknowledged must add up in the end: every link of every flare and every entry of every directory is the sum of the acknowledged changes, so
 * one that is lost or done twice shows. Appends carry unique tokens; each client's own file agrees with its own model; names that nobody touches are in every listing exactly once.
 * And one truth: each client has a flare of its own with names in several directories; what anybody else reads of it, or of its own file, while nothing is asked about it, is what
 * its last answer said. */
#include <linux/fs.h>
#include "tests/sim/fsck.h"
#include "tests/sim/workload.h"
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { LOGS = 3, STABLE = 12, OWN_MAX = 12000, PLACES = 4 };

typedef struct {
	guint64 ino;                  /* the hash key */
	MagmaFid fid;
	guint32 type;                 /* 0: its maker was not answered yet */
	gint64 names, entries;        /* acknowledged: links made less links taken; of a directory, entries in it */
} Tally;

typedef struct Many Many;

typedef struct {
	Many *m;
	SimClient *client;
	guint index, done;
	gboolean busy;
	MagmaOp op;
	struct { MagmaFid dir, from, flare; guint32 flags, type; guint64 token; gint64 asked; } q;      /* what was asked, for the answer */
	MagmaFid own;                 /* its own file */
	GByteArray *model;            /* what is in it */
	guint64 want_offset, want_size;
	GHashTable *open;             /* MagmaFid set */
	guint listed, stable_seen;
	/* its truth: a flare with a name in some of the places; odd version: a change was asked for */
	MagmaFid truth;
	gboolean at[PLACES];
	guint truth_version, own_version;
	gboolean *changes;            /* what the question under way is about: NULL, or one of at */
	/* as an observer */
	gpointer of;                  /* whom; NULL: its question is no observation */
	guint of_version, of_place;
} Actor;

struct Many {
	Cluster *c;
	World *w;
	const Workload *load;
	GHashTable *tally;            /* ino -> Tally */
	GPtrArray *dirs, *files;      /* Tally *: for picking; may be gone meanwhile */
	Actor *actor;
	MagmaFid logs[LOGS], places[PLACES];
	GHashTable *tokens;           /* acknowledged: token -> number of the log + 1 */
	guint64 next_token;
	guint next_own;
};

static Tally *tally(Many *m, const MagmaFid *fid, guint32 type)
{
	Tally *t = g_hash_table_lookup(m->tally, &fid->ino);

	if (!t) {
		t = g_new0(Tally, 1);
		t->ino = fid->ino;
		t->fid = *fid;
		g_hash_table_insert(m->tally, &t->ino, t);
	}
	if (type && !t->type) {
		t->type = type & S_IFMT;
		g_ptr_array_add(S_ISDIR(type) ? m->dirs : m->files, t);
	}
	return t;
}

static void count(Many *m, const MagmaFid *fid, gint64 names, gint64 entries)
{
	Tally *t = tally(m, fid, 0);      /* another client may have seen it before its maker was answered */

	t->names += names;
	t->entries += entries;
}

static const char *pick_name(Many *m)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };

	return names[world_pick(m->w, G_N_ELEMENTS(names))];
}

static MagmaKey pick_key(Many *m)
{
	char path[32];

	return magma_key_of_path(path, g_snprintf(path, sizeof path, "/%u", world_pick(m->w, 100000)));
}

/* Newer ones more often: the old ones are mostly gone. */
static Tally *pick(Many *m, GPtrArray *list)
{
	guint n = list->len, window = MIN(n, 6);

	return n ? list->pdata[world_chance(m->w, 1, 4) ? world_pick(m->w, n) : n - 1 - world_pick(m->w, window)] : NULL;
}

static gboolean allowed(int error)
{
	switch (error) {
	case 0: case EEXIST: case ENOENT: case ENOTEMPTY: case ENOTDIR: case EISDIR: case ESTALE: case EINVAL:
		return TRUE;
	default:
		return FALSE;
	}
}

/* --- answers --- */

static void made(Actor *a, const MagmaAny *rep)
{
	const MagmaAttr *at = &rep->rep_mkdir.attr;
	Many *m = a->m;

	if (tally(m, &at->fid, 0)->type)
		world_fail(m->w, "ino %" G_GUINT64_FORMAT " was given twice", at->fid.ino);
	tally(m, &at->fid, at->mode);
	count(m, &at->fid, 1, 0);
	count(m, &a->q.dir, 0, 1);
	if (a->op == MAGMA_OP_create) {
		sim_opened(a->client, &at->fid);
		g_hash_table_add(a->open, g_memdup2(&at->fid, sizeof at->fid));
	}
}

static void renamed(Actor *a, const MagmaAny *rep)
{
	const struct magma_rep_rename *r = &rep->rep_rename;
	Many *m = a->m;

	/* both names were the same flare, or the same name: nothing happened */
	if (!r->moved.ino || r->moved.ino == r->replaced.ino || a->q.flags & RENAME_EXCHANGE)
		return;
	count(m, &a->q.from, 0, -1);
	count(m, &a->q.dir, 0, 1);
	if (r->replaced.ino) {
		count(m, &r->replaced, -1, 0);
		count(m, &a->q.dir, 0, -1);
	}
}

/* of: whose file; reader: who read it. */
static void own_read(Actor *of, Actor *reader, const MagmaAny *rep)
{
	const MagmaBytes d = rep->rep_read.data;

	if (d.len != of->model->len || (d.len && memcmp(d.data, of->model->data, d.len) != 0)) {
		guint at = 0;
		while (at < d.len && at < of->model->len && d.data[at] == of->model->data[at])
			at++;
		world_fail(of->m->w, "client-%u reads client-%u's own file %" G_GUINT64_FORMAT ": %u bytes, should be %u; differs at %u", reader->index, of->index, of->own.ino, d.len,
			of->model->len, at);
	}
}

/* --- one truth --- */

static guint names_of(const Actor *a)
{
	guint n = 0;

	for (guint i = 0; i < PLACES; i++)
		n += a->at[i];
	return n;
}

static void observed(Actor *a, int error, const MagmaAny *rep)
{
	Actor *of = a->of;
	Many *m = a->m;

	a->of = NULL;
	if (a->op == MAGMA_OP_read) {
		if (a->of_version == of->own_version && !error)
			own_read(of, a, rep);
		return;
	}
	if (a->of_version != of->truth_version)
		return;                       /* it changed meanwhile: both are true */
	if (a->op == MAGMA_OP_getattr) {
		if (names_of(of) && (error || rep->rep_getattr.attr.nlink != names_of(of)))
			world_fail(m->w, "client-%u sees %u links of client-%u's flare %" G_GUINT64_FORMAT " (%s), it has %u", a->index, error ? 0 : rep->rep_getattr.attr.nlink, of->index,
				of->truth.ino, magma_strerror(error), names_of(of));
		return;
	}
	gboolean seen = !error && rep->rep_lookup.child.ino == of->truth.ino;
	if (seen != of->at[a->of_place] || (error && error != ENOENT))
		world_fail(m->w, "client-%u looks client-%u's name up in place %u: %s; it is %sthere", a->index, of->index, a->of_place, magma_strerror(error), of->at[a->of_place] ? "" : "not ");
}

/* What the last answer says of the truth. */
static void truth_told(Actor *a, int error, const MagmaAny *rep)
{
	Many *m = a->m;
	guint to = a->q.flags, from = a->q.type;
	const char *what = magma_op_info(a->op)->name;

	a->changes = NULL;
	a->truth_version++;
	if (error)
		world_fail(m->w, "client-%u's own %s: %s", a->index, what, magma_strerror(error));
	switch (a->op) {
	case MAGMA_OP_mknod: {
		a->truth = rep->rep_mknod.attr.fid;
		Tally *t = tally(m, &a->truth, 0);
		t->type = S_IFREG;            /* counted, not picked by others */
		t->names++;
		a->at[to] = TRUE;
		break;
	}
	case MAGMA_OP_link:
		count(m, &a->truth, 1, 0);
		a->at[to] = TRUE;
		if (rep->rep_link.attr.nlink != names_of(a))
			world_fail(m->w, "client-%u's own link: %u links, it has %u", a->index, rep->rep_link.attr.nlink, names_of(a));
		break;
	case MAGMA_OP_unlink:
		count(m, &a->truth, -1, 0);
		a->at[to] = FALSE;
		count(m, &m->places[to], 0, -1);
		return;
	case MAGMA_OP_rename:
		if (a->at[to])
			return;               /* two names of one flare: nothing happened */
		a->at[to] = TRUE;
		a->at[from] = FALSE;
		count(m, &m->places[from], 0, -1);
		break;
	default:
		g_assert_not_reached();
	}
	count(m, &m->places[to], 0, 1);
}

static void list_more(Actor *a, const MagmaAny *rep);

static void answered(void *user, int error, const MagmaAny *rep)
{
	Actor *a = user;
	Many *m = a->m;
	gboolean own = a->op == MAGMA_OP_write || a->op == MAGMA_OP_setattr || a->op == MAGMA_OP_read || a->op == MAGMA_OP_fsync || a->op == MAGMA_OP_release;

	a->busy = FALSE;
	if (a->of) {
		observed(a, error, rep);
		return;
	}
	if (a->changes) {
		truth_told(a, error, rep);
		return;
	}
	if (own && a->own_version & 1)
		a->own_version++;
	if (error && (own || !allowed(error)) && !(a->op == MAGMA_OP_link && error == EPERM))
		world_fail(m->w, "client-%u: %s: %s after %" G_GINT64_FORMAT " us", a->index, magma_op_info(a->op)->name, magma_strerror(error), world_now(m->w) - a->q.asked);
	if (error)
		return;
	switch (a->op) {
	case MAGMA_OP_create: case MAGMA_OP_mkdir: case MAGMA_OP_mknod: case MAGMA_OP_symlink:
		made(a, rep);
		break;
	case MAGMA_OP_link:
		count(m, &a->q.flare, 1, 0);
		count(m, &a->q.dir, 0, 1);
		break;
	case MAGMA_OP_unlink: case MAGMA_OP_rmdir:
		count(m, &rep->rep_unlink.child, -1, 0);
		count(m, &a->q.dir, 0, -1);
		break;
	case MAGMA_OP_rename:
		renamed(a, rep);
		break;
	case MAGMA_OP_write:
		if (a->q.token)
			g_hash_table_insert(m->tokens, GSIZE_TO_POINTER(a->q.token), GUINT_TO_POINTER(1));
		else if (rep->rep_write.offset != a->want_offset || rep->rep_write.size != a->want_size)
			world_fail(m->w, "client-%u's own write went to %" G_GUINT64_FORMAT ", size %" G_GUINT64_FORMAT, a->index, rep->rep_write.offset, rep->rep_write.size);
		break;
	case MAGMA_OP_read:
		own_read(a, a, rep);
		break;
	case MAGMA_OP_readdir:
		list_more(a, rep);
		break;
	default:
		break;
	}
}

static void ask(Actor *a, MagmaOp op, const void *req)
{
	a->op = op;
	a->busy = TRUE;
	a->q.asked = world_now(a->m->w);
	sim_call(a->client, op, req, answered, a);
}

/* --- questions --- */

static void ask_make(Actor *a)
{
	Many *m = a->m;
	const char *name = pick_name(m);
	MagmaFid dir = pick(m, m->dirs)->fid;

	a->q.dir = dir;
	switch (world_pick(m->w, 6)) {
	case 0: case 1: {
		struct magma_req_mkdir q = { .dir = dir, .key = pick_key(m), .mode = 0755, .name = MAGMA_BYTES_STR(name) };
		ask(a, MAGMA_OP_mkdir, &q);
		break;
	}
	case 2: {
		struct magma_req_symlink q = { .dir = dir, .key = pick_key(m), .name = MAGMA_BYTES_STR(name), .target = MAGMA_BYTES_STR("nowhere") };
		ask(a, MAGMA_OP_symlink, &q);
		break;
	}
	case 3: {
		struct magma_req_mknod q = { .dir = dir, .key = pick_key(m), .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR(name) };
		ask(a, MAGMA_OP_mknod, &q);
		break;
	}
	default: {
		struct magma_req_create q = { .dir = dir, .key = pick_key(m), .mode = 0644, .flags = O_RDWR | O_CREAT | O_EXCL, .name = MAGMA_BYTES_STR(name) };
		ask(a, MAGMA_OP_create, &q);
	}
	}
}

static void ask_link(Actor *a)
{
	Many *m = a->m;
	Tally *t = pick(m, world_chance(m->w, 1, 10) ? m->dirs : m->files);

	if (!t)
		return;
	struct magma_req_link q = { .dir = pick(m, m->dirs)->fid, .flare = t->fid };
	const char *name = pick_name(m);
	q.name = MAGMA_BYTES_STR(name);
	a->q.dir = q.dir;
	a->q.flare = q.flare;
	ask(a, MAGMA_OP_link, &q);
}

static void ask_remove(Actor *a)
{
	Many *m = a->m;
	const char *name = pick_name(m);
	struct magma_req_unlink q = { .dir = pick(m, m->dirs)->fid, .name = MAGMA_BYTES_STR(name) };

	a->q.dir = q.dir;
	ask(a, world_chance(m->w, 1, 2) ? MAGMA_OP_rmdir : MAGMA_OP_unlink, &q);
}

static void ask_rename(Actor *a)
{
	static const guint32 flags[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	Many *m = a->m;
	const char *from = pick_name(m), *to = pick_name(m);
	struct magma_req_rename q = { .to_dir = pick(m, m->dirs)->fid, .flags = flags[world_pick(m->w, G_N_ELEMENTS(flags))], .from_name = MAGMA_BYTES_STR(from), .to_name = MAGMA_BYTES_STR(to) };

	q.from_dir = world_chance(m->w, 1, 3) ? q.to_dir : pick(m, m->dirs)->fid;
	a->q.dir = q.to_dir;
	a->q.from = q.from_dir;
	a->q.flags = q.flags;
	ask(a, MAGMA_OP_rename, &q);
}

/* u64 token, u32 length of the whole record, filled with the token's low byte */
static void ask_append(Actor *a)
{
	Many *m = a->m;
	guint8 record[2000];
	guint32 n = 12 + world_pick(m->w, world_chance(m->w, 1, 3) ? sizeof record - 12 : 60);
	struct magma_req_write q = { .fid = m->logs[world_pick(m->w, LOGS)], .flags = MAGMA_WRITE_APPEND, .data = { record, n } };

	a->q.token = ++m->next_token;
	magma_be64_store(record, a->q.token);
	magma_be32_store(record + 8, n);
	memset(record + 12, a->q.token & 0xff, n - 12);
	ask(a, MAGMA_OP_write, &q);
}

static void ask_own(Actor *a)
{
	Many *m = a->m;
	guint8 bytes[4000];

	a->q.token = 0;
	a->own_version++;
	switch (world_pick(m->w, 5)) {
	case 0: {
		struct magma_req_read q = { .fid = a->own, .size = MAGMA_DATA_MAX };
		ask(a, MAGMA_OP_read, &q);
		break;
	}
	case 1: {
		struct magma_req_setattr q = { .fid = a->own, .mask = MAGMA_SET_SIZE, .size = world_pick(m->w, OWN_MAX) };
		guint was = a->model->len;
		g_byte_array_set_size(a->model, q.size);
		if (q.size > was)
			memset(a->model->data + was, 0, q.size - was);
		ask(a, MAGMA_OP_setattr, &q);
		break;
	}
	case 2: {
		struct magma_req_fsync q = { .fid = a->own };
		ask(a, MAGMA_OP_fsync, &q);
		break;
	}
	default: {
		guint n = 1 + world_pick(m->w, sizeof bytes - 1), was = a->model->len;
		struct magma_req_write q = { .fid = a->own, .offset = world_pick(m->w, OWN_MAX), .data = { bytes, n } };
		for (guint i = 0; i < n; i++)
			bytes[i] = world_pick(m->w, 256);
		g_byte_array_set_size(a->model, MAX(was, q.offset + n));
		if (q.offset > was)
			memset(a->model->data + was, 0, q.offset - was);
		memcpy(a->model->data + q.offset, bytes, n);
		a->want_offset = q.offset;
		a->want_size = a->model->len;
		ask(a, MAGMA_OP_write, &q);
	}
	}
}

static const char *truth_name(const Actor *a)
{
	static char name[16];

	g_snprintf(name, sizeof name, "truth%u", a->index);
	return name;
}

static void ask_truth(Actor *a)
{
	Many *m = a->m;
	guint to = world_pick(m->w, PLACES), from = world_pick(m->w, PLACES);
	const MagmaBytes name = MAGMA_BYTES_STR(truth_name(a));

	a->q.flags = to;
	a->q.type = from;
	a->changes = &a->at[to];
	a->truth_version++;
	if (!names_of(a)) {
		struct magma_req_mknod q = { .dir = m->places[to], .key = pick_key(m), .mode = S_IFREG | 0644, .name = name };
		ask(a, MAGMA_OP_mknod, &q);
	} else if (a->at[from] && from != to && world_chance(m->w, 2, 3)) {
		struct magma_req_rename q = { .to_dir = m->places[to], .from_dir = m->places[from], .from_name = name, .to_name = name };
		ask(a, MAGMA_OP_rename, &q);
	} else if (a->at[to]) {
		struct magma_req_unlink q = { .dir = m->places[to], .name = name };
		ask(a, MAGMA_OP_unlink, &q);
	} else {
		struct magma_req_link q = { .dir = m->places[to], .flare = a->truth, .name = name };
		ask(a, MAGMA_OP_link, &q);
	}
}

static void ask_observe(Actor *a)
{
	Many *m = a->m;
	Actor *of = &m->actor[world_pick(m->w, m->load->clients)];

	if (of == a || of->truth_version & 1 || of->own_version & 1)
		return;
	a->of = of;
	a->of_version = of->truth_version;
	a->of_place = world_pick(m->w, PLACES);
	switch (world_pick(m->w, 4)) {
	case 0: {
		struct magma_req_read q = { .fid = of->own, .size = MAGMA_DATA_MAX };
		a->of_version = of->own_version;
		ask(a, MAGMA_OP_read, &q);
		break;
	}
	case 1:
		if (names_of(of)) {
			struct magma_req_getattr q = { .fid = of->truth };
			ask(a, MAGMA_OP_getattr, &q);
			break;
		}
		/* fall through */
	default: {
		struct magma_req_lookup q = { .dir = m->places[a->of_place], .name = MAGMA_BYTES_STR(truth_name(of)) };
		ask(a, MAGMA_OP_lookup, &q);
	}
	}
}

static void ask_list_from(Actor *a, guint64 cookie)
{
	struct magma_req_readdir q = { .dir = magma_fid_root(), .cookie = cookie, .max = 600 };

	ask(a, MAGMA_OP_readdir, &q);
}

static void ask_list(Actor *a)
{
	a->stable_seen = 0;
	ask_list_from(a, 0);
}

static void list_more(Actor *a, const MagmaAny *rep)
{
	MagmaReader r = magma_reader(rep->rep_readdir.entries.data, rep->rep_readdir.entries.len);
	guint64 cookie = 0;

	while (r.left) {
		MagmaDirent d;
		magma_get_dirent(&r, &d);
		cookie = d.cookie;
		if (d.name.len > 6 && memcmp(d.name.data, "stable", 6) == 0)
			a->stable_seen++;
	}
	if (!rep->rep_readdir.eof)
		ask_list_from(a, cookie);
	else if (a->stable_seen != STABLE)
		world_fail(a->m->w, "a listing of / shows %u names of %u that nobody touches", a->stable_seen, STABLE);
}

static void ask_release(Actor *a)
{
	GHashTableIter it;
	gpointer fid;
	struct magma_req_release q;

	g_hash_table_iter_init(&it, a->open);
	if (!g_hash_table_iter_next(&it, &fid, NULL))
		return;
	q.fid = *(MagmaFid *)fid;
	sim_released(a->client, fid);
	g_hash_table_iter_remove(&it);
	ask(a, MAGMA_OP_release, &q);
}

static void ask_lookup(Actor *a)
{
	const char *name = pick_name(a->m);
	struct magma_req_lookup q = { .dir = pick(a->m, a->m->dirs)->fid, .name = MAGMA_BYTES_STR(name) };

	ask(a, MAGMA_OP_lookup, &q);
}

static const struct { void (*ask)(Actor *a); guint weight, rename_weight; } kinds[] = {
	{ ask_make, 25, 20 }, { ask_link, 8, 6 }, { ask_remove, 18, 15 }, { ask_rename, 20, 50 }, { ask_append, 12, 2 }, { ask_own, 12, 2 },
	{ ask_list, 3, 3 }, { ask_release, 5, 5 }, { ask_lookup, 6, 10 },
	{ ask_truth, 12, 12 }, { ask_observe, 20, 20 },
};

static void next_question(Actor *a)
{
	guint total = 0, i;

	for (i = 0; i < G_N_ELEMENTS(kinds); i++)
		total += a->m->load->rename_heavy ? kinds[i].rename_weight : kinds[i].weight;
	guint at = world_pick(a->m->w, total);
	for (i = 0; at >= (a->m->load->rename_heavy ? kinds[i].rename_weight : kinds[i].weight); i++)
		at -= a->m->load->rename_heavy ? kinds[i].rename_weight : kinds[i].weight;
	a->done++;
	kinds[i].ask(a);
}

/* --- the whole --- */

/* Counted, but never picked. */
static MagmaFid make(Many *m, const char *name, guint32 mode)
{
	struct magma_req_mknod f = { .dir = magma_fid_root(), .key = pick_key(m), .mode = mode, .name = MAGMA_BYTES_STR(name) };
	struct magma_req_mkdir d = { .dir = f.dir, .key = f.key, .mode = mode, .name = f.name };
	MagmaAny rep;
	int error = S_ISDIR(mode) ? sim_call_wait(m->actor[0].client, MAGMA_OP_mkdir, &d, &rep) : sim_call_wait(m->actor[0].client, MAGMA_OP_mknod, &f, &rep);

	if (error)
		world_fail(m->w, "cannot make %s: %s", name, magma_strerror(error));
	MagmaFid fid = rep.rep_mknod.attr.fid;
	Tally *t = tally(m, &fid, 0);
	t->type = mode & S_IFMT;
	t->names = 1;
	count(m, &f.dir, 0, 1);
	return fid;
}

static MagmaFid make_file(Many *m, const char *name) { return make(m, name, S_IFREG | 0644); }

static void set_up(Many *m)
{
	MagmaFid root = magma_fid_root();
	char name[20];

	tally(m, &root, S_IFDIR);
	for (guint i = 0; i < LOGS; i++) {
		g_snprintf(name, sizeof name, "log%u", i);
		m->logs[i] = make_file(m, name);
	}
	for (guint i = 0; i < STABLE; i++) {
		g_snprintf(name, sizeof name, "stable%u", i);
		make_file(m, name);
	}
	for (guint i = 0; i < PLACES; i++) {
		g_snprintf(name, sizeof name, "place%u", i);
		m->places[i] = make(m, name, S_IFDIR | 0755);
	}
	for (guint i = 0; i < m->load->clients; i++) {
		g_snprintf(name, sizeof name, "own%u", i);
		m->actor[i].own = make_file(m, name);
	}
}

static gboolean all_idle(void *user)
{
	Many *m = user;

	for (guint i = 0; i < m->load->clients; i++)
		if (m->actor[i].busy)
			return FALSE;
	return TRUE;
}

static void wait_idle(Many *m)
{
	if (!cluster_run_until(m->c, 130 * (gint64)1000000, all_idle, m))
		world_fail(m->w, "clients wait without end");
}

static void run_clients(Many *m)
{
	guint left = m->load->clients * m->load->ops, asked = 0, joined = 0;

	while (asked < left) {
		for (guint i = 0; i < m->load->clients; i++)
			if (!m->actor[i].busy && asked < left && world_chance(m->w, 1, 4)) {
				next_question(&m->actor[i]);
				asked++;
			}
		for (; joined <= asked / m->load->clients; joined++)
			workload_join(m->c, m->load, joined);
		cluster_step(m->c);
	}
	wait_idle(m);
}

/* The last client falls silent, or says goodbye, with what it has open. */
static void one_leaves(Many *m)
{
	static const struct magma_req_goodbye q;
	Actor *a = &m->actor[m->load->clients - 1];

	if (m->load->seed % 4 == 0)
		return;
	if (m->load->seed % 4 == 1)      /* to volcano 0; the others find out */
		sim_call_wait(a->client, MAGMA_OP_goodbye, &q, NULL);
	g_clear_pointer(&a->client, sim_client_free);
}

static void release_all(Many *m)
{
	for (guint i = 0; i < m->load->clients; i++)
		while (m->actor[i].client && g_hash_table_size(m->actor[i].open)) {
			ask_release(&m->actor[i]);
			wait_idle(m);
		}
}

/* --- the end: what was acknowledged is there, once --- */

static void check_log(Many *m, const MagmaFid *log, GHashTable *seen)
{
	struct magma_req_read q = { .fid = *log, .size = MAGMA_DATA_MAX };
	MagmaAny rep;

	if (sim_call_wait(m->actor[0].client, MAGMA_OP_read, &q, &rep))
		world_fail(m->w, "a log cannot be read");
	MagmaReader r = magma_reader(rep.rep_read.data.data, rep.rep_read.data.len);
	while (r.left) {
		guint64 token = magma_get_u64(&r);
		guint32 n = magma_get_u32(&r);
		const guint8 *p = n >= 12 ? magma_get_bytes(&r, n - 12) : NULL;
		if (r.error || !p || token > m->next_token)
			world_fail(m->w, "log %" G_GUINT64_FORMAT " is damaged %u bytes before its end", log->ino, (guint)r.left);
		for (guint i = 0; i < n - 12; i++)
			if (p[i] != (token & 0xff))
				world_fail(m->w, "log %" G_GUINT64_FORMAT ": record of token %" G_GUINT64_FORMAT " is damaged", log->ino, token);
		if (!g_hash_table_add(seen, GSIZE_TO_POINTER(token)))
			world_fail(m->w, "token %" G_GUINT64_FORMAT " was appended twice", token);
	}
}

static void check_logs(Many *m)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	GHashTableIter it;
	gpointer token;

	for (guint i = 0; i < LOGS; i++)
		check_log(m, &m->logs[i], seen);
	g_hash_table_iter_init(&it, m->tokens);
	while (g_hash_table_iter_next(&it, &token, NULL))
		if (!g_hash_table_contains(seen, token))
			world_fail(m->w, "token %" G_GSIZE_FORMAT " was acknowledged and is gone", GPOINTER_TO_SIZE(token));
}

static void check_sums(Many *m)
{
	g_autoptr(Fsck) f = fsck_run(m->c);
	GHashTableIter it;
	gpointer p;

	g_hash_table_iter_init(&it, m->tally);
	while (g_hash_table_iter_next(&it, NULL, &p)) {
		const Tally *t = p;
		gint64 nlink = fsck_nlink(f, t->ino);
		if (S_ISDIR(t->type)) {
			gboolean there = t->ino == MAGMA_ROOT_INO || t->names == 1;
			if (there != (nlink >= 0) || (!there && t->names))
				world_fail(m->w, "directory %" G_GUINT64_FORMAT " has %d acknowledged names and is %s", t->ino, (int)t->names, nlink >= 0 ? "there" : "gone");
			if (there && fsck_entries(f, t->ino) != t->entries)
				world_fail(m->w, "directory %" G_GUINT64_FORMAT " has %d entries, acknowledged were %d", t->ino, (int)fsck_entries(f, t->ino), (int)t->entries);
		} else if (nlink != (t->names ? t->names : -1)) {
			world_fail(m->w, "flare %" G_GUINT64_FORMAT " has %d links, acknowledged were %d", t->ino, (int)nlink, (int)t->names);
		}
	}
}

static void check_own(Many *m)
{
	for (guint i = 0; i < m->load->clients; i++) {
		struct magma_req_read q = { .fid = m->actor[i].own, .size = MAGMA_DATA_MAX };
		MagmaAny rep;
		if (sim_call_wait(m->actor[0].client, MAGMA_OP_read, &q, &rep))
			world_fail(m->w, "client-%u's own file cannot be read", i);
		own_read(&m->actor[i], &m->actor[0], &rep);
	}
}

void many_run(Cluster *c, const Workload *load)
{
	Many m = { .c = c, .w = cluster_world(c), .load = load, .dirs = g_ptr_array_new(), .files = g_ptr_array_new() };

	m.tally = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	m.tokens = g_hash_table_new(NULL, NULL);
	m.actor = g_new0(Actor, load->clients);
	for (guint i = 0; i < load->clients; i++) {
		m.actor[i] = (Actor){ .m = &m, .index = i, .client = sim_client_new(c, i && load->seed % 3 == 0 && world_chance(m.w, 1, 2) && !load->reach_all ? 0 : -1), .model = g_byte_array_new() };
		m.actor[i].open = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, NULL);
	}
	set_up(&m);
	cluster_trouble(c, TRUE);
	run_clients(&m);
	one_leaves(&m);
	release_all(&m);
	workload_settle(c, load);
	check_sums(&m);
	check_logs(&m);
	check_own(&m);
	for (guint i = 0; i < load->clients; i++) {
		g_clear_pointer(&m.actor[i].client, sim_client_free);
		g_byte_array_unref(m.actor[i].model);
		g_hash_table_unref(m.actor[i].open);
	}
	g_free(m.actor);
	g_hash_table_unref(m.tally);
	g_hash_table_unref(m.tokens);
	g_ptr_array_unref(m.dirs);
	g_ptr_array_unref(m.files);
}
