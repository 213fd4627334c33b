#include "tests/unit/anymsg.h"
#include <string.h>

void anymsg_init(AnyMsg *a, guint32 seed, guint32 max_bytes)
{
	a->rand = g_rand_new_with_seed(seed);
	a->arena = g_string_chunk_new(4096);
	a->max_bytes = max_bytes;
}

void anymsg_clear(AnyMsg *a)
{
	g_rand_free(a->rand);
	g_string_chunk_free(a->arena);
}

/* Numbers near the ends of their range as often as others. */
static guint64 any64(AnyMsg *a)
{
	guint64 v = (guint64)g_rand_int(a->rand) << 32 | g_rand_int(a->rand);

	switch (g_rand_int_range(a->rand, 0, 4)) {
	case 0: return v % 4;
	case 1: return ~(v % 4);
	case 2: return v >> (v % 64);
	default: return v;
	}
}

static guint32 any_length(AnyMsg *a, guint32 min, guint32 max)
{
	max = MIN(max, a->max_bytes);
	switch (g_rand_int_range(a->rand, 0, 8)) {
	case 0: return min;
	case 1: return max;
	default: return (guint32)g_rand_int_range(a->rand, (gint32)min, (gint32)MIN(max, 300u) + 1);
	}
}

/* pure_name: nothing that a name or a path may not hold. */
static MagmaBytes any_bytes(AnyMsg *a, guint32 min, guint32 max, gboolean pure_name)
{
	guint32 n = any_length(a, min, max);
	g_autofree char *p = g_malloc(n + 1);

	for (guint32 i = 0; i < n; i++)
		p[i] = (char)(pure_name ? g_rand_int_range(a->rand, '0', 256) : g_rand_int_range(a->rand, 0, 256));
	return MAGMA_BYTES(g_string_chunk_insert_len(a->arena, p, n), n);
}

static MagmaKey any_key(AnyMsg *a)
{
	MagmaKey k;

	for (int i = 0; i < MAGMA_KEY_LEN; i++)
		k.b[i] = (guint8)g_rand_int(a->rand);
	return k;
}

static MagmaFid any_fid(AnyMsg *a) { return (MagmaFid){ any_key(a), any64(a) }; }
static MagmaTs any_ts(AnyMsg *a) { return (MagmaTs){ (gint64)any64(a), (guint32)g_rand_int_range(a->rand, 0, 1000000000) }; }

static MagmaAttr any_attr(AnyMsg *a)
{
	MagmaAttr t = { .fid = any_fid(a), .mode = (guint32)any64(a), .nlink = (guint32)any64(a), .uid = (guint32)any64(a), .gid = (guint32)any64(a),
		.rdev = any64(a), .size = any64(a), .blocks = any64(a), .flags = (guint32)any64(a) };

	t.atime = any_ts(a);
	t.mtime = any_ts(a);
	t.ctime = any_ts(a);
	t.btime = any_ts(a);
	return t;
}

static void any_field(AnyMsg *a, MagmaFieldType type, void *p)
{
	switch (type) {
	case MAGMA_F_u8: *(guint8 *)p = (guint8)any64(a); break;
	case MAGMA_F_u16: *(guint16 *)p = (guint16)any64(a); break;
	case MAGMA_F_u32: *(guint32 *)p = (guint32)any64(a); break;
	case MAGMA_F_u64: *(guint64 *)p = any64(a); break;
	case MAGMA_F_i64: *(gint64 *)p = (gint64)any64(a); break;
	case MAGMA_F_key: *(MagmaKey *)p = any_key(a); break;
	case MAGMA_F_fid: *(MagmaFid *)p = any_fid(a); break;
	case MAGMA_F_ts: *(MagmaTs *)p = any_ts(a); break;
	case MAGMA_F_attr: *(MagmaAttr *)p = any_attr(a); break;
	case MAGMA_F_name: *(MagmaBytes *)p = any_bytes(a, 1, magma_field_max(type), TRUE); break;
	case MAGMA_F_path: *(MagmaBytes *)p = any_bytes(a, 0, magma_field_max(type), TRUE); break;
	case MAGMA_F_text:
	case MAGMA_F_blob:
	case MAGMA_F_data: *(MagmaBytes *)p = any_bytes(a, 0, magma_field_max(type), FALSE); break;
	}
}

static const MagmaField *fields_of(const MagmaOpInfo *info, MagmaMsgKind kind, guint *n)
{
	*n = kind == MAGMA_REPLY ? info->nrep : info->nreq;
	return kind == MAGMA_REPLY ? info->rep : info->req;
}

void anymsg_fields(AnyMsg *a, const MagmaOpInfo *info, MagmaMsgKind kind, MagmaAny *out)
{
	guint n;
	const MagmaField *f = fields_of(info, kind, &n);

	for (guint i = 0; i < n; i++)
		any_field(a, f[i].type, (guint8 *)out + f[i].offset);
}

void anymsg_header(AnyMsg *a, const MagmaOpInfo *info, MagmaMsgKind kind, MagmaHdr *h)
{
	*h = (MagmaHdr){ .kind = kind, .op = (MagmaOp)info->number, .hops = (guint8)g_rand_int(a->rand), .flags = g_rand_int(a->rand), .xid = any64(a), .client = any64(a), .epoch = any64(a) };
	if (kind != MAGMA_REQUEST)
		return;
	h->watermark = any64(a);
	h->cred = (MagmaCred){ .uid = (guint32)any64(a), .gid = (guint32)any64(a), .umask = (guint16)g_rand_int_range(a->rand, 0, 01000) };
	if (g_rand_boolean(a->rand)) {
		MagmaBytes g = any_bytes(a, 0, 4 * MAGMA_GROUPS_MAX, FALSE);
		h->cred.has_groups = TRUE;
		h->cred.ngroups = (guint16)(g.len / 4);
		h->cred.groups_be = g.data;
	}
}

static gboolean bytes_equal(const MagmaBytes *x, const MagmaBytes *y)
{
	return x->len == y->len && (x->len == 0 || memcmp(x->data, y->data, x->len) == 0);
}

static gboolean attr_equal(const MagmaAttr *x, const MagmaAttr *y)
{
	return magma_fid_equal(&x->fid, &y->fid) && x->mode == y->mode && x->nlink == y->nlink && x->uid == y->uid && x->gid == y->gid && x->rdev == y->rdev
		&& x->size == y->size && x->blocks == y->blocks && x->flags == y->flags && !magma_ts_cmp(x->atime, y->atime) && !magma_ts_cmp(x->mtime, y->mtime)
		&& !magma_ts_cmp(x->ctime, y->ctime) && !magma_ts_cmp(x->btime, y->btime);
}

static gboolean field_equal(MagmaFieldType type, const void *x, const void *y)
{
	switch (type) {
	case MAGMA_F_u8: return *(const guint8 *)x == *(const guint8 *)y;
	case MAGMA_F_u16: return *(const guint16 *)x == *(const guint16 *)y;
	case MAGMA_F_u32: return *(const guint32 *)x == *(const guint32 *)y;
	case MAGMA_F_u64:
	case MAGMA_F_i64: return *(const guint64 *)x == *(const guint64 *)y;
	case MAGMA_F_key: return magma_key_equal(x, y);
	case MAGMA_F_fid: return magma_fid_equal(x, y);
	case MAGMA_F_ts: return magma_ts_cmp(*(const MagmaTs *)x, *(const MagmaTs *)y) == 0;
	case MAGMA_F_attr: return attr_equal(x, y);
	default: return bytes_equal(x, y);
	}
}

gboolean anymsg_fields_equal(const MagmaOpInfo *info, MagmaMsgKind kind, const MagmaAny *x, const MagmaAny *y)
{
	guint n;
	const MagmaField *f = fields_of(info, kind, &n);

	for (guint i = 0; i < n; i++)
		if (!field_equal(f[i].type, (const guint8 *)x + f[i].offset, (const guint8 *)y + f[i].offset))
			return FALSE;
	return TRUE;
}

gboolean anymsg_headers_equal(const MagmaHdr *x, const MagmaHdr *y)
{
	return x->kind == y->kind && x->op == y->op && x->hops == y->hops && x->flags == y->flags && x->xid == y->xid && x->epoch == y->epoch
		&& x->client == y->client && x->watermark == y->watermark && x->error == y->error && x->cred.uid == y->cred.uid && x->cred.gid == y->cred.gid
		&& x->cred.umask == y->cred.umask && x->cred.has_groups == y->cred.has_groups && x->cred.ngroups == y->cred.ngroups
		&& (x->cred.ngroups == 0 || memcmp(x->cred.groups_be, y->cred.groups_be, 4 * (gsize)x->cred.ngroups) == 0);
}
