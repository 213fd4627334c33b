#include "magmad/core/rows.h"
#include <string.h>

enum { ROW_VERSION = 1 };

void flare_row_encode(const FlareRow *r, GByteArray *out)
{
	magma_put_u8(out, ROW_VERSION);
	magma_put_attr(out, &r->attr);
	magma_put_fid(out, &r->parent);
	magma_put_u64(out, r->next_cookie);
	magma_put_u8(out, r->content);
	magma_put_u32(out, r->intents);
	magma_put_u8(out, r->sealed);
	magma_put_counted(out, r->target.data, r->target.len);
}

gboolean flare_row_decode(const guint8 *p, gsize n, FlareRow *r)
{
	MagmaReader in = magma_reader(p, n);

	memset(r, 0, sizeof *r);
	guint8 version = magma_get_u8(&in);
	magma_get_attr(&in, &r->attr);
	r->parent = magma_get_fid(&in);
	r->next_cookie = magma_get_u64(&in);
	r->content = magma_get_u8(&in);
	r->intents = magma_get_u32(&in);
	r->sealed = magma_get_u8(&in);
	r->target = magma_get_counted(&in, MAGMA_PATH_MAX);
	return !in.error && !in.left && version == ROW_VERSION && r->content <= CONTENT_FILE;
}

static void put_entry(const EntryRow *e, GByteArray *out)
{
	magma_put_u64(out, e->cookie);
	magma_put_fid(out, &e->child);
	magma_put_u32(out, e->type);
}

static EntryRow get_entry(MagmaReader *in)
{
	EntryRow e;

	e.cookie = magma_get_u64(in);
	e.child = magma_get_fid(in);
	e.type = magma_get_u32(in);
	return e;
}

void entry_row_encode(const EntryRow *e, GByteArray *out)
{
	magma_put_u8(out, ROW_VERSION);
	put_entry(e, out);
}

gboolean entry_row_decode(const guint8 *p, gsize n, EntryRow *e)
{
	MagmaReader in = magma_reader(p, n);
	guint8 version = magma_get_u8(&in);

	*e = get_entry(&in);
	return !in.error && !in.left && version == ROW_VERSION;
}

void cookie_row_encode(const EntryRow *e, const guint8 *name, gsize len, GByteArray *out)
{
	magma_put_u8(out, ROW_VERSION);
	put_entry(e, out);
	magma_put_counted(out, name, len);
}

gboolean cookie_row_decode(const guint8 *p, gsize n, EntryRow *e, MagmaBytes *name)
{
	MagmaReader in = magma_reader(p, n);
	guint8 version = magma_get_u8(&in);

	*e = get_entry(&in);
	*name = magma_get_counted(&in, MAGMA_NAME_MAX);
	return !in.error && !in.left && version == ROW_VERSION && magma_name_valid(name->data, name->len);
}

void mark_row_encode(const MarkRow *m, GByteArray *out)
{
	magma_put_u8(out, ROW_VERSION);
	magma_put_u64(out, m->op_hi);
	magma_put_u64(out, m->op_lo);
	magma_put_fid(out, &m->target);
	magma_put_u8(out, m->kind);
	magma_put_u64(out, m->age);
	magma_put_fid(out, &m->coord);
	magma_put_u8(out, m->committed);
	magma_put_fid(out, &m->other);
	put_entry(&m->entry, out);
	magma_put_u32(out, m->type);
	magma_put_counted(out, m->name.data, m->name.len);
}

gboolean mark_row_decode(const guint8 *p, gsize n, MarkRow *m)
{
	MagmaReader in = magma_reader(p, n);

	memset(m, 0, sizeof *m);
	guint8 version = magma_get_u8(&in);
	m->op_hi = magma_get_u64(&in);
	m->op_lo = magma_get_u64(&in);
	m->target = magma_get_fid(&in);
	m->kind = magma_get_u8(&in);
	m->age = magma_get_u64(&in);
	m->coord = magma_get_fid(&in);
	m->committed = magma_get_u8(&in);
	m->other = magma_get_fid(&in);
	m->entry = get_entry(&in);
	m->type = magma_get_u32(&in);
	m->name = magma_get_counted(&in, MAGMA_NAME_MAX);
	return !in.error && !in.left && version == ROW_VERSION && m->kind >= MARK_BORN && m->kind < MARK_KINDS;
}

gsize key_ino(guint8 *k, guint64 ino)
{
	magma_be64_store(k, ino);
	return 8;
}

gsize key_ino_bytes(guint8 *k, guint64 ino, const guint8 *name, gsize len)
{
	g_assert(len <= STORE_KEY_MAX - 8);
	magma_be64_store(k, ino);
	memcpy(k + 8, name, len);
	return 8 + len;
}

gsize key_ino_u64(guint8 *k, guint64 ino, guint64 second)
{
	magma_be64_store(k, ino);
	magma_be64_store(k + 8, second);
	return 16;
}

gsize key_mark(guint8 *k, guint64 op_hi, guint64 op_lo, guint64 ino, MarkKind kind)
{
	magma_be64_store(k, op_hi);
	magma_be64_store(k + 8, op_lo);
	magma_be64_store(k + 16, ino);
	k[24] = kind;
	return 25;
}

void commit_row_encode(const CommitPart *parts, guint n, const MagmaFid *named, guint n_named, GByteArray *out)
{
	magma_put_u8(out, ROW_VERSION);
	magma_put_u32(out, n);
	for (guint i = 0; i < n; i++) {
		magma_put_fid(out, &parts[i].target);
		magma_put_u8(out, parts[i].kind);
	}
	if (n_named)
		magma_put_u32(out, n_named);
	for (guint i = 0; i < n_named; i++)
		magma_put_fid(out, &named[i]);
}

gboolean commit_row_decode(const guint8 *p, gsize n, GArray *parts, GArray *named)
{
	MagmaReader in = magma_reader(p, n);
	guint8 version = magma_get_u8(&in);
	guint32 count = magma_get_u32(&in);

	for (guint32 i = 0; i < count && !in.error; i++) {
		CommitPart part = { .target = magma_get_fid(&in) };
		part.kind = magma_get_u8(&in);
		if (!in.error)
			g_array_append_val(parts, part);
	}
	if (!in.error && in.left) {
		count = magma_get_u32(&in);
		if (!count || count > COMMIT_NAMED_MAX)
			return FALSE;
		for (guint32 i = 0; i < count && !in.error; i++) {
			MagmaFid fid = magma_get_fid(&in);
			if (!in.error)
				g_array_append_val(named, fid);
		}
	}
	return !in.error && !in.left && version == ROW_VERSION;
}

gsize client_row_encode(guint8 *val, gint64 gone, guint64 floor)
{
	magma_be64_store(val, (guint64)gone);
	magma_be64_store(val + 8, floor);
	return CLIENT_ROW_BYTES;
}

gboolean client_row_decode(const guint8 *p, gsize n, gint64 *gone, guint64 *floor)
{
	if (n != 8 && n != CLIENT_ROW_BYTES)
		return FALSE;
	*gone = (gint64)magma_be64_load(p);
	*floor = n == CLIENT_ROW_BYTES ? magma_be64_load(p + 8) : 0;
	return *gone >= 0;
}
