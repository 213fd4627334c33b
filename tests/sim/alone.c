/* One client, every operation, against the model: results and errnos must agree, whatever is killed meanwhile. */
#include <linux/fs.h>
#include "tests/sim/alone.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static GArray *errors(void) { return g_array_new(FALSE, FALSE, sizeof(int)); }
static void may(GArray *e, int error) { g_array_append_val(e, error); }

int alone_ask(Alone *a, MagmaOp op, const void *req, MagmaAny *rep, const GArray *want)
{
	MagmaAny own;
	int error = sim_call_wait(a->client, op, req, rep ? rep : &own);
	g_autoptr(GString) list = g_string_new("");

	if (!want || !want->len) {
		if (error)
			world_fail(a->w, "%s: %s; it should work", magma_op_info(op)->name, magma_strerror(error));
		return 0;
	}
	for (guint i = 0; i < want->len; i++) {
		if (g_array_index(want, int, i) == error)
			return error;
		g_string_append_printf(list, " %s,", magma_strerror(g_array_index(want, int, i)));
	}
	world_fail(a->w, "%s: %s; it should be%s", magma_op_info(op)->name, error ? magma_strerror(error) : "done", list->str);
}

static MNode *node_new(Alone *a, const MagmaFid *fid, guint32 mode, MNode *parent)
{
	MNode *n = g_new0(MNode, 1);

	n->fid = *fid;
	n->mode = mode;
	n->nlink = S_ISDIR(mode) ? 2 : 1;
	n->parent = parent;
	if (S_ISDIR(mode))
		n->entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	if (S_ISREG(mode))
		n->data = g_byte_array_new();
	n->xattrs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
	g_ptr_array_add(a->nodes, n);
	return n;
}

static void node_free(gpointer p)
{
	MNode *n = p;

	if (n->entries)
		g_hash_table_unref(n->entries);
	if (n->data)
		g_byte_array_unref(n->data);
	g_hash_table_unref(n->xattrs);
	g_free(n->target);
	g_free(n);
}

static MNode *child_of(MNode *dir, const char *name) { return g_hash_table_lookup(dir->entries, name); }

static void entry_put(MNode *dir, const char *name, MNode *n)
{
	MNode *old = child_of(dir, name);

	if (old && S_ISDIR(old->mode))
		dir->nlink--;
	g_hash_table_insert(dir->entries, g_strdup(name), n);
	if (S_ISDIR(n->mode)) {
		dir->nlink++;
		n->parent = dir;
	}
}

static void entry_del(MNode *dir, const char *name)
{
	if (S_ISDIR(child_of(dir, name)->mode))
		dir->nlink--;
	g_hash_table_remove(dir->entries, name);
}

/* It lost a name. */
static void node_drop(MNode *n)
{
	if (S_ISDIR(n->mode)) {
		n->gone = TRUE;
		return;
	}
	n->nlink--;
	n->gone = !n->nlink && !n->open;
}

static MNode *pick(Alone *a, gboolean (*fits)(const MNode *n))
{
	g_autoptr(GPtrArray) all = g_ptr_array_new();

	for (guint i = 0; i < a->nodes->len; i++)
		if (fits(a->nodes->pdata[i]))
			g_ptr_array_add(all, a->nodes->pdata[i]);
	return all->len ? all->pdata[world_pick(a->w, all->len)] : NULL;
}

static gboolean fits_dir(const MNode *n) { return !n->gone && S_ISDIR(n->mode); }
static gboolean fits_reg(const MNode *n) { return !n->gone && S_ISREG(n->mode); }
static gboolean fits_any(const MNode *n) { return !n->gone; }
static gboolean fits_gone_dir(const MNode *n) { return n->gone && S_ISDIR(n->mode); }
static gboolean fits_open(const MNode *n) { return n->open; }
static gboolean fits_xattr(const MNode *n) { return !n->gone && (S_ISREG(n->mode) || S_ISDIR(n->mode)); }

static const char *pick_name(Alone *a)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g" };

	return names[world_pick(a->w, G_N_ELEMENTS(names))];
}

/* A key somewhere: as the client's path would give it. */
static MagmaKey pick_key(Alone *a, const char *name)
{
	char path[64];
	int n = g_snprintf(path, sizeof path, "/%u/%s", world_pick(a->w, 1000), name);

	return magma_key_of_path(path, n);
}

static void op_make(Alone *a)
{
	MNode *dir = world_chance(a->w, 1, 20) ? pick(a, fits_gone_dir) : NULL;
	const char *name = pick_name(a);
	MagmaKey key = pick_key(a, name);
	MagmaAny rep;
	g_autoptr(GArray) want = errors();
	static const guint32 kinds[] = { S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO };
	guint32 kind = kinds[world_pick(a->w, G_N_ELEMENTS(kinds))], mode = kind | 0644;
	char target[20];

	dir = dir ? dir : pick(a, fits_dir);
	g_snprintf(target, sizeof target, "to-%u", world_pick(a->w, 1000));
	if (dir->gone) {
		may(want, ESTALE);
		may(want, ENOENT);
	} else if (child_of(dir, name)) {
		may(want, EEXIST);
	}
	int error;
	gboolean opens = FALSE;
	if (kind == S_IFDIR) {
		struct magma_req_mkdir q = { .dir = dir->fid, .key = key, .mode = mode, .name = MAGMA_BYTES_STR(name) };
		error = alone_ask(a, MAGMA_OP_mkdir, &q, &rep, want);
	} else if (kind == S_IFLNK) {
		struct magma_req_symlink q = { .dir = dir->fid, .key = key, .name = MAGMA_BYTES_STR(name), .target = MAGMA_BYTES_STR(target) };
		mode = S_IFLNK | 0777;
		error = alone_ask(a, MAGMA_OP_symlink, &q, &rep, want);
	} else if (kind == S_IFREG && world_chance(a->w, 2, 3)) {
		struct magma_req_create q = { .dir = dir->fid, .key = key, .mode = mode, .flags = O_RDWR | O_CREAT | O_EXCL, .name = MAGMA_BYTES_STR(name) };
		error = alone_ask(a, MAGMA_OP_create, &q, &rep, want);
		opens = TRUE;
	} else {
		struct magma_req_mknod q = { .dir = dir->fid, .key = key, .mode = mode, .name = MAGMA_BYTES_STR(name) };
		error = alone_ask(a, MAGMA_OP_mknod, &q, &rep, want);
	}
	if (error)
		return;
	MNode *n = node_new(a, &rep.rep_mkdir.attr.fid, mode, dir);
	if (kind == S_IFLNK)
		n->target = g_strdup(target);
	if (rep.rep_mkdir.attr.mode != mode || rep.rep_mkdir.attr.nlink != n->nlink)
		world_fail(a->w, "made a flare of mode %o with %u links", rep.rep_mkdir.attr.mode, rep.rep_mkdir.attr.nlink);
	entry_put(dir, name, n);
	if (opens) {
		n->open = TRUE;
		sim_opened(a->client, &n->fid);
	}
}

static void op_link(Alone *a)
{
	MNode *dir = pick(a, fits_dir), *n = pick(a, fits_any);
	const char *name = pick_name(a);
	struct magma_req_link q = { .dir = dir->fid, .flare = n->fid, .name = MAGMA_BYTES_STR(name) };
	g_autoptr(GArray) want = errors();
	MagmaAny rep;

	if (child_of(dir, name))
		may(want, EEXIST);
	else if (S_ISDIR(n->mode))
		may(want, EPERM);
	else if (!n->nlink)
		may(want, ENOENT);
	if (alone_ask(a, MAGMA_OP_link, &q, &rep, want))
		return;
	n->nlink++;
	entry_put(dir, name, n);
	if (rep.rep_link.attr.nlink != n->nlink)
		world_fail(a->w, "link: %u links, not %u", rep.rep_link.attr.nlink, n->nlink);
}

static void op_remove(Alone *a)
{
	MNode *dir = pick(a, fits_dir);
	const char *name = pick_name(a);
	MNode *n = child_of(dir, name);
	gboolean rmdir = n && world_chance(a->w, 9, 10) ? S_ISDIR(n->mode) : world_chance(a->w, 1, 2);
	struct magma_req_unlink q = { .dir = dir->fid, .name = MAGMA_BYTES_STR(name) };
	g_autoptr(GArray) want = errors();
	MagmaAny rep;

	if (!n)
		may(want, ENOENT);
	else if (rmdir && !S_ISDIR(n->mode))
		may(want, ENOTDIR);
	else if (!rmdir && S_ISDIR(n->mode))
		may(want, EISDIR);
	else if (rmdir && g_hash_table_size(n->entries))
		may(want, ENOTEMPTY);
	if (alone_ask(a, rmdir ? MAGMA_OP_rmdir : MAGMA_OP_unlink, &q, &rep, want))
		return;
	if (rep.rep_unlink.child.ino != n->fid.ino)
		world_fail(a->w, "removed %" G_GUINT64_FORMAT ", not %" G_GUINT64_FORMAT, rep.rep_unlink.child.ino, n->fid.ino);
	entry_del(dir, name);
	node_drop(n);
}

static gboolean is_inside(const MNode *n, const MNode *dir)
{
	for (; n; n = n->parent)
		if (n == dir)
			return TRUE;
	return FALSE;
}

static void rename_errors(GArray *want, MNode *from, MNode *n, MNode *to, MNode *t, gboolean same, guint32 flags)
{
	if (!n || (flags & RENAME_EXCHANGE && !t))
		may(want, ENOENT);
	if (flags & RENAME_NOREPLACE && t)
		may(want, EEXIST);
	if (!n || same)
		return;
	if (S_ISDIR(n->mode) && is_inside(to, n))
		may(want, EINVAL);
	if (!t || t == n)
		return;
	if (flags & RENAME_EXCHANGE) {
		if (S_ISDIR(t->mode) && is_inside(from, t))
			may(want, EINVAL);
		return;
	}
	if (S_ISDIR(n->mode) && !S_ISDIR(t->mode))
		may(want, ENOTDIR);
	if (!S_ISDIR(n->mode) && S_ISDIR(t->mode))
		may(want, EISDIR);
	if (S_ISDIR(t->mode) && g_hash_table_size(t->entries))
		may(want, ENOTEMPTY);
}

static void rename_done(MNode *from, const char *from_name, MNode *to, const char *to_name, gboolean exchange)
{
	MNode *n = child_of(from, from_name), *t = child_of(to, to_name);

	if (n == t)
		return;
	if (exchange) {
		entry_put(to, to_name, n);
		entry_put(from, from_name, t);
		return;
	}
	entry_del(from, from_name);
	entry_put(to, to_name, n);
	if (t)
		node_drop(t);
}

static void op_rename(Alone *a)
{
	static const guint32 all_flags[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	MNode *from = pick(a, fits_dir), *to = world_chance(a->w, 1, 3) ? from : pick(a, fits_dir);
	const char *from_name = pick_name(a), *to_name = pick_name(a);
	MNode *n = child_of(from, from_name), *t = child_of(to, to_name);
	struct magma_req_rename q = { .to_dir = to->fid, .from_dir = from->fid, .flags = all_flags[world_pick(a->w, G_N_ELEMENTS(all_flags))],
		.from_name = MAGMA_BYTES_STR(from_name), .to_name = MAGMA_BYTES_STR(to_name) };
	g_autoptr(GArray) want = errors();
	MagmaAny rep;

	rename_errors(want, from, n, to, t, from == to && !strcmp(from_name, to_name), q.flags);
	if (alone_ask(a, MAGMA_OP_rename, &q, &rep, want))
		return;
	rename_done(from, from_name, to, to_name, q.flags & RENAME_EXCHANGE);
}

static void fill(Alone *a, guint8 *p, guint n)
{
	guint8 at = world_pick(a->w, 256);

	for (guint i = 0; i < n; i++)
		p[i] = at + i * 7 + (i >> 8);
}

static void data_resize(GByteArray *d, guint n)
{
	guint was = d->len;

	g_byte_array_set_size(d, n);
	if (n > was)
		memset(d->data + was, 0, n - was);
}

static guint pick_size(Alone *a)
{
	switch (world_pick(a->w, 5)) {
	case 0: return world_pick(a->w, 10);
	case 1: return world_pick(a->w, 3000);
	case 2: return 8150 + world_pick(a->w, 80);
	case 3: return world_pick(a->w, 20000);
	default: return 0;
	}
}

static void op_write(Alone *a)
{
	MNode *n = pick(a, fits_reg);
	guint8 bytes[20000];
	guint len = 1 + MIN(pick_size(a), sizeof bytes - 1);
	MagmaAny rep;

	if (!n)
		return;
	struct magma_req_write q = { .fid = n->fid, .offset = pick_size(a), .data = { bytes, len } };
	q.flags = (world_chance(a->w, 1, 3) ? MAGMA_WRITE_APPEND : 0) | (world_chance(a->w, 1, 8) ? MAGMA_WRITE_DSYNC : 0);
	fill(a, bytes, len);
	alone_ask(a, MAGMA_OP_write, &q, &rep, NULL);
	guint64 offset = q.flags & MAGMA_WRITE_APPEND ? n->data->len : q.offset;
	data_resize(n->data, MAX(n->data->len, offset + len));
	memcpy(n->data->data + offset, bytes, len);
	if (rep.rep_write.offset != offset || rep.rep_write.size != n->data->len)
		world_fail(a->w, "write at %" G_GUINT64_FORMAT " went to %" G_GUINT64_FORMAT ", size %" G_GUINT64_FORMAT ", not %u", offset, rep.rep_write.offset, rep.rep_write.size, n->data->len);
}

static void op_truncate(Alone *a)
{
	MNode *n = pick(a, fits_reg);
	guint size = pick_size(a);
	MagmaAny rep;

	if (!n)
		return;
	if (world_chance(a->w, 1, 4)) {
		struct magma_req_open q = { .fid = n->fid, .flags = O_RDWR | O_TRUNC };
		alone_ask(a, MAGMA_OP_open, &q, &rep, NULL);
		n->open = TRUE;
		sim_opened(a->client, &n->fid);
		data_resize(n->data, 0);
		return;
	}
	struct magma_req_setattr q = { .fid = n->fid, .mask = MAGMA_SET_SIZE, .size = size };
	alone_ask(a, MAGMA_OP_setattr, &q, &rep, NULL);
	data_resize(n->data, size);
	if (rep.rep_setattr.attr.size != size)
		world_fail(a->w, "truncated to %u, not %u", (guint)rep.rep_setattr.attr.size, size);
}

static void op_attr(Alone *a)
{
	MNode *n = pick(a, fits_any);
	struct magma_req_setattr q = { .fid = n->fid, .mask = MAGMA_SET_MODE, .mode = 0600 + world_pick(a->w, 64) };
	MagmaAny rep;

	if (S_ISLNK(n->mode))
		return;
	alone_ask(a, MAGMA_OP_setattr, &q, &rep, NULL);
	n->mode = (n->mode & S_IFMT) | q.mode;
	if (rep.rep_setattr.attr.mode != n->mode || rep.rep_setattr.attr.nlink != n->nlink)
		world_fail(a->w, "chmod: mode %o, %u links", rep.rep_setattr.attr.mode, rep.rep_setattr.attr.nlink);
}

static void op_xattr(Alone *a)
{
	static const char *const names[] = { "user.x", "user.y", "trusted.z" };
	MNode *n = pick(a, fits_xattr);
	const char *name = names[world_pick(a->w, G_N_ELEMENTS(names))];
	gboolean have = g_hash_table_contains(n->xattrs, name);
	g_autoptr(GArray) want = errors();
	guint8 value[3000];
	guint len = world_pick(a->w, sizeof value);

	if (world_chance(a->w, 1, 3)) {
		struct magma_req_removexattr q = { .fid = n->fid, .name = MAGMA_BYTES_STR(name) };
		if (!have)
			may(want, ENODATA);
		if (!alone_ask(a, MAGMA_OP_removexattr, &q, NULL, want))
			g_hash_table_remove(n->xattrs, name);
		return;
	}
	struct magma_req_setxattr q = { .fid = n->fid, .flags = world_pick(a->w, 3), .name = MAGMA_BYTES_STR(name), .value = { value, len } };
	fill(a, value, len);
	if (q.flags & XATTR_CREATE && have)
		may(want, EEXIST);
	if (q.flags & XATTR_REPLACE && !have)
		may(want, ENODATA);
	if (!alone_ask(a, MAGMA_OP_setxattr, &q, NULL, want))
		g_hash_table_insert(n->xattrs, g_strdup(name), g_bytes_new(value, len));
}

static void release(Alone *a, MNode *n)
{
	struct magma_req_release q = { .fid = n->fid };

	n->open = FALSE;
	sim_released(a->client, &n->fid);
	alone_ask(a, MAGMA_OP_release, &q, NULL, NULL);
	n->gone = !n->nlink;
}

static void op_open(Alone *a)
{
	MNode *n = pick(a, world_chance(a->w, 1, 2) ? fits_open : fits_reg);
	struct magma_req_open q;

	if (!n)
		return;
	if (n->open) {
		release(a, n);
		return;
	}
	q = (struct magma_req_open){ .fid = n->fid, .flags = O_RDWR };
	alone_ask(a, MAGMA_OP_open, &q, NULL, NULL);
	n->open = TRUE;
	sim_opened(a->client, &n->fid);
}

static void op_fsync(Alone *a)
{
	MNode *n = pick(a, fits_any);
	struct magma_req_fsync q = { .fid = n->fid };

	if (S_ISREG(n->mode) || S_ISDIR(n->mode))
		alone_ask(a, MAGMA_OP_fsync, &q, NULL, NULL);
}

static void op_look(Alone *a)
{
	alone_check_lookup(a, pick(a, fits_dir), pick_name(a));
	alone_check_node(a, pick(a, fits_any));
}

static void op_list(Alone *a) { alone_check_dir(a, pick(a, fits_dir)); }
static void op_pause(Alone *a) { cluster_run(a->c, world_pick(a->w, world_chance(a->w, 1, 10) ? 8000000 : 20000)); }

static const struct { void (*run)(Alone *a); guint weight, rename_weight; } ops[] = {
	{ op_make, 30, 25 }, { op_link, 8, 8 }, { op_remove, 14, 12 }, { op_rename, 18, 60 }, { op_write, 20, 3 }, { op_truncate, 8, 1 }, { op_attr, 4, 2 },
	{ op_xattr, 5, 2 }, { op_open, 5, 3 }, { op_fsync, 3, 2 }, { op_look, 12, 12 }, { op_list, 5, 6 }, { op_pause, 2, 2 },
};

static void one_op(Alone *a)
{
	guint total = 0, i;

	for (i = 0; i < G_N_ELEMENTS(ops); i++)
		total += a->load->rename_heavy ? ops[i].rename_weight : ops[i].weight;
	guint at = world_pick(a->w, total);
	for (i = 0; at >= (a->load->rename_heavy ? ops[i].rename_weight : ops[i].weight); i++)
		at -= a->load->rename_heavy ? ops[i].rename_weight : ops[i].weight;
	ops[i].run(a);
}

void alone_run(Cluster *c, const Workload *load)
{
	Alone a = { .c = c, .w = cluster_world(c), .load = load, .nodes = g_ptr_array_new_with_free_func(node_free) };
	MagmaFid root = magma_fid_root();

	a.client = sim_client_new(c, -1);
	a.root = node_new(&a, &root, S_IFDIR | 0755, NULL);
	cluster_trouble(c, TRUE);
	for (a.ops = 0; a.ops < load->ops; a.ops++) {
		workload_join(c, load, a.ops);
		one_op(&a);
	}
	alone_check_all(&a);
	for (guint i = 0; i < a.nodes->len; i++)
		if (((MNode *)a.nodes->pdata[i])->open)
			release(&a, a.nodes->pdata[i]);
	workload_settle(c, load);
	alone_check_all(&a);
	sim_client_free(a.client);
	g_ptr_array_unref(a.nodes);
}
