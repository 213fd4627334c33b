#include "tests/sim/memcontent.h"
#include <errno.h>
#include <string.h>

#define PAGE 4096

struct MemContent {
	guint64 size;
	GHashTable *pages;            /* guint64 page number -> PAGE bytes */
};

MemContent *memcontent_new(void)
{
	MemContent *c = g_new0(MemContent, 1);
	c->pages = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	return c;
}

void memcontent_free(MemContent *c)
{
	if (!c)
		return;
	g_hash_table_unref(c->pages);
	g_free(c);
}

MemContent *memcontent_copy(const MemContent *c)
{
	MemContent *to = memcontent_new();
	GHashTableIter it;
	gpointer no, page;

	to->size = c->size;
	g_hash_table_iter_init(&it, c->pages);
	while (g_hash_table_iter_next(&it, &no, &page))
		g_hash_table_insert(to->pages, g_memdup2(no, sizeof(guint64)), g_memdup2(page, PAGE));
	return to;
}

guint64 memcontent_size(const MemContent *c) { return c->size; }
guint64 memcontent_blocks(const MemContent *c) { return g_hash_table_size(c->pages) * (guint64)(PAGE / 512); }

static guint8 *page_at(const MemContent *c, guint64 no, gboolean make)
{
	guint8 *page = g_hash_table_lookup(c->pages, &no);

	if (!page && make) {
		page = g_malloc0(PAGE);
		g_hash_table_insert(c->pages, g_memdup2(&no, sizeof no), page);
	}
	return page;
}

void memcontent_write(MemContent *c, guint64 off, const guint8 *p, gsize n)
{
	c->size = n ? MAX(c->size, off + n) : c->size;
	while (n) {
		gsize at = off % PAGE, part = MIN(n, PAGE - at);
		memcpy(page_at(c, off / PAGE, TRUE) + at, p, part);
		p += part;
		off += part;
		n -= part;
	}
}

GBytes *memcontent_read(const MemContent *c, guint64 off, gsize n)
{
	n = off >= c->size ? 0 : MIN(n, c->size - off);
	guint8 *out = g_malloc0(MAX(n, 1));
	for (gsize done = 0; done < n; ) {
		gsize at = (off + done) % PAGE, part = MIN(n - done, PAGE - at);
		const guint8 *page = page_at(c, (off + done) / PAGE, FALSE);
		if (page)
			memcpy(out + done, page + at, part);
		done += part;
	}
	return g_bytes_new_take(out, n);
}

void memcontent_zero(MemContent *c, guint64 off, guint64 n)
{
	guint64 end = off >= c->size ? off : off + MIN(n, c->size - off);
	GHashTableIter it;
	gpointer no, page;

	g_hash_table_iter_init(&it, c->pages);
	while (g_hash_table_iter_next(&it, &no, &page)) {
		guint64 begin = *(guint64 *)no * PAGE, from = MAX(begin, off), to = MIN(begin + PAGE, end);
		if (from >= to)
			continue;
		if (to - from == PAGE)
			g_hash_table_iter_remove(&it);
		else
			memset((guint8 *)page + (from - begin), 0, to - from);
	}
}

void memcontent_truncate(MemContent *c, guint64 size)
{
	if (size < c->size) {
		guint64 old = c->size;
		c->size = (old + PAGE - 1) / PAGE * PAGE;       /* whole pages go */
		memcontent_zero(c, size, c->size - size);
	}
	c->size = size;
}

int memcontent_seek(const MemContent *c, guint64 off, gboolean hole, guint64 *found)
{
	if (off >= c->size)
		return ENXIO;
	guint64 at = off;
	if (hole) {
		while (at < c->size && page_at(c, at / PAGE, FALSE))
			at = (at / PAGE + 1) * PAGE;
		*found = MIN(at, c->size);
		return 0;
	}
	if (!page_at(c, at / PAGE, FALSE)) {
		GHashTableIter it;
		gpointer no;
		at = c->size;
		g_hash_table_iter_init(&it, c->pages);
		while (g_hash_table_iter_next(&it, &no, NULL))
			if (*(guint64 *)no > off / PAGE)
				at = MIN(at, *(guint64 *)no * PAGE);
	}
	*found = at;
	return at < c->size ? 0 : ENXIO;
}

static gboolean chance(GRand *rnd, guint permille) { return g_rand_int_range(rnd, 0, 1000) < (gint32)permille; }

static void take_page(MemContent *to, const MemContent *from, guint64 no)
{
	const guint8 *page = page_at(from, no, FALSE);

	if (page)
		memcpy(page_at(to, no, TRUE), page, PAGE);
	else
		g_hash_table_remove(to->pages, &no);
}

MemContent *memcontent_after_power_cut(const MemContent *live, const MemContent *synced, GRand *rnd, guint permille)
{
	guint64 was = synced ? synced->size : 0, end;

	if (!live || (!synced && !chance(rnd, permille)))
		return synced && !(permille && chance(rnd, permille)) ? memcontent_copy(synced) : NULL;
	MemContent *c = synced ? memcontent_copy(synced) : memcontent_new();
	guint64 shared = MIN(was, live->size);
	for (guint64 no = 0; no * PAGE < shared; no++)
		if (chance(rnd, permille))
			take_page(c, live, no);
	if (live->size < was && chance(rnd, permille))
		memcontent_truncate(c, live->size);
	for (end = was; end < live->size && chance(rnd, permille); end = (end / PAGE + 1) * PAGE)
		take_page(c, live, end / PAGE);
	c->size = MAX(c->size, MIN(end, live->size));
	if (c->size % PAGE) {                 /* nothing behind the end of a file is kept */
		guint64 size = c->size;
		c->size = (size / PAGE + 1) * PAGE;
		memcontent_truncate(c, size);
	}
	return c;
}

gboolean memcontent_equal(const MemContent *a, const MemContent *b, guint64 size)
{
	static const guint8 zeros[PAGE];
	guint64 no = 0;

	for (; no * PAGE < size; no++) {
		const guint8 *x = a && no * PAGE < a->size ? page_at(a, no, FALSE) : NULL, *y = b && no * PAGE < b->size ? page_at(b, no, FALSE) : NULL;
		if (memcmp(x ? x : zeros, y ? y : zeros, MIN(PAGE, size - no * PAGE)))
			return FALSE;
	}
	return TRUE;
}
