/* Rows against each other: what belongs together must be there together. Flares and their names may be on different volcanos; only what is of this folder is judged. */
#include "magmad/store/check_inside.h"
#include "libmagma/base/wire.h"
#include <string.h>

#define INO "%" G_GUINT64_FORMAT

static void count_row(Check *c, const StoreRow *row)
{
	c->out->rows[row->table]++;
	if (c->opt->row)
		c->opt->row(c->opt->user, row);
}

/* Names may be any bytes; a problem is one line of text. */
static char *printable(const guint8 *name, gsize len)
{
	g_autofree char *text = g_strndup((const char *)name, len);
	return g_strescape(text, NULL);
}

/* --- entries and cookies --- */

static gboolean is_directory(Check *c, guint64 ino)
{
	RowValue *hold;
	FlareRow row;
	gboolean yes = check_flare(c, ino, &row, &hold) && S_ISDIR(row.attr.mode);

	g_free(hold);
	return yes;
}

static void check_child(Check *c, guint64 dir, const char *name, const EntryRow *e)
{
	RowValue *hold;
	FlareRow row;

	g_hash_table_add(c->named, INO_SET(e->child.ino));
	if (check_flare(c, e->child.ino, &row, &hold)) {
		if (!magma_key_equal(&row.attr.fid.key, &e->child.key))
			check_problem(c, "entry \"%s\" of directory " INO " leads to flare " INO " by another key than the flare's", name, dir, e->child.ino);
		else if ((row.attr.mode & S_IFMT) != e->type)
			check_problem(c, "entry \"%s\" of directory " INO " says type %06o, flare " INO " is of type %06o", name, dir, e->type, e->child.ino, row.attr.mode & S_IFMT);
		else if (!row.attr.nlink && !g_hash_table_contains(c->marked, INO_SET(e->child.ino)))
			check_problem(c, "entry \"%s\" of directory " INO " leads to flare " INO ", which was removed", name, dir, e->child.ino);
	}
	g_free(hold);
}

static void check_entry(Check *c, const StoreRow *row)
{
	EntryRow e, back;
	MagmaBytes back_name;
	guint8 key[STORE_KEY_MAX];

	count_row(c, row);
	if (row->klen <= 8 || !magma_name_valid(row->key + 8, row->klen - 8) || !entry_row_decode(row->val, row->vlen, &e)) {
		check_problem(c, "an entry's row is not readable (key of %" G_GSIZE_FORMAT " bytes)", row->klen);
		return;
	}
	guint64 dir = magma_be64_load(row->key);
	g_autofree char *name = printable(row->key + 8, row->klen - 8);
	gsize n = GPOINTER_TO_SIZE(g_hash_table_lookup(c->sizes, INO_SET(dir)));
	if (!n && !is_directory(c, dir))
		check_problem(c, "entry \"%s\": its directory " INO " is not here", name, dir);
	g_hash_table_insert(c->sizes, INO_SET(dir), GSIZE_TO_POINTER(n + 1));
	check_child(c, dir, name, &e);
	g_autofree RowValue *cookie = check_get(c, TAB_COOKIE, key, key_ino_u64(key, dir, e.cookie));
	if (!cookie)
		check_problem(c, "entry \"%s\" of directory " INO " has no cookie row (" INO ")", name, dir, e.cookie);
	else if (!cookie_row_decode(cookie->bytes, cookie->len, &back, &back_name) || back.cookie != e.cookie || back.type != e.type || !magma_fid_equal(&back.child, &e.child)
		|| back_name.len != row->klen - 8 || memcmp(back_name.data, row->key + 8, back_name.len))
		check_problem(c, "entry \"%s\" of directory " INO " and its cookie row (" INO ") differ", name, dir, e.cookie);
}

static void check_cookie(Check *c, const StoreRow *row)
{
	EntryRow e, back;
	MagmaBytes name;
	guint8 key[STORE_KEY_MAX];

	count_row(c, row);
	if (row->klen != 16 || !cookie_row_decode(row->val, row->vlen, &e, &name) || magma_be64_load(row->key + 8) != e.cookie) {
		check_problem(c, "a cookie's row is not readable (key of %" G_GSIZE_FORMAT " bytes)", row->klen);
		return;
	}
	guint64 dir = magma_be64_load(row->key);
	g_autofree RowValue *entry = check_get(c, TAB_ENTRY, key, key_ino_bytes(key, dir, name.data, name.len));
	if (entry && entry_row_decode(entry->bytes, entry->len, &back) && back.cookie == e.cookie)
		return;
	g_autofree char *text = printable(name.data, name.len);
	check_problem(c, "cookie " INO " of directory " INO " has no entry \"%s\"", e.cookie, dir, text);
}

/* --- work under way --- */

/* Whose names are still to be counted after a power cut (magmad/core/scrub.c) is no finding of this. */
static void check_meta(Check *c, const StoreRow *row)
{
	static const char suspect[] = "suspect-";
	g_autofree char *name = g_strndup((const char *)row->key, row->klen);

	count_row(c, row);
	if (g_str_has_prefix(name, suspect))
		g_hash_table_add(c->marked, INO_SET(g_ascii_strtoull(name + strlen(suspect), NULL, 16)));
}

static gboolean hangs(const Check *c, guint64 since)
{
	return c->now > since && c->now - since > c->opt->older_than * G_USEC_PER_SEC;
}

static void check_mark(Check *c, const StoreRow *row)
{
	MarkRow m;

	count_row(c, row);
	if (!mark_row_decode(row->val, row->vlen, &m)) {
		check_problem(c, "a mark's row is not readable");
		return;
	}
	g_hash_table_add(c->marked, INO_SET(m.target.ino));
	if (m.kind == MARK_SWAP)
		g_hash_table_add(c->marked, INO_SET(m.other.ino));
	if (m.kind == MARK_LEAVE || m.kind == MARK_SWAP)
		g_hash_table_add(c->marked, INO_SET(m.entry.child.ino));
	if (hangs(c, m.age))
		check_problem(c, "flare " INO " has a mark of operation %" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x that hangs since %" G_GUINT64_FORMAT " s", m.target.ino, m.op_hi, m.op_lo, (c->now - m.age) / G_USEC_PER_SEC);
}

static void check_commit(Check *c, const StoreRow *row)
{
	g_autoptr(GArray) parts = g_array_new(FALSE, FALSE, sizeof(CommitPart));
	g_autoptr(GArray) named = g_array_new(FALSE, FALSE, sizeof(MagmaFid));

	count_row(c, row);
	if (!commit_row_decode(row->val, row->vlen, parts, named))
		check_problem(c, "a commit's row is not readable");
	for (guint i = 0; i < named->len; i++)
		g_hash_table_add(c->marked, INO_SET(g_array_index(named, MagmaFid, i).ino));
	for (guint i = 0; i < parts->len; i++)
		g_hash_table_add(c->marked, INO_SET(g_array_index(parts, CommitPart, i).target.ino));
}

static void note_ino(Check *c, const StoreRow *row, GHashTable *set)
{
	guint64 ino = magma_be64_load(row->key);

	count_row(c, row);
	g_hash_table_add(set, INO_SET(ino));
	g_autofree RowValue *flare = check_get(c, TAB_FLARE, row->key, 8);
	if (!flare)
		check_problem(c, "%s row of flare " INO ", which is not here", row->table == TAB_ORPHAN ? "orphan" : "write-intent", ino);
}

static void check_orphan(Check *c, const StoreRow *row) { note_ino(c, row, c->orphans); }
static void check_dirty(Check *c, const StoreRow *row) { note_ino(c, row, c->dirty); }

/* --- flares and what hangs on them --- */

static void check_name(Check *c, const FlareRow *row)
{
	guint64 ino = row->attr.fid.ino;
	gpointer set = INO_SET(ino);

	if (ino == MAGMA_ROOT_INO || g_hash_table_contains(c->named, set) || g_hash_table_contains(c->marked, set) || g_hash_table_contains(c->orphans, set))
		return;
	/* A file may have its names anywhere: the directory that it says is where it got one, and that name may be gone while another volcano has the next. A directory has one, where it says. */
	if (!row->attr.nlink)
		check_problem(c, "flare " INO " was removed, but is no orphan", ino);
	else if (!is_directory(c, row->parent.ino))
		return;
	else if (!S_ISDIR(row->attr.mode))
		c->out->nameless++;
	else
		check_problem(c, "flare " INO " has no entry in its directory " INO ", nor a mark", ino, row->parent.ino);
}

static void check_directory(Check *c, const FlareRow *row)
{
	gsize entries = GPOINTER_TO_SIZE(g_hash_table_lookup(c->sizes, INO_SET(row->attr.fid.ino)));

	c->out->directories++;
	if (entries != row->attr.size)
		check_problem(c, "directory " INO " says it has %" G_GUINT64_FORMAT " entries, there are %" G_GSIZE_FORMAT, row->attr.fid.ino, row->attr.size, entries);
}

static void check_flare_row(Check *c, const StoreRow *row)
{
	guint64 ino = magma_be64_load(row->key);
	FlareRow f;

	count_row(c, row);
	if (!flare_row_decode(row->val, row->vlen, &f)) {
		check_problem(c, "the row of flare " INO " is not readable", ino);
		return;
	}
	if (f.attr.fid.ino != ino || !magma_key_equal(&f.attr.fid.key, &row->rk)) {
		check_problem(c, "the row of flare " INO " says it is another flare's", ino);
		return;
	}
	if (S_ISDIR(f.attr.mode))
		check_directory(c, &f);
	else if (S_ISREG(f.attr.mode))
		c->out->files++;
	else if (S_ISLNK(f.attr.mode))
		c->out->symlinks++;
	else
		c->out->others++;
	if (S_ISREG(f.attr.mode))
		check_content_of(c, &f);
	check_name(c, &f);
}

static void check_data(Check *c, const StoreRow *row)
{
	guint64 ino = magma_be64_load(row->key);
	RowValue *hold;
	FlareRow f;

	count_row(c, row);
	c->out->inline_bytes += row->vlen;
	if (row->vlen > MAGMA_INLINE_MAX)
		check_problem(c, "flare " INO " has %" G_GSIZE_FORMAT " bytes inline, more than %d", ino, row->vlen, MAGMA_INLINE_MAX);
	if (!check_flare(c, ino, &f, &hold))
		check_problem(c, "inline contents of flare " INO ", which is not here", ino);
	else if (!S_ISREG(f.attr.mode))
		check_problem(c, "inline contents of flare " INO ", which is no file", ino);
	else if (f.content != CONTENT_INLINE && !g_hash_table_contains(c->dirty, INO_SET(ino)))
		check_problem(c, "inline contents of flare " INO ", which has a content file and no write-intent", ino);
	g_free(hold);
}

static void check_xattr(Check *c, const StoreRow *row)
{
	count_row(c, row);
	g_autofree RowValue *flare = row->klen > 8 ? check_get(c, TAB_FLARE, row->key, 8) : NULL;
	if (!flare)
		check_problem(c, "an extended attribute of flare " INO ", which is not here", row->klen >= 8 ? magma_be64_load(row->key) : 0);
}

void check_rows(Check *c)
{
	/* In an order in which what is looked up in sets is there. */
	static const struct { StoreTable table; void (*fn)(Check *, const StoreRow *); } order[] = {
		{ TAB_META, check_meta }, { TAB_CLIENT, count_row }, { TAB_REPLY, count_row },
		{ TAB_MARK, check_mark }, { TAB_COMMIT, check_commit }, { TAB_ORPHAN, check_orphan }, { TAB_DIRTY, check_dirty },
		{ TAB_ENTRY, check_entry }, { TAB_COOKIE, check_cookie }, { TAB_FLARE, check_flare_row }, { TAB_DATA, check_data }, { TAB_XATTR, check_xattr },
	};
	G_STATIC_ASSERT(G_N_ELEMENTS(order) == TAB_COUNT - 1);

	for (guint i = 0; i < G_N_ELEMENTS(order); i++)
		check_each(c, order[i].table, order[i].fn);
	if (c->out->nameless)
		check_note(c, "%" G_GUINT64_FORMAT " files are no longer where they were made: another volcano may have their names, and only all of them together can say", c->out->nameless);
}
