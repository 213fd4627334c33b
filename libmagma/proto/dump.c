/* A message as one line for people. */
#include "libmagma/proto/msg.h"
#include "libmagma/base/err.h"

#define SHOWN_BYTES 40          /* of a name or text; longer ones end in "..." */

static void dump_key(GString *s, const MagmaKey *k)
{
	char hex[MAGMA_KEY_HEX];

	magma_key_to_hex(k, hex);
	g_string_append_printf(s, "%.8s...", hex);
}

static void dump_fid(GString *s, const MagmaFid *f)
{
	dump_key(s, &f->key);
	g_string_append_printf(s, ":%" G_GUINT64_FORMAT, f->ino);
}

/* Printable ASCII as it is, the rest as \ooo: nobody's file name gets to speak to a terminal, or to split a line of the log. */
static void dump_text(GString *s, const MagmaBytes *b)
{
	for (guint32 i = 0; i < b->len && i < SHOWN_BYTES; i++) {
		guint8 c = b->data[i];
		if (g_ascii_isgraph((gchar)c) && c != '\\')
			g_string_append_c(s, (gchar)c);
		else
			g_string_append_printf(s, "\\%03o", c);
	}
	if (b->len > SHOWN_BYTES)
		g_string_append(s, "...");
}

static void dump_ts(GString *s, const MagmaTs *t)
{
	g_string_append_printf(s, "%" G_GINT64_FORMAT ".%09u", t->sec, t->nsec);
}

static void dump_attr(GString *s, const MagmaAttr *a)
{
	g_string_append_c(s, '{');
	dump_fid(s, &a->fid);
	g_string_append_printf(s, " mode=%o nlink=%u uid=%u gid=%u size=%" G_GUINT64_FORMAT " mtime=", a->mode, a->nlink, a->uid, a->gid, a->size);
	dump_ts(s, &a->mtime);
	g_string_append_c(s, '}');
}

static void dump_field(GString *s, const MagmaField *f, const void *p)
{
	g_string_append_printf(s, " %s=", f->name);
	switch (f->type) {
	case MAGMA_F_u8: g_string_append_printf(s, "%u", *(const guint8 *)p); break;
	case MAGMA_F_u16: g_string_append_printf(s, "%u", *(const guint16 *)p); break;
	case MAGMA_F_u32: g_string_append_printf(s, "%u", *(const guint32 *)p); break;
	case MAGMA_F_u64: g_string_append_printf(s, "%" G_GUINT64_FORMAT, *(const guint64 *)p); break;
	case MAGMA_F_i64: g_string_append_printf(s, "%" G_GINT64_FORMAT, *(const gint64 *)p); break;
	case MAGMA_F_key: dump_key(s, p); break;
	case MAGMA_F_fid: dump_fid(s, p); break;
	case MAGMA_F_ts: dump_ts(s, p); break;
	case MAGMA_F_attr: dump_attr(s, p); break;
	case MAGMA_F_name:
	case MAGMA_F_path:
	case MAGMA_F_text: dump_text(s, p); break;
	case MAGMA_F_blob:
	case MAGMA_F_data: g_string_append_printf(s, "[%u]", ((const MagmaBytes *)p)->len); break;
	}
}

static void dump_flags(GString *s, guint32 flags)
{
	if (flags & MAGMA_FLAG_REFRESH_TOPOLOGY)
		g_string_append(s, " refresh");
	if (flags & MAGMA_FLAG_RETRY)
		g_string_append(s, " retry");
	if (flags & MAGMA_FLAG_FORWARDED)
		g_string_append(s, " forwarded");
}

char *magma_msg_dump(const MagmaHdr *h, const MagmaAny *fields)
{
	static const char *const kinds[] = { "", " reply", " push" };
	const MagmaOpInfo *info = magma_op_info(h->op);
	gboolean reply = h->kind == MAGMA_REPLY;
	GString *s = g_string_new(info ? info->name : "?");

	if (!info || h->kind > MAGMA_PUSH)
		return g_string_free(s, FALSE);
	g_string_append(s, kinds[h->kind]);
	if (reply && h->error) {
		g_string_append_printf(s, " error=%u (%s)", h->error, magma_strerror((int)h->error));
	} else if (fields) {
		const MagmaField *f = reply ? info->rep : info->req;
		for (guint i = 0; i < (reply ? info->nrep : info->nreq); i++)
			dump_field(s, &f[i], (const guint8 *)fields + f[i].offset);
	}
	g_string_append_printf(s, " xid=%" G_GUINT64_FORMAT " client=%016" G_GINT64_MODIFIER "x epoch=%" G_GUINT64_FORMAT, h->xid, h->client, h->epoch);
	if (h->kind == MAGMA_REQUEST)
		g_string_append_printf(s, " uid=%u gid=%u", h->cred.uid, h->cred.gid);
	dump_flags(s, h->flags);
	return g_string_free(s, FALSE);
}
