#include "docs/optable.h"
#include "libmagma/proto/msg.h"
#include <string.h>

static const char *encoding(MagmaFieldType type)
{
	switch (type) {
	case MAGMA_F_u8: return "1 byte";
	case MAGMA_F_u16: return "2 bytes";
	case MAGMA_F_u32: return "4 bytes";
	case MAGMA_F_u64: return "8 bytes";
	case MAGMA_F_i64: return "8 bytes, two's complement";
	case MAGMA_F_key: return "20 bytes";
	case MAGMA_F_fid: return "key, u64 ino";
	case MAGMA_F_ts: return "i64 seconds since 1970, u32 nanoseconds below 1,000,000,000";
	case MAGMA_F_attr: return "fid; u32 mode, nlink, uid, gid; u64 rdev, size, blocks; ts atime, mtime, ctime, btime; u32 flags";
	case MAGMA_F_name: return "u16 length, bytes: no '/', no NUL, not \".\" or \"..\"";
	case MAGMA_F_path: return "u16 length, bytes without NUL";
	case MAGMA_F_text: return "u16 length, bytes";
	case MAGMA_F_blob: return "u32 length, bytes";
	case MAGMA_F_data: return "u32 length, bytes; only the last field of a message";
	}
	return "";
}

static char *types_table(void)
{
	GString *s = g_string_new("| type | encoding | bytes |\n|---|---|---|\n");

	for (guint type = 0; type <= MAGMA_F_data; type++) {
		guint32 max = magma_field_max(type);
		g_string_append_printf(s, "| %s | %s | ", magma_field_type_name(type), encoding(type));
		if (max)
			g_string_append_printf(s, "%s%u |\n", type == MAGMA_F_name ? "1 to " : "0 to ", max);
		else
			g_string_append(s, "fixed |\n");
	}
	return g_string_free(s, FALSE);
}

static void append_fields(GString *s, const MagmaField *f, guint n)
{
	for (guint i = 0; i < n; i++)
		g_string_append_printf(s, "%s%s `%s`", i ? ", " : "", magma_field_type_name(f[i].type), f[i].name);
	g_string_append(s, n ? " |" : "- |");
}

static char *operations_table(void)
{
	GString *s = g_string_new("| no. | operation | sessions | goes to | stored | request | reply |\n|---|---|---|---|---|---|---|\n");

	for (guint number = 0; number < MAGMA_OP_LIMIT; number++) {
		const MagmaOpInfo *o = magma_op_info(number);
		if (!o)
			continue;
		g_string_append_printf(s, "| %u | %s | %s | ", number, o->name,
			o->flags & MAGMA_OP_CLIENT ? (o->flags & MAGMA_OP_NODE ? "flare, node" : "flare") : "node");
		if (o->route < 0)
			g_string_append(s, "whoever is asked | ");
		else
			g_string_append_printf(s, "owner of `%s` | ", o->req[o->route].name);
		g_string_append_printf(s, "%s | ", o->flags & MAGMA_OP_MUTATES ? "yes" : "-");
		append_fields(s, o->req, o->nreq);
		g_string_append_c(s, ' ');
		append_fields(s, o->rep, o->nrep);
		g_string_append_c(s, '\n');
	}
	return g_string_free(s, FALSE);
}

static void append_lua_fields(GString *s, const char *key, const MagmaField *f, guint n)
{
	g_string_append_printf(s, ", %s = {", key);
	for (guint i = 0; i < n; i++)
		g_string_append_printf(s, "%s { \"%s\", \"%s\" }", i ? "," : "", magma_field_type_name(f[i].type), f[i].name);
	g_string_append(s, n ? " }" : "}");
}

/* A Lua table by number: { name, request = { { type, name }, ... }, reply = { ... } }. */
static char *operations_lua(void)
{
	GString *s = g_string_new("local OPERATIONS = {\n");

	for (guint number = 0; number < MAGMA_OP_LIMIT; number++) {
		const MagmaOpInfo *o = magma_op_info(number);
		if (!o)
			continue;
		g_string_append_printf(s, "\t[%u] = { name = \"%s\"", number, o->name);
		append_lua_fields(s, "request", o->req, o->nreq);
		append_lua_fields(s, "reply", o->rep, o->nrep);
		g_string_append(s, " },\n");
	}
	g_string_append(s, "}\n");
	return g_string_free(s, FALSE);
}

/* Replaces what is between the lines "OPEN NAME: begin CLOSE" and "OPEN NAME: end CLOSE"; takes text. */
static char *replace_part(char *text, const char *open, const char *name, const char *close, const char *by)
{
	G_GNUC_UNUSED g_autofree char *owned = text;
	g_autofree char *begin = g_strdup_printf("%s %s: begin%s\n", open, name, close), *end = g_strdup_printf("%s %s: end%s\n", open, name, close);
	const char *from = text ? strstr(text, begin) : NULL;
	const char *to = from ? strstr(from, end) : NULL;

	if (!to)
		return NULL;
	from += strlen(begin);
	return g_strdup_printf("%.*s%s%s", (int)(from - text), text, by, to);
}

char *optable_update(const char *text)
{
	g_autofree char *types = types_table(), *operations = operations_table();

	return replace_part(replace_part(g_strdup(text), "<!--", "types", " -->", types), "<!--", "operations", " -->", operations);
}

char *optable_update_lua(const char *text)
{
	g_autofree char *operations = operations_lua();

	return replace_part(g_strdup(text), "--", "operations", "", operations);
}
