/* One client writes and syncs; then the power goes, everywhere or at one volcano. What was synced is there; what was written later may be there or not, but took nothing synced with it.
 * Around that names are made, linked, renamed and removed all over the tree and never synced, some of them under way when the power goes: of those anything may be left, but it must be a tree. */
#include "tests/sim/fsck.h"
#include "tests/sim/workload.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

enum { DIRS = 4, SIZE_MAX_ = 14000, ROUNDS = 3, FOLDERS = 12, LITTER_NAMES = 6, LITTER_BEFORE = 60, LITTER_AT_THE_CUT = 8 };

typedef struct {
	MagmaFid fid;
	guint dir;
	char name[16];
	gboolean synced;              /* its name and content have been */
	gboolean removed, removed_synced;
	GByteArray *data;
	GByteArray *sure;             /* per byte of data at the last sync: 1: nothing was written over it since */
	GByteArray *was;              /* data at the last sync */
} File;

typedef struct {
	Cluster *c;
	World *w;
	SimClient *client;
	MagmaFid dirs[DIRS];
	GPtrArray *files;
	guint next_name;
	MagmaFid folders[FOLDERS];    /* where litter is made: dirs, and directories that were made in them */
	guint n_folders;
} Power;

static void must(Power *p, MagmaOp op, const void *req, MagmaAny *rep)
{
	MagmaAny own;
	int error = sim_call_wait(p->client, op, req, rep ? rep : &own);

	if (error)
		world_fail(p->w, "%s: %s", magma_op_info(op)->name, magma_strerror(error));
}

static MagmaKey pick_key(Power *p)
{
	char path[32];

	return magma_key_of_path(path, g_snprintf(path, sizeof path, "/%u", world_pick(p->w, 100000)));
}

static void file_free(gpointer ptr)
{
	File *f = ptr;

	g_byte_array_unref(f->data);
	g_byte_array_unref(f->sure);
	g_byte_array_unref(f->was);
	g_free(f);
}

static File *pick(Power *p)
{
	for (guint i = 0; p->files->len && i < 10; i++) {
		File *f = p->files->pdata[world_pick(p->w, p->files->len)];
		if (!f->removed)
			return f;
	}
	return NULL;
}

static void make(Power *p)
{
	File *f = g_new0(File, 1);
	MagmaAny rep;

	f->dir = world_pick(p->w, DIRS);
	g_snprintf(f->name, sizeof f->name, "f%u", p->next_name++);
	struct magma_req_mknod q = { .dir = p->dirs[f->dir], .key = pick_key(p), .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR(f->name) };
	must(p, MAGMA_OP_mknod, &q, &rep);
	f->fid = rep.rep_mknod.attr.fid;
	f->data = g_byte_array_new();
	f->sure = g_byte_array_new();
	f->was = g_byte_array_new();
	g_ptr_array_add(p->files, f);
}

static void resize(GByteArray *d, guint n)
{
	guint was = d->len;

	g_byte_array_set_size(d, n);
	if (n > was)
		memset(d->data + was, 0, n - was);
}

static void unsure(File *f, guint64 from, guint64 to)
{
	for (guint64 i = from; i < to && i < f->sure->len; i++)
		f->sure->data[i] = 0;
}

static void is_synced(File *f)
{
	f->synced = TRUE;
	g_byte_array_set_size(f->was, 0);
	g_byte_array_append(f->was, f->data->data, f->data->len);
	g_byte_array_set_size(f->sure, f->data->len);
	if (f->sure->len)
		memset(f->sure->data, 1, f->sure->len);
}

static void write_some(Power *p, File *f)
{
	guint8 bytes[6000];
	guint n = 1 + world_pick(p->w, world_chance(p->w, 1, 2) ? sizeof bytes - 1 : 50);
	gboolean dsync = world_chance(p->w, 1, 4), whole = TRUE;
	struct magma_req_write q = { .fid = f->fid, .offset = world_pick(p->w, SIZE_MAX_), .flags = dsync ? MAGMA_WRITE_DSYNC : 0, .data = { bytes, n } };

	if (world_chance(p->w, 1, 2)) {
		q.flags |= MAGMA_WRITE_APPEND;
		q.offset = f->data->len;
	}
	for (guint i = 0; i < n; i++)
		bytes[i] = world_pick(p->w, 256);
	must(p, MAGMA_OP_write, &q, NULL);
	resize(f->data, MAX(f->data->len, q.offset + n));
	memcpy(f->data->data + q.offset, bytes, n);
	for (guint i = 0; i < f->sure->len; i++)
		whole &= f->sure->data[i];
	/* O_DSYNC: this write is durable; it is easily said only where nothing else waits to be */
	if (dsync && f->synced && whole && f->sure->len >= MIN(q.offset, f->data->len - n))
		is_synced(f);
	else
		unsure(f, q.offset, q.offset + n);
}

static void truncate_some(Power *p, File *f)
{
	struct magma_req_setattr q = { .fid = f->fid, .mask = MAGMA_SET_SIZE, .size = world_pick(p->w, SIZE_MAX_) };

	must(p, MAGMA_OP_setattr, &q, NULL);
	resize(f->data, q.size);
	unsure(f, q.size, G_MAXUINT64);
}

static void sync_file(Power *p, File *f)
{
	struct magma_req_fsync q = { .fid = f->fid };

	must(p, MAGMA_OP_fsync, &q, NULL);
	is_synced(f);
}

static void sync_dir(Power *p)
{
	guint d = world_pick(p->w, DIRS);
	struct magma_req_fsync q = { .fid = p->dirs[d] };

	must(p, MAGMA_OP_fsync, &q, NULL);
	for (guint i = 0; i < p->files->len; i++) {
		File *f = p->files->pdata[i];
		if (f->dir == d && f->removed)
			f->removed_synced = TRUE;
	}
}

static void remove_one(Power *p, File *f)
{
	struct magma_req_unlink q = { .dir = p->dirs[f->dir], .name = MAGMA_BYTES_STR(f->name) };

	must(p, MAGMA_OP_unlink, &q, NULL);
	f->removed = TRUE;
}

/* --- litter --- */

/* A request with what it points to. */
typedef struct {
	MagmaOp op;
	MagmaAny req;
	char name[2][8];
	guint8 bytes[10000];
} Litter;

static MagmaFid a_folder(Power *p) { return p->folders[world_pick(p->w, p->n_folders)]; }

static MagmaBytes a_name(Power *p, char out[8])
{
	g_snprintf(out, 8, "x%u", world_pick(p->w, LITTER_NAMES));
	return MAGMA_BYTES_STR(out);
}

static MagmaFid what_is_at(Power *p, const MagmaFid *dir, MagmaBytes name)
{
	struct magma_req_lookup q = { .dir = *dir, .name = name };
	MagmaAny rep;

	return sim_call_wait(p->client, MAGMA_OP_lookup, &q, &rep) ? (MagmaFid){ .ino = 0 } : rep.rep_lookup.child;
}

/* The next operation that nobody will sync. FALSE: none. */
static gboolean litter_next(Power *p, Litter *l)
{
	MagmaFid dir = a_folder(p), other = a_folder(p), fid;
	MagmaBytes name = a_name(p, l->name[0]), to = a_name(p, l->name[1]);

	switch (world_pick(p->w, 12)) {
	case 0: case 1: case 2:
		l->op = MAGMA_OP_mknod;
		l->req.req_mknod = (struct magma_req_mknod){ .dir = dir, .key = pick_key(p), .mode = S_IFREG | 0644, .name = name };
		return TRUE;
	case 3: case 4:
		l->op = MAGMA_OP_mkdir;
		l->req.req_mkdir = (struct magma_req_mkdir){ .dir = dir, .key = pick_key(p), .mode = 0755, .name = name };
		return TRUE;
	case 5:
		l->op = MAGMA_OP_unlink;
		l->req.req_unlink = (struct magma_req_unlink){ .dir = dir, .name = name };
		return TRUE;
	case 6:
		l->op = MAGMA_OP_rmdir;
		l->req.req_rmdir = (struct magma_req_rmdir){ .dir = dir, .name = name };
		return TRUE;
	case 7: case 8: case 9:
		l->op = MAGMA_OP_rename;
		l->req.req_rename = (struct magma_req_rename){ .to_dir = other, .from_dir = dir, .flags = world_chance(p->w, 1, 5) ? 2 : 0, .from_name = name, .to_name = to };
		return TRUE;
	case 10:
		l->op = MAGMA_OP_link;
		fid = what_is_at(p, &dir, name);
		l->req.req_link = (struct magma_req_link){ .dir = other, .flare = fid, .name = to };
		return fid.ino != 0;
	default:
		l->op = MAGMA_OP_write;
		fid = what_is_at(p, &dir, name);
		l->req.req_write = (struct magma_req_write){ .fid = fid, .data = { l->bytes, 1 + world_pick(p->w, sizeof l->bytes) } };
		return fid.ino != 0;
	}
}

static void litter(Power *p)
{
	g_autofree Litter *l = g_new0(Litter, 1);
	MagmaAny rep;

	if (!litter_next(p, l))
		return;
	int error = sim_call_wait(p->client, l->op, &l->req, &rep);
	if (error == EIO || error == ETIMEDOUT)
		world_fail(p->w, "%s: %s", magma_op_info(l->op)->name, magma_strerror(error));
	if (!error && l->op == MAGMA_OP_mkdir) {
		guint at = p->n_folders < FOLDERS ? p->n_folders++ : DIRS + world_pick(p->w, FOLDERS - DIRS);
		p->folders[at] = rep.rep_mkdir.attr.fid;
	}
}

static void litter_answered(void *user, int error, const MagmaAny *rep) { g_free(user); }

/* Operations under way when the power goes; their answers come afterwards. */
static void litter_at_the_cut(Power *p)
{
	for (guint n = world_pick(p->w, LITTER_AT_THE_CUT); n; n--) {
		Litter *l = g_new0(Litter, 1);
		if (litter_next(p, l))
			sim_call(p->client, l->op, &l->req, litter_answered, l);
		else
			g_free(l);
	}
	cluster_run(p->c, world_pick(p->w, world_chance(p->w, 1, 2) ? 5000 : 400000));
}

static void one_op(Power *p)
{
	File *f = pick(p);
	guint what = world_pick(p->w, 20);

	if (world_chance(p->w, 1, 2)) {
		litter(p);
		return;
	}
	if (!f || what < 3) {
		make(p);
		if (world_chance(p->w, 1, 2))      /* before its marks are settled */
			sync_file(p, p->files->pdata[p->files->len - 1]);
	}
	else if (what < 11)
		write_some(p, f);
	else if (what < 13)
		truncate_some(p, f);
	else if (what < 17)
		sync_file(p, f);
	else if (what == 17)
		sync_dir(p);
	else if (what == 18)
		remove_one(p, f);
	else
		cluster_run(p->c, world_pick(p->w, world_chance(p->w, 1, 6) ? 8000000 : 300000));
}

/* A file is made and synced and its marks are settled; what is made afterwards brings the journals of some volcanos to disk, not of all. */
static void settle_beside(Power *p)
{
	make(p);
	sync_file(p, p->files->pdata[p->files->len - 1]);
	cluster_run(p->c, world_pick(p->w, 600000));
	make(p);
	make(p);
	cluster_run(p->c, world_pick(p->w, 600000));
}

/* --- after the cut --- */

static void check_content(Power *p, File *f)
{
	struct magma_req_read q = { .fid = f->fid, .size = MAGMA_DATA_MAX };
	MagmaAny rep;
	guint sure_to = 0;

	must(p, MAGMA_OP_read, &q, &rep);
	const MagmaBytes got = rep.rep_read.data;
	for (guint i = 0; i < f->sure->len; i++) {
		if (!f->sure->data[i])
			continue;
		sure_to = i + 1;
		if (i < got.len && got.data[i] != f->was->data[i])
			world_fail(p->w, "synced byte %u of %s (%" G_GUINT64_FORMAT ") is %02x, not %02x", i, f->name, f->fid.ino, got.data[i], f->was->data[i]);
	}
	if (got.len < sure_to)
		world_fail(p->w, "%s (%" G_GUINT64_FORMAT ") is %u bytes long; %u were synced", f->name, f->fid.ino, got.len, sure_to);
	resize(f->data, 0);
	g_byte_array_append(f->data, got.data, got.len);
}

/* Forgets what the cut may have taken. FALSE: the file is not known any more. */
static gboolean check_file(Power *p, File *f)
{
	struct magma_req_lookup q = { .dir = p->dirs[f->dir], .name = MAGMA_BYTES_STR(f->name) };
	MagmaAny rep;
	int error = sim_call_wait(p->client, MAGMA_OP_lookup, &q, &rep);

	if (error && error != ENOENT)
		world_fail(p->w, "lookup of %s: %s", f->name, magma_strerror(error));
	if (f->removed) {
		if (f->removed_synced && !error)
			world_fail(p->w, "%s was removed, its directory synced, and it is back", f->name);
		return FALSE;
	}
	if (!f->synced)
		return FALSE;
	if (error || rep.rep_lookup.child.ino != f->fid.ino)
		world_fail(p->w, "%s was synced and is gone", f->name);
	check_content(p, f);
	return TRUE;
}

static void check_all(Power *p)
{
	for (guint i = 0; i < p->files->len;)
		if (check_file(p, p->files->pdata[i]))
			i++;
		else
			g_ptr_array_remove_index_fast(p->files, i);
}

static gboolean all_answered(void *user) { return !sim_client_waiting(user); }

/* What is on its way to the disks when the answer to an fsync comes is not on all of them. */
static void sync_at_the_cut(Power *p)
{
	File *f = pick(p);

	if (!f) {
		make(p);
		f = p->files->pdata[p->files->len - 1];
	}
	if (world_chance(p->w, 2, 3))
		write_some(p, f);
	sync_file(p, f);
}

/* What was synced and rested is written over, and the disks may come to that before they come to the journals. */
static void write_over(Power *p)
{
	for (guint n = world_pick(p->w, 5); n; n--) {
		File *f = pick(p);
		if (f && f->synced)
			write_some(p, f);
	}
}

/* One that does not come back at once leaves it to its copies to have what was synced. */
static void cut(Power *p, const Workload *load)
{
	switch (world_pick(p->w, 4)) {
	case 0:
		litter_at_the_cut(p);
		break;
	case 1:
		write_over(p);
		litter_at_the_cut(p);
		break;
	case 2:
		write_over(p);
		sync_at_the_cut(p);
		break;
	default:
		sync_at_the_cut(p);
		break;
	}
	if (world_chance(p->w, 1, 3))
		cluster_power_cut_one(p->c, world_pick(p->w, load->volcanos), 1000 + world_pick(p->w, 1000000));
	else
		cluster_power_cut(p->c, world_chance(p->w, 1, 2) ? (int)world_pick(p->w, load->volcanos) : -1);
}

void power_run(Cluster *c, const Workload *load)
{
	Power p = { .c = c, .w = cluster_world(c), .files = g_ptr_array_new_with_free_func(file_free) };
	MagmaAny rep;

	gboolean join_late = world_chance(p.w, 1, 3);      /* then slices move while things are made */
	for (guint i = 1; !join_late && i < load->volcanos; i++)
		cluster_start(c, i);
	if (!join_late)
		workload_all_serve(c, load);
	p.client = sim_client_new(c, -1);
	for (guint i = 0; i < DIRS; i++) {
		char name[8];
		g_snprintf(name, sizeof name, "d%u", i);
		struct magma_req_mkdir q = { .dir = magma_fid_root(), .key = pick_key(&p), .mode = 0755, .name = MAGMA_BYTES_STR(name) };
		must(&p, MAGMA_OP_mkdir, &q, &rep);
		p.dirs[i] = p.folders[p.n_folders++] = rep.rep_mkdir.attr.fid;
		struct magma_req_fsync s = { .fid = p.dirs[i] };
		must(&p, MAGMA_OP_fsync, &s, NULL);
	}
	for (guint round = 0; round < ROUNDS; round++) {
		cluster_trouble(c, load->seed % 2);
		for (guint i = 0; i < load->ops / 2; i++) {
			for (guint at = 2 * i; join_late && !round && at < 2 * i + 2; at++)
				workload_join(c, load, at);
			one_op(&p);
		}
		cluster_trouble(c, FALSE);
		if (world_chance(p.w, 1, 2))
			settle_beside(&p);
		for (guint i = world_pick(p.w, LITTER_BEFORE); i; i--)      /* quick: nothing is settled yet */
			litter(&p);
		cut(&p, load);
		check_all(&p);
		if (round == ROUNDS - 1 || world_chance(p.w, 1, 2)) {
			if (!cluster_run_until(c, 90 * (gint64)1000000, all_answered, p.client))
				world_fail(p.w, "requests that are never answered");
			workload_settle(c, load);
			check_all(&p);
		}
		/* what came back by luck counts only once it is synced again */
		for (guint i = 0; i < p.files->len; i++)
			sync_file(&p, p.files->pdata[i]);
	}
	sim_client_free(p.client);
	g_ptr_array_unref(p.files);
}
