/* One encoder and one decoder for every operation, driven by the table. docs/protocol.md, part "Messages". */
#include "libmagma/proto/msg.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <string.h>

/* Places in an encoded header that are adjusted where they stand. */
#define AT_HOPS 3
#define AT_FLAGS 4
#define AT_CLIENT 16
#define AT_EPOCH 24
#define AT_WATERMARK 32
#define NO_GROUPS 0xffff

typedef struct {
	const MagmaField *fields;
	guint n;
} Fields;

/* What follows the header of a message of that kind. */
static Fields fields_of(const MagmaOpInfo *info, MagmaMsgKind kind)
{
	return kind == MAGMA_REPLY ? (Fields){ info->rep, info->nrep } : (Fields){ info->req, info->nreq };
}

static gboolean is_short(MagmaFieldType type)
{
	return type == MAGMA_F_name || type == MAGMA_F_path || type == MAGMA_F_text;
}

static void put_bytes_field(GByteArray *out, MagmaFieldType type, const MagmaBytes *b, gboolean split)
{
	g_assert(b->len <= magma_field_max(type) && (type != MAGMA_F_name || b->len > 0));
	if (is_short(type))
		magma_put_u16(out, (guint16)b->len);
	else
		magma_put_u32(out, b->len);
	if (!(split && type == MAGMA_F_data))
		magma_put_bytes(out, b->data, b->len);
}

static void put_field(GByteArray *out, MagmaFieldType type, const void *p, gboolean split)
{
	switch (type) {
	case MAGMA_F_u8: magma_put_u8(out, *(const guint8 *)p); break;
	case MAGMA_F_u16: magma_put_u16(out, *(const guint16 *)p); break;
	case MAGMA_F_u32: magma_put_u32(out, *(const guint32 *)p); break;
	case MAGMA_F_u64: magma_put_u64(out, *(const guint64 *)p); break;
	case MAGMA_F_i64: magma_put_u64(out, (guint64)*(const gint64 *)p); break;
	case MAGMA_F_key: magma_put_key(out, p); break;
	case MAGMA_F_fid: magma_put_fid(out, p); break;
	case MAGMA_F_ts: magma_put_ts(out, *(const MagmaTs *)p); break;
	case MAGMA_F_attr: magma_put_attr(out, p); break;
	case MAGMA_F_name:
	case MAGMA_F_path:
	case MAGMA_F_text:
	case MAGMA_F_blob:
	case MAGMA_F_data: put_bytes_field(out, type, p, split); break;
	}
}

static void get_bytes_field(MagmaReader *r, MagmaFieldType type, MagmaBytes *b)
{
	b->len = is_short(type) ? magma_get_u16(r) : magma_get_u32(r);
	if (b->len > magma_field_max(type))
		r->error = TRUE;
	b->data = magma_get_bytes(r, b->len);
	if (r->error)
		*b = (MagmaBytes){ NULL, 0 };
	else if ((type == MAGMA_F_name && !magma_name_valid(b->data, b->len)) || (type == MAGMA_F_path && b->len && memchr(b->data, '\0', b->len)))
		r->error = TRUE;
}

static void get_field(MagmaReader *r, MagmaFieldType type, void *p)
{
	switch (type) {
	case MAGMA_F_u8: *(guint8 *)p = magma_get_u8(r); break;
	case MAGMA_F_u16: *(guint16 *)p = magma_get_u16(r); break;
	case MAGMA_F_u32: *(guint32 *)p = magma_get_u32(r); break;
	case MAGMA_F_u64: *(guint64 *)p = magma_get_u64(r); break;
	case MAGMA_F_i64: *(gint64 *)p = (gint64)magma_get_u64(r); break;
	case MAGMA_F_key: *(MagmaKey *)p = magma_get_key(r); break;
	case MAGMA_F_fid: *(MagmaFid *)p = magma_get_fid(r); break;
	case MAGMA_F_ts: *(MagmaTs *)p = magma_get_ts(r); break;
	case MAGMA_F_attr: magma_get_attr(r, p); break;
	case MAGMA_F_name:
	case MAGMA_F_path:
	case MAGMA_F_text:
	case MAGMA_F_blob:
	case MAGMA_F_data: get_bytes_field(r, type, p); break;
	}
}

static void put_fields(GByteArray *out, Fields f, const void *fields, gboolean split)
{
	for (guint i = 0; i < f.n; i++)
		put_field(out, f.fields[i].type, (const guint8 *)fields + f.fields[i].offset, split);
}

static int get_fields(MagmaReader *r, Fields f, MagmaAny *fields)
{
	for (guint i = 0; i < f.n; i++)
		get_field(r, f.fields[i].type, (guint8 *)fields + f.fields[i].offset);
	return r->error || r->left ? EPROTO : 0;
}

static void put_caller(GByteArray *out, const MagmaHdr *h)
{
	guint16 ngroups = MIN(h->cred.ngroups, MAGMA_GROUPS_MAX);

	magma_put_u64(out, h->watermark);
	magma_put_u32(out, h->cred.uid);
	magma_put_u32(out, h->cred.gid);
	magma_put_u16(out, h->cred.umask);
	if (!h->cred.has_groups) {
		magma_put_u16(out, NO_GROUPS);
		return;
	}
	magma_put_u16(out, ngroups);
	magma_put_bytes(out, h->cred.groups_be, 4 * (gsize)ngroups);
}

static void get_caller(MagmaReader *r, MagmaHdr *h)
{
	guint16 ngroups;

	h->watermark = magma_get_u64(r);
	h->cred.uid = magma_get_u32(r);
	h->cred.gid = magma_get_u32(r);
	h->cred.umask = magma_get_u16(r);
	ngroups = magma_get_u16(r);
	if (ngroups == NO_GROUPS)
		return;
	if (ngroups > MAGMA_GROUPS_MAX)
		r->error = TRUE;
	h->cred.has_groups = TRUE;
	h->cred.ngroups = ngroups;
	h->cred.groups_be = magma_get_bytes(r, 4 * (gsize)ngroups);
}

static void put_header(GByteArray *out, const MagmaHdr *h)
{
	magma_put_u8(out, MAGMA_PROTO_VERSION);
	magma_put_u8(out, (guint8)h->kind);
	magma_put_u8(out, (guint8)h->op);
	magma_put_u8(out, h->hops);
	magma_put_u32(out, h->flags);
	magma_put_u64(out, h->xid);
	magma_put_u64(out, h->client);
	magma_put_u64(out, h->epoch);
	if (h->kind == MAGMA_REQUEST)
		put_caller(out, h);
	else if (h->kind == MAGMA_REPLY)
		magma_put_u32(out, h->error);
}

/* The operation, NULL where the header is none of ours. */
static const MagmaOpInfo *get_header(MagmaReader *r, MagmaHdr *h)
{
	guint8 version = magma_get_u8(r), kind = magma_get_u8(r), number = magma_get_u8(r);
	const MagmaOpInfo *info = magma_op_info(number);

	*h = (MagmaHdr){ 0 };
	if (r->error || version != MAGMA_PROTO_VERSION || kind > MAGMA_PUSH || !info)
		return NULL;
	h->kind = (MagmaMsgKind)kind;
	h->op = (MagmaOp)number;
	h->hops = magma_get_u8(r);
	h->flags = magma_get_u32(r);
	h->xid = magma_get_u64(r);
	h->client = magma_get_u64(r);
	h->epoch = magma_get_u64(r);
	if (h->kind == MAGMA_REQUEST)
		get_caller(r, h);
	else if (h->kind == MAGMA_REPLY)
		h->error = magma_get_u32(r);
	return r->error ? NULL : info;
}

void magma_msg_encode(const MagmaHdr *h, const void *fields, gboolean split, GByteArray *out)
{
	const MagmaOpInfo *info = magma_op_info(h->op);

	g_assert(info);
	put_header(out, h);
	if (h->kind == MAGMA_REPLY && h->error)
		return;
	put_fields(out, fields_of(info, h->kind), fields, split);
}

int magma_msg_decode(const guint8 *p, gsize n, MagmaHdr *h, MagmaAny *fields)
{
	MagmaReader r = magma_reader(p, n);
	const MagmaOpInfo *info = get_header(&r, h);

	if (!info)
		return EPROTO;
	if (h->kind == MAGMA_REPLY && h->error)
		return r.left ? EPROTO : 0;
	return get_fields(&r, fields_of(info, h->kind), fields);
}

int magma_msg_peek(const guint8 *p, gsize n, MagmaHdr *h, gsize *fields_at)
{
	MagmaReader r = magma_reader(p, n);

	if (!get_header(&r, h))
		return EPROTO;
	*fields_at = n - r.left;
	return 0;
}

gboolean magma_msg_route(MagmaOp op, const MagmaAny *fields, MagmaKey *key)
{
	const MagmaOpInfo *info = magma_op_info(op);

	if (!info || info->route < 0)
		return FALSE;
	const MagmaField *f = &info->req[info->route];
	const guint8 *p = (const guint8 *)fields + f->offset;
	*key = f->type == MAGMA_F_fid ? ((const MagmaFid *)p)->key : *(const MagmaKey *)p;
	return TRUE;
}

void magma_fields_encode(MagmaOp op, MagmaMsgKind kind, const void *fields, GByteArray *out)
{
	const MagmaOpInfo *info = magma_op_info(op);

	g_assert(info);
	put_fields(out, fields_of(info, kind), fields, FALSE);
}

int magma_fields_decode(MagmaOp op, MagmaMsgKind kind, const guint8 *p, gsize n, MagmaAny *fields)
{
	MagmaReader r = magma_reader(p, n);
	const MagmaOpInfo *info = magma_op_info(op);

	return info ? get_fields(&r, fields_of(info, kind), fields) : EPROTO;
}

void magma_msg_set_hops_flags(guint8 *msg, guint8 hops, guint32 flags)
{
	msg[AT_HOPS] = hops;
	magma_be32_store(msg + AT_FLAGS, flags);
}

void magma_msg_set_sender(guint8 *msg, guint64 epoch, guint64 client, guint64 watermark)
{
	magma_be64_store(msg + AT_EPOCH, epoch);
	magma_be64_store(msg + AT_CLIENT, client);
	magma_be64_store(msg + AT_WATERMARK, watermark);
}
