/* magma-store: looks into the folder of a volcano that does not run. */
#include "magma_tools/tool.h"
#include "magmad/core/rows.h"
#include "magmad/identity.h"
#include "magmad/keep.h"
#include "magmad/store/check.h"
#include "magmad/store/diskstore.h"
#include "magmad/store/layout.h"
#include "libmagma/base/wire.h"
#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* As magmad/slices.c calls it. */
#define SLICES "slices"

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

static void print_counts(const StoreCheck *c)
{
	printf("journal: %u segments, %" N " bytes, index %" N " to %" N ", durable up to %" N "; rows up to %" N "\n", c->journal.segments, c->journal.bytes,
		c->journal.first, c->journal.last, MAX(c->journal.durable, c->durable), c->applied);
	printf("flares: %" N " (%" N " directories, %" N " files, %" N " symbolic links, %" N " others)\n", c->rows[TAB_FLARE], c->directories, c->files, c->symlinks, c->others);
	printf("contents: %" N " bytes inline, %" N " bytes in %" N " files\n", c->inline_bytes, c->content_bytes, c->content_files);
	printf("under way: %" N " marks, %" N " commits, %" N " orphans, %" N " write-intents, %" N " replies kept\n", c->rows[TAB_MARK], c->rows[TAB_COMMIT], c->rows[TAB_ORPHAN],
		c->rows[TAB_DIRTY], c->rows[TAB_REPLY]);
}

/* "problem: slices/00001: ..."; without a name the volcano's own store is meant. */
static void print_texts(const char *what, const char *name, const GPtrArray *texts)
{
	for (guint i = 0; i < texts->len; i++)
		printf("%s: %s%s%s%s\n", what, name ? SLICES "/" : "", name ? name : "", name ? ": " : "", (const char *)texts->pdata[i]);
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
}

static void add_clean(JsonBuilder *b, gboolean clean)
{
	json_builder_set_member_name(b, "clean");
	json_builder_add_boolean_value(b, clean);
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

/* --- the stores of a folder --- */

/* What magmad keeps beside its store. The folder of a slice's store has none, nor has what was set aside, nor one whose first start was not completed. */
static void check_keep(const char *dir, GPtrArray *problems)
{
	g_autoptr(GError) error = NULL;

	if (folder_look(dir, NULL) != FOLDER_VOLCANO)
		return;
	g_autoptr(Identity) id = identity_load(dir, &error);
	if (!id || (!id->pending && !keep_check(dir, &error)))
		g_ptr_array_add(problems, g_strdup(error->message));
}

/* name: of a slice's store in DIR/slices; NULL: DIR's own, whose lock is held. Returns the number of its problems. */
static guint check_store(JsonBuilder *b, const char *dir, const char *name)
{
	g_autofree char *path = name ? g_build_filename(dir, SLICES, name, NULL) : g_strdup(dir);
	g_auto(StoreCheck) check = { 0 };
	g_autoptr(GError) error = NULL;
	StoreCheckOptions opt = { .older_than = older_than, .locked = !name, .copy = name != NULL, .row = list ? list_row : NULL, .user = b };

	if (!json)
		printf("%s in %s\n", name ? "store of a slice" : "volcano", path);
	if (json && list) {
		json_builder_set_member_name(b, "rows");
		json_builder_begin_array(b);
	}
	gboolean whole = store_check(path, &opt, &check, &error);
	if (json && list)
		json_builder_end_array(b);
	if (!whole)
		g_ptr_array_add(check.problems, g_strdup_printf("cannot be checked: %s", error->message));
	if (!name)
		check_keep(dir, check.problems);
	if (json) {
		add_result(b, path, &check);
		return check.problems->len;
	}
	if (whole)
		print_counts(&check);
	print_texts("note", name, check.notes);
	print_texts("problem", name, check.problems);
	return check.problems->len;
}

/* NNNNN (magmad/slices.c). What else is there, the spare one and what is being removed, is of no slice, and the next start makes or removes it; so is one without volcano.conf, which is made last, and without anything
 * in it: its making was cut off. */
static gboolean is_slice(const char *all, const char *name)
{
	g_autofree char *path = g_build_filename(all, name, NULL), *conf = g_build_filename(path, "volcano.conf", NULL);

	return strlen(name) == 5 && strspn(name, "0123456789") == 5 && (access(conf, F_OK) == 0 || folder_look(path, NULL) != FOLDER_EMPTY);
}

static int by_name(gconstpointer a, gconstpointer b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static guint check_slices(JsonBuilder *b, const char *dir)
{
	g_autofree char *all = g_build_filename(dir, SLICES, NULL);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) error = NULL;
	g_autoptr(GDir) d = g_dir_open(all, 0, &error);
	guint problems = 0;

	if (!d && !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
		tool_fail(&spec, EXIT_FAILED, "%s", error->message);
		return 1;
	}
	for (const char *name; d && (name = g_dir_read_name(d));)
		if (is_slice(all, name))
			g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, by_name);
	for (guint i = 0; i < names->len; i++) {
		if (json)
			json_builder_begin_object(b);
		guint n = check_store(b, dir, names->pdata[i]);
		problems += n;
		if (json) {
			add_clean(b, n == 0);
			json_builder_end_object(b);
		}
	}
	return problems;
}

static guint check_all(const char *dir)
{
	g_autoptr(JsonBuilder) b = json_builder_new();

	json_builder_begin_object(b);
	guint problems = check_store(b, dir, NULL);
	json_builder_set_member_name(b, SLICES);
	json_builder_begin_array(b);
	problems += check_slices(b, dir);
	json_builder_end_array(b);
	add_clean(b, problems == 0);
	json_builder_end_object(b);
	if (json)
		print_json(b);
	else if (problems)
		printf("%u problem%s\n", problems, problems == 1 ? "" : "s");
	else
		puts("clean");
	return problems;
}

/* The folder's lock is held until all its stores have been looked at: no magmad begins in between. */
static int run(const char *dir)
{
	g_autoptr(GError) error = NULL;
	int lock = layout_check(dir, &error) ? diskstore_lock(dir, &error) : -1;

	if (lock < 0)
		return tool_fail(&spec, EXIT_FAILED, "%s", error->message);
	guint problems = check_all(dir);
	close(lock);
	if (fflush(stdout) == EOF)
		return tool_fail(&spec, EXIT_FAILED, "standard output: write error");
	return problems ? EXIT_FAILED : EXIT_OK;
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
