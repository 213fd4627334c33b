/* Content files against the rows of their flares. */
#include "magmad/store/check_inside.h"
#include "magmad/store/content.h"
#include "magmad/store/layout.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define INO "%" G_GUINT64_FORMAT

static void check_inline(Check *c, const FlareRow *row)
{
	guint8 key[STORE_KEY_MAX];

	if (!row->attr.size)
		return;
	g_autofree RowValue *data = check_get(c, TAB_DATA, key, key_ino(key, row->attr.fid.ino));
	if (!data)
		check_problem(c, "flare " INO " has %" G_GUINT64_FORMAT " bytes inline, but their row is missing", row->attr.fid.ino, row->attr.size);
	else if (data->len > row->attr.size)
		check_problem(c, "flare " INO " has a size of %" G_GUINT64_FORMAT ", but %u bytes inline", row->attr.fid.ino, row->attr.size, data->len);
}

void check_content_of(Check *c, const FlareRow *row)
{
	char name[CONTENT_NAME_MAX];
	struct stat st;

	if (row->content == CONTENT_INLINE) {
		check_inline(c, row);
		return;
	}
	g_autofree char *root = layout_content(c->dir);
	g_autofree char *path = g_build_filename(root, content_name(&row->attr.fid, name), NULL);
	gboolean under_way = g_hash_table_contains(c->dirty, INO_SET(row->attr.fid.ino));
	/* Its content goes first, then its rows: who stopped in between does both again (gc.c). */
	gboolean removed = !row->attr.nlink && g_hash_table_contains(c->orphans, INO_SET(row->attr.fid.ino));
	if (lstat(path, &st) != 0) {
		if (errno != ENOENT)
			check_problem(c, "%s: %s", path, g_strerror(errno));
		else if (row->attr.blocks && !under_way && !removed)
			check_problem(c, "flare " INO " has written contents, but no content file", row->attr.fid.ino);
	} else if ((guint64)st.st_size > row->attr.size && !under_way) {      /* shorter: a hole at its end */
		check_problem(c, "flare " INO " has a size of %" G_GUINT64_FORMAT ", its content file %" G_GUINT64_FORMAT, row->attr.fid.ino, row->attr.size, (guint64)st.st_size);
	}
}

static void check_file(Check *c, const char *xx, const char *yy, const char *name, const char *path)
{
	char expected[CONTENT_NAME_MAX];
	g_autofree char *is = g_strdup_printf("%s/%s/%s", xx, yy, name);
	MagmaFid fid;
	struct stat st;
	RowValue *hold;
	FlareRow row;

	if (lstat(path, &st) != 0 || !content_parse_name(name, &fid) || strcmp(is, content_name(&fid, expected)) || !S_ISREG(st.st_mode)) {
		check_problem(c, "%s is no content file", path);
		return;
	}
	c->out->content_files++;
	c->out->content_bytes += st.st_size;
	gboolean here = check_flare(c, fid.ino, &row, &hold) && magma_key_equal(&row.attr.fid.key, &fid.key);
	if (!here && c->opt->copy) {
		c->strays++;
		c->stray_bytes += st.st_size;
	} else if (!here) {
		check_problem(c, "%s: there is no such flare", path);
	}
	if (here && row.content != CONTENT_FILE && !g_hash_table_contains(c->dirty, INO_SET(fid.ino)))
		check_problem(c, "%s: the flare has its contents inline", path);
	g_free(hold);
}

static void each_name(Check *c, const char *path, void (*fn)(Check *c, const char *path, const char *xx, const char *name), const char *xx)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GDir) d = g_dir_open(path, 0, &error);
	const char *name;

	if (!d)
		check_problem(c, "%s", error->message);
	while (d && (name = g_dir_read_name(d)))
		fn(c, path, xx, name);
}

static void in_yy(Check *c, const char *path, const char *xx, const char *name)
{
	g_autofree char *file = g_build_filename(path, name, NULL);
	g_autofree char *yy = g_path_get_basename(path);
	check_file(c, xx, yy, name, file);
}

static gboolean is_byte(const char *name) { return strlen(name) == 2 && g_ascii_isxdigit(name[0]) && g_ascii_isxdigit(name[1]); }

static void in_xx(Check *c, const char *path, const char *xx, const char *name)
{
	g_autofree char *sub = g_build_filename(path, name, NULL);
	if (is_byte(name))
		each_name(c, sub, in_yy, xx);
	else
		check_problem(c, "%s is nothing of ours", sub);
}

static void in_root(Check *c, const char *path, const char *xx, const char *name)
{
	g_autofree char *sub = g_build_filename(path, name, NULL);
	if (is_byte(name))
		each_name(c, sub, in_xx, name);
	else
		check_problem(c, "%s is nothing of ours", sub);
}

void check_content_files(Check *c)
{
	g_autofree char *root = layout_content(c->dir);
	each_name(c, root, in_root, NULL);
	if (c->strays)
		check_note(c, "%" G_GUINT64_FORMAT " contents of %" G_GUINT64_FORMAT " bytes are of flares that are gone: they go when this volcano becomes owner of the slice", c->strays, c->stray_bytes);
}
