#include "libmagma/proto/list.h"
#include <string.h>

#define NSEC_PER_SEC 1000000000u

void magma_put_fid(GByteArray *out, const MagmaFid *f)
{
	magma_put_key(out, &f->key);
	magma_put_u64(out, f->ino);
}

void magma_put_ts(GByteArray *out, MagmaTs t)
{
	magma_put_u64(out, (guint64)t.sec);
	magma_put_u32(out, t.nsec);
}

void magma_put_attr(GByteArray *out, const MagmaAttr *a)
{
	magma_put_fid(out, &a->fid);
	magma_put_u32(out, a->mode);
	magma_put_u32(out, a->nlink);
	magma_put_u32(out, a->uid);
	magma_put_u32(out, a->gid);
	magma_put_u64(out, a->rdev);
	magma_put_u64(out, a->size);
	magma_put_u64(out, a->blocks);
	magma_put_ts(out, a->atime);
	magma_put_ts(out, a->mtime);
	magma_put_ts(out, a->ctime);
	magma_put_ts(out, a->btime);
	magma_put_u32(out, a->flags);
}

void magma_put_dirent(GByteArray *out, const MagmaDirent *d)
{
	g_assert(d->name.len >= 1 && d->name.len <= MAGMA_NAME_MAX);
	magma_put_u64(out, d->cookie);
	magma_put_fid(out, &d->fid);
	magma_put_u32(out, d->type);
	magma_put_u16(out, (guint16)d->name.len);
	magma_put_bytes(out, d->name.data, d->name.len);
}

void magma_put_copy_state(GByteArray *out, const MagmaCopyState *c)
{
	magma_put_u16(out, c->slice);
	magma_put_u16(out, c->volcano);
	magma_put_u8(out, (guint8)c->phase);
	magma_put_u64(out, c->lag);
	magma_put_u64(out, c->done);
	magma_put_u64(out, c->total);
	magma_put_u64(out, c->rate);
	magma_put_u8(out, !!c->slow);
}

void magma_put_counted(GByteArray *out, const void *p, guint32 n)
{
	magma_put_u32(out, n);
	magma_put_bytes(out, p, n);
}

MagmaFid magma_get_fid(MagmaReader *r)
{
	MagmaFid f;

	f.key = magma_get_key(r);
	f.ino = magma_get_u64(r);
	return f;
}

MagmaTs magma_get_ts(MagmaReader *r)
{
	MagmaTs t;

	t.sec = (gint64)magma_get_u64(r);
	t.nsec = magma_get_u32(r);
	if (t.nsec >= NSEC_PER_SEC) {
		r->error = TRUE;
		t.nsec = 0;
	}
	return t;
}

void magma_get_attr(MagmaReader *r, MagmaAttr *out)
{
	out->fid = magma_get_fid(r);
	out->mode = magma_get_u32(r);
	out->nlink = magma_get_u32(r);
	out->uid = magma_get_u32(r);
	out->gid = magma_get_u32(r);
	out->rdev = magma_get_u64(r);
	out->size = magma_get_u64(r);
	out->blocks = magma_get_u64(r);
	out->atime = magma_get_ts(r);
	out->mtime = magma_get_ts(r);
	out->ctime = magma_get_ts(r);
	out->btime = magma_get_ts(r);
	out->flags = magma_get_u32(r);
}

void magma_get_dirent(MagmaReader *r, MagmaDirent *out)
{
	out->cookie = magma_get_u64(r);
	out->fid = magma_get_fid(r);
	out->type = magma_get_u32(r);
	out->name.len = magma_get_u16(r);
	out->name.data = magma_get_bytes(r, out->name.len);
	if (r->error || !magma_name_valid(out->name.data, out->name.len)) {
		r->error = TRUE;
		out->name = (MagmaBytes){ NULL, 0 };
	}
}

void magma_get_copy_state(MagmaReader *r, MagmaCopyState *out)
{
	out->slice = magma_get_u16(r);
	out->volcano = magma_get_u16(r);
	guint8 phase = magma_get_u8(r);
	out->lag = magma_get_u64(r);
	out->done = magma_get_u64(r);
	out->total = magma_get_u64(r);
	out->rate = magma_get_u64(r);
	guint8 slow = magma_get_u8(r);
	out->slow = slow;
	if (phase >= MAGMA_COPY_STATES || slow > 1)
		r->error = TRUE;
	out->phase = r->error ? MAGMA_COPY_AWAY : phase;
}

MagmaBytes magma_get_counted(MagmaReader *r, guint32 max)
{
	MagmaBytes b = { NULL, magma_get_u32(r) };

	if (b.len > max)
		r->error = TRUE;
	else
		b.data = magma_get_bytes(r, b.len);
	if (r->error)
		b = (MagmaBytes){ NULL, 0 };
	return b;
}
