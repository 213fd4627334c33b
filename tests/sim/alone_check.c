/* Does what the client reads agree with the model? */
#include "tests/sim/alone.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

static void check_attr(Alone *a, const MNode *n, const MagmaAttr *at)
{
	guint64 size = S_ISDIR(n->mode) ? g_hash_table_size(n->entries) : S_ISLNK(n->mode) ? strlen(n->target) : n->data ? n->data->len : 0;

	if (at->mode != n->mode || at->nlink != n->nlink || at->size != size)
		world_fail(a->w, "flare %" G_GUINT64_FORMAT ": mode %o, %u links, size %" G_GUINT64_FORMAT "; the model has mode %o, %u links, size %" G_GUINT64_FORMAT,
			n->fid.ino, at->mode, at->nlink, at->size, n->mode, n->nlink, size);
}

static void check_content(Alone *a, const MNode *n)
{
	MagmaAny rep;
	struct magma_req_read q = { .fid = n->fid, .size = MAGMA_DATA_MAX };

	alone_ask(a, MAGMA_OP_read, &q, &rep, NULL);
	const MagmaBytes got = rep.rep_read.data;
	if (got.len != n->data->len)
		world_fail(a->w, "flare %" G_GUINT64_FORMAT ": read %u bytes of %u", n->fid.ino, got.len, n->data->len);
	for (guint i = 0; i < got.len; i++)
		if (got.data[i] != n->data->data[i])
			world_fail(a->w, "flare %" G_GUINT64_FORMAT ": byte %u is %02x, not %02x", n->fid.ino, i, got.data[i], n->data->data[i]);
}

static void check_xattrs(Alone *a, const MNode *n)
{
	MagmaAny rep;
	struct magma_req_listxattr q = { .fid = n->fid };
	guint count = 0;

	alone_ask(a, MAGMA_OP_listxattr, &q, &rep, NULL);
	g_autofree guint8 *names = g_memdup2(rep.rep_listxattr.names.data, rep.rep_listxattr.names.len);
	guint len = rep.rep_listxattr.names.len;
	for (guint at = 0; at < len; at += strlen((char *)names + at) + 1, count++) {
		char *name = (char *)names + at;
		GBytes *want = g_hash_table_lookup(n->xattrs, name);
		struct magma_req_getxattr g = { .fid = n->fid, .name = MAGMA_BYTES_STR(name) };
		alone_ask(a, MAGMA_OP_getxattr, &g, &rep, NULL);
		g_autoptr(GBytes) got = g_bytes_new(rep.rep_getxattr.value.data, rep.rep_getxattr.value.len);
		if (!want || !g_bytes_equal(want, got))
			world_fail(a->w, "flare %" G_GUINT64_FORMAT ": extended attribute %s differs", n->fid.ino, name);
	}
	if (count != (n->xattrs ? g_hash_table_size(n->xattrs) : 0))
		world_fail(a->w, "flare %" G_GUINT64_FORMAT " has %u extended attributes", n->fid.ino, count);
}

void alone_check_node(Alone *a, MNode *n)
{
	MagmaAny rep;
	struct magma_req_getattr q = { .fid = n->fid };

	alone_ask(a, MAGMA_OP_getattr, &q, &rep, NULL);
	check_attr(a, n, &rep.rep_getattr.attr);
	if (S_ISREG(n->mode))
		check_content(a, n);
	if (S_ISREG(n->mode) || S_ISDIR(n->mode))
		check_xattrs(a, n);
	if (S_ISLNK(n->mode)) {
		struct magma_req_readlink r = { .fid = n->fid };
		alone_ask(a, MAGMA_OP_readlink, &r, &rep, NULL);
		if (rep.rep_readlink.target.len != strlen(n->target) || memcmp(rep.rep_readlink.target.data, n->target, strlen(n->target)) != 0)
			world_fail(a->w, "symlink %" G_GUINT64_FORMAT " leads elsewhere", n->fid.ino);
	}
}

void alone_check_lookup(Alone *a, MNode *dir, const char *name)
{
	MagmaAny rep;
	struct magma_req_lookup q = { .dir = dir->fid, .name = MAGMA_BYTES_STR(name) };
	MNode *n = g_hash_table_lookup(dir->entries, name);
	g_autoptr(GArray) want = g_array_new(FALSE, FALSE, sizeof(int));
	int enoent = ENOENT;

	if (!n)
		g_array_append_val(want, enoent);
	if (alone_ask(a, MAGMA_OP_lookup, &q, &rep, want))
		return;
	if (rep.rep_lookup.child.ino != n->fid.ino || rep.rep_lookup.type != (n->mode & S_IFMT))
		world_fail(a->w, "%s in %" G_GUINT64_FORMAT " leads to %" G_GUINT64_FORMAT ", not %" G_GUINT64_FORMAT, name, dir->fid.ino, rep.rep_lookup.child.ino, n->fid.ino);
	if (rep.rep_lookup.has_attr)
		check_attr(a, n, &rep.rep_lookup.attr);
}

void alone_check_dir(Alone *a, MNode *n)
{
	struct magma_req_readdir q = { .dir = n->fid, .max = world_chance(a->w, 1, 2) ? 512 : 100000 };
	guint count = 0;
	gboolean eof = FALSE;

	while (!eof) {
		MagmaAny rep;
		alone_ask(a, MAGMA_OP_readdir, &q, &rep, NULL);
		MagmaReader r = magma_reader(rep.rep_readdir.entries.data, rep.rep_readdir.entries.len);
		eof = rep.rep_readdir.eof;
		if (!eof && !r.left)
			world_fail(a->w, "readdir gets nowhere");
		while (r.left) {
			MagmaDirent d;
			char name[256];
			magma_get_dirent(&r, &d);
			if (r.error || d.cookie <= q.cookie)
				world_fail(a->w, "readdir of %" G_GUINT64_FORMAT ": a cookie goes back", n->fid.ino);
			q.cookie = d.cookie;
			g_snprintf(name, sizeof name, "%.*s", (int)d.name.len, d.name.data);
			MNode *child = g_hash_table_lookup(n->entries, name);
			if (!child)
				world_fail(a->w, "readdir of %" G_GUINT64_FORMAT " shows %s, which is not there", n->fid.ino, name);
			if (child->fid.ino != d.fid.ino || d.type != (child->mode & S_IFMT))
				world_fail(a->w, "readdir of %" G_GUINT64_FORMAT " shows a wrong %s", n->fid.ino, name);
			count++;
		}
	}
	if (count != g_hash_table_size(n->entries))
		world_fail(a->w, "readdir of %" G_GUINT64_FORMAT " shows %u entries of %u", n->fid.ino, count, g_hash_table_size(n->entries));
}

void alone_check_all(Alone *a)
{
	for (guint i = 0; i < a->nodes->len; i++) {
		MNode *n = a->nodes->pdata[i];
		if (n->gone)
			continue;
		alone_check_node(a, n);
		if (S_ISDIR(n->mode))
			alone_check_dir(a, n);
	}
}
