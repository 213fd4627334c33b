/* magma-store: looks into the folder of a volcano that does not run. */
#include "magma_tools/tool.h"
#include "magmad/core/rows.h"
#include "magmad/store/check.h"
#include "libmagma/base/wire.h"
#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>

static gboolean list, json;
static gint64 older_than = 3600;

static const GOptionEntry entries[] = {
	{ "list", 'l', 0, G_OPTION_ARG_NONE, &list, "list all rows", NULL },
	{ "json", 'j', 0, G_OPTION_ARG_NONE, &json, "answer in JSON", NULL },
	{ "older-than", 0, 0, G_OPTION_ARG_INT64, &older_than, "prepared work that is older hangs (default 3600)", "SECONDS" },
	{ 0 }
};

static const ToolSpec spec = {
	.name = "magma-store", .args = "DIR", .min_args = 1, .entries = entries,
	.summary = "Checks the storage folder DIR of a volcano (magmad -d) while no magmad uses it, and changes nothing in it.\n"
		"Ends with 0 when all is well, 1 when there are problems (a line for each) or it cannot be checked, 2 on wrong usage.",
};

/* --- rows as text --- */

static void put_bytes(GString *s, const guint8 *p, gsize n)
{
	g_autofree char *raw = g_strndup((const char *)p, n), *text = g_strescape(raw, NULL);
	g_string_append(s, text);
}

static void put_hex(GString *s, const guint8 *p, gsize n)
{
	for (gsize i = 0; i < n; i++)
		g_string_append_printf(s, "%02x", p[i]);
}

/* Keys that begin with an inode number: it, and the rest by what it is. */
static char *key_text(const StoreRow *r)
{
	GString *s = g_string_new(NULL);

	if (r->table == TAB_META) {
		put_bytes(s, r->key, r->klen);
	} else if (r->klen < 8 || r->table == TAB_REPLY || r->table == TAB_CLIENT || r->table == TAB_MARK || r->table == TAB_COMMIT) {
		put_hex(s, r->key, r->klen);
	} else {
		g_string_append_printf(s, "%" G_GUINT64_FORMAT, magma_be64_load(r->key));
		if (r->table == TAB_COOKIE && r->klen == 16) {
			g_string_append_printf(s, " %" G_GUINT64_FORMAT, magma_be64_load(r->key + 8));
		} else if (r->klen > 8) {
			g_string_append_c(s, ' ');
			put_bytes(s, r->key + 8, r->klen - 8);
		}
	}
	return g_string_free(s, FALSE);
}

static void flare_text(GString *s, const FlareRow *f)
{
	g_string_append_printf(s, "mode %06o, %u links, uid %u, gid %u, size %" G_GUINT64_FORMAT ", parent %" G_GUINT64_FORMAT "%s%s", f->attr.mode, f->attr.nlink, f->attr.uid, f->attr.gid, f->attr.size,
		f->parent.ino, f->content == CONTENT_FILE ? ", in a file" : "", f->sealed ? ", sealed" : "");
	if (f->target.len) {
		g_string_append(s, ", to ");
		put_bytes(s, f->target.data, f->target.len);
	}
}

static char *value_text(const StoreRow *r)
{
	GString *s = g_string_new(NULL);
	FlareRow f;
	EntryRow e;
	MarkRow m;
	MagmaBytes name;

	if (r->table == TAB_FLARE && flare_row_decode(r->val, r->vlen, &f)) {
		flare_text(s, &f);
	} else if (r->table == TAB_ENTRY && entry_row_decode(r->val, r->vlen, &e)) {
		g_string_append_printf(s, "flare %" G_GUINT64_FORMAT ", type %06o, cookie %" G_GUINT64_FORMAT, e.child.ino, e.type, e.cookie);
	} else if (r->table == TAB_COOKIE && cookie_row_decode(r->val, r->vlen, &e, &name)) {
		g_string_append_printf(s, "flare %" G_GUINT64_FORMAT ", name ", e.child.ino);
		put_bytes(s, name.data, name.len);
	} else if (r->table == TAB_MARK && mark_row_decode(r->val, r->vlen, &m)) {
		g_string_append_printf(s, "kind %d on flare %" G_GUINT64_FORMAT ", coordinator %" G_GUINT64_FORMAT "%s", m.kind, m.target.ino, m.coord.ino, m.committed ? ", committed" : "");
	} else {
		g_string_append_printf(s, "%" G_GSIZE_FORMAT " bytes", r->vlen);
	}
	return g_string_free(s, FALSE);
}

static void list_row(void *user, const StoreRow *r)
{
	g_autofree char *key = key_text(r), *value = value_text(r);
	char rk[MAGMA_KEY_HEX];

	magma_key_to_hex(&r->rk, rk);
	if (!json) {
		printf("%-7s %s  [%s]  %s\n", store_table_name(r->table), rk, key, value);
		return;
	}
	JsonBuilder *b = user;
	json_builder_begin_object(b);
	json_builder_set_member_name(b, "table");
	json_builder_add_string_value(b, store_table_name(r->table));
	json_builder_set_member_name(b, "routing_key");
	json_builder_add_string_value(b, rk);
	json_builder_set_member_name(b, "key");
	json_builder_add_string_value(b, key);
	json_builder_set_member_name(b, "value");
	json_builder_add_string_value(b, value);
	json_builder_end_object(b);
}

/* --- the result --- */

#define N G_GUINT64_FORMAT

static void print_result(const char *dir, const StoreCheck *c)
{
	printf("volcano in %s\n", dir);
	printf("journal: %u segments, %" N " bytes, index %" N " to %" N ", durable up to %" N "; rows up to %" N "\n", c->journal.segments, c->journal.bytes,
		c->journal.first, c->journal.last, MAX(c->journal.durable, c->durable), c->applied);
	printf("flares: %" N " (%" N " directories, %" N " files, %" N " symbolic links, %" N " others)\n", c->rows[TAB_FLARE], c->directories, c->files, c->symlinks, c->others);
	printf("contents: %" N " bytes inline, %" N " bytes in %" N " files\n", c->inline_bytes, c->content_bytes, c->content_files);
	printf("under way: %" N " marks, %" N " commits, %" N " orphans, %" N " write-intents, %" N " replies kept\n", c->rows[TAB_MARK], c->rows[TAB_COMMIT], c->rows[TAB_ORPHAN],
		c->rows[TAB_DIRTY], c->rows[TAB_REPLY]);
	for (guint i = 0; i < c->notes->len; i++)
		printf("note: %s\n", (const char *)c->notes->pdata[i]);
	for (guint i = 0; i < c->problems->len; i++)
		printf("problem: %s\n", (const char *)c->problems->pdata[i]);
	if (c->problems->len)
		printf("%u problem%s\n", c->problems->len, c->problems->len == 1 ? "" : "s");
	else
		printf("clean\n");
}

static void add_number(JsonBuilder *b, const char *name, guint64 n)
{
	json_builder_set_member_name(b, name);
	json_builder_add_int_value(b, (gint64)n);
}

static void add_texts(JsonBuilder *b, const char *name, const GPtrArray *texts)
{
	json_builder_set_member_name(b, name);
	json_builder_begin_array(b);
	for (guint i = 0; i < texts->len; i++) {
		g_autofree char *text = g_utf8_make_valid(texts->pdata[i], -1);
		json_builder_add_string_value(b, text);
	}
	json_builder_end_array(b);
}

static void add_result(JsonBuilder *b, const char *dir, const StoreCheck *c)
{
	g_autofree char *text = g_utf8_make_valid(dir, -1);

	json_builder_set_member_name(b, "folder");
	json_builder_add_string_value(b, text);
	json_builder_set_member_name(b, "journal");
	json_builder_begin_object(b);
	add_number(b, "segments", c->journal.segments);
	add_number(b, "bytes", c->journal.bytes);
	add_number(b, "first", c->journal.first);
	add_number(b, "last", c->journal.last);
	add_number(b, "durable", MAX(c->journal.durable, c->durable));
	add_number(b, "applied", c->applied);
	json_builder_end_object(b);
	json_builder_set_member_name(b, "row_counts");
	json_builder_begin_object(b);
	for (guint t = TAB_META; t < TAB_COUNT; t++)
		add_number(b, store_table_name(t), c->rows[t]);
	json_builder_end_object(b);
	add_number(b, "directories", c->directories);
	add_number(b, "files", c->files);
	add_number(b, "symlinks", c->symlinks);
	add_number(b, "others", c->others);
	add_number(b, "inline_bytes", c->inline_bytes);
	add_number(b, "content_files", c->content_files);
	add_number(b, "content_bytes", c->content_bytes);
	add_texts(b, "notes", c->notes);
	add_texts(b, "problems", c->problems);
	json_builder_set_member_name(b, "clean");
	json_builder_add_boolean_value(b, c->problems->len == 0);
}

static void print_json(JsonBuilder *b)
{
	g_autoptr(JsonGenerator) gen = json_generator_new();
	g_autoptr(JsonNode) root = json_builder_get_root(b);

	json_generator_set_pretty(gen, TRUE);
	json_generator_set_root(gen, root);
	g_autofree char *text = json_generator_to_data(gen, NULL);
	puts(text);
}

static int run(const char *dir)
{
	g_autoptr(JsonBuilder) b = json_builder_new();
	g_autoptr(GError) error = NULL;
	g_auto(StoreCheck) check = { 0 };
	StoreCheckOptions opt = { .older_than = older_than, .row = list ? list_row : NULL, .user = b };

	json_builder_begin_object(b);
	if (json && list) {
		json_builder_set_member_name(b, "rows");
		json_builder_begin_array(b);
	}
	if (!store_check(dir, &opt, &check, &error))
		return tool_fail(&spec, EXIT_FAILED, "%s", error->message);
	if (json && list)
		json_builder_end_array(b);
	if (json) {
		add_result(b, dir, &check);
		json_builder_end_object(b);
		print_json(b);
	} else {
		print_result(dir, &check);
	}
	if (fflush(stdout) == EOF)
		return tool_fail(&spec, EXIT_FAILED, "standard output: write error");
	return check.problems->len ? EXIT_FAILED : EXIT_OK;
}

int main(int argc, char **argv)
{
	int status;
	g_auto(GStrv) args = tool_parse(&spec, argc, argv, &status);

	if (!args)
		return status;
	if (args[1])
		return tool_usage(&spec, "one folder at a time");
	if (older_than < 0)
		return tool_usage(&spec, "--older-than is a number of seconds");
	return run(args[0]);
}
