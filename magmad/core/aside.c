#include "magmad/core/aside.h"

#define IDLE (60 * SECOND)            /* stores that nobody reads are closed: they hold memory and threads */
enum { FORMAT = 1 };

/* --- what is shown --- */

static void entry_clear(gpointer e) { g_free(((AsideEntry *)e)->name); }

static void dir_free(gpointer p)
{
	AsideDir *d = p;

	g_hash_table_unref(d->names);
	g_array_unref(d->entries);
	g_free(d);
}

static GHashTable *dirs_new(void) { return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, dir_free); }

const AsideDir *aside_dir(const Aside *a, guint64 ino) { return g_hash_table_lookup(a->dirs, &ino); }

const AsideEntry *aside_entry(const Aside *a, guint64 dir, const char *name)
{
	const AsideDir *d = aside_dir(a, dir);
	guint at = d ? GPOINTER_TO_UINT(g_hash_table_lookup(d->names, name)) : 0;

	return at ? &g_array_index(d->entries, AsideEntry, at - 1) : NULL;
}

void aside_show(Aside *a, guint64 dir, const AsideEntry *e)
{
	AsideDir *d = g_hash_table_lookup(a->dirs, &dir);
	AsideEntry copy = *e;

	if (!d) {
		d = g_new0(AsideDir, 1);
		d->entries = g_array_new(FALSE, FALSE, sizeof(AsideEntry));
		d->names = g_hash_table_new(g_str_hash, g_str_equal);
		g_array_set_clear_func(d->entries, entry_clear);
		g_hash_table_insert(a->dirs, g_memdup2(&dir, sizeof dir), d);
	}
	copy.name = g_strdup(e->name);
	g_array_append_val(d->entries, copy);
	g_hash_table_insert(d->names, copy.name, GUINT_TO_POINTER(d->entries->len));
}

/* u8 format, u64 flares that differ; for each directory u64 ino, u32 entries; for each entry u64 cookie, u64 child, u32 type, u8 length, name. Then the CRC-32C of all that. */
void aside_encode(const Aside *a, GByteArray *out)
{
	GHashTableIter it;
	gpointer ino, dir;

	magma_put_u8(out, FORMAT);
	magma_put_u64(out, a->is.differing);
	g_hash_table_iter_init(&it, a->dirs);
	while (g_hash_table_iter_next(&it, &ino, &dir)) {
		const GArray *entries = ((AsideDir *)dir)->entries;
		magma_put_u64(out, *(guint64 *)ino);
		magma_put_u32(out, entries->len);
		for (guint i = 0; i < entries->len; i++) {
			const AsideEntry *e = &g_array_index(entries, AsideEntry, i);
			magma_put_u64(out, e->cookie);
			magma_put_u64(out, e->child);
			magma_put_u32(out, e->type);
			magma_put_u8(out, (guint8)strlen(e->name));
			magma_put_bytes(out, e->name, strlen(e->name));
		}
	}
	magma_put_u32(out, magma_crc32c(0, out->data, out->len));
}

static gboolean decode_entry(Aside *a, guint64 dir, MagmaReader *r)
{
	AsideEntry e = { .cookie = magma_get_u64(r) };
	const AsideDir *d = aside_dir(a, dir);

	e.child = magma_get_u64(r);
	e.type = magma_get_u32(r);
	guint8 len = magma_get_u8(r);
	const guint8 *name = magma_get_bytes(r, len);
	if (r->error || !magma_name_valid(name, len))
		return FALSE;
	g_autofree char *text = g_strndup((const char *)name, len);
	if ((d && g_array_index(d->entries, AsideEntry, d->entries->len - 1).cookie >= e.cookie) || aside_entry(a, dir, text))
		return FALSE;
	e.name = text;
	aside_show(a, dir, &e);
	return TRUE;
}

gboolean aside_decode(Aside *a, const guint8 *p, gsize n)
{
	gsize body = n - MIN(n, 4);
	MagmaReader r = magma_reader(p, body);
	guint8 format = magma_get_u8(&r);
	guint64 differing = magma_get_u64(&r);
	gboolean ok = !r.error && format == FORMAT && magma_be32_load(p + body) == magma_crc32c(0, p, body);

	while (ok && r.left) {
		guint64 dir = magma_get_u64(&r);
		guint32 entries = magma_get_u32(&r);
		ok = !r.error && entries && !aside_dir(a, dir);
		for (guint32 i = 0; ok && i < entries; i++)
			ok = decode_entry(a, dir, &r);
	}
	if (ok)
		a->is.differing = differing;
	else
		g_hash_table_remove_all(a->dirs);
	return ok;
}

/* --- reading --- */

typedef struct {
	Fetch fetch;                  /* first */
	AsideRead *read;
} AsideFetch;

struct AsideRead {
	Aside *a;
	void (*ready)(void *user);
	void *user;
	AsideFetch fetch[ASIDE_STORES_MAX];
};

static void fetched(Fetch *f)
{
	AsideRead *r = ((AsideFetch *)f)->read;
	Volcano *v = r->a->v;

	core_enter(v);
	r->ready(r->user);
	core_leave(v);
}

AsideRead *aside_read_new(Aside *a, void (*ready)(void *user), void *user)
{
	AsideRead *r = g_new0(AsideRead, 1);

	r->a = a;
	r->ready = ready;
	r->user = user;
	for (guint i = 0; i < ASIDE_STORES_MAX; i++) {
		r->fetch[i].fetch.ready = fetched;
		r->fetch[i].read = r;
	}
	a->users++;
	return r;
}

void aside_read_reset(AsideRead *r)
{
	for (guint i = 0; i < r->a->stores->len; i++)
		store_fetch_clear(r->a->stores->pdata[i], &r->fetch[i].fetch);
}

void aside_read_free(AsideRead *r)
{
	aside_read_reset(r);
	r->a->users--;
	r->a->used = core_now(r->a->v);
	g_free(r);
}

Aside *aside_read_of(AsideRead *r) { return r->a; }

int aside_flare(AsideRead *r, guint64 ino, FlareRow *row, Store **store)
{
	guint8 k[STORE_KEY_MAX];
	gsize klen = key_ino(k, ino), n;
	const guint8 *val;

	for (guint i = 0; i < r->a->stores->len; i++) {
		*store = r->a->stores->pdata[i];
		switch (store_get(*store, &r->fetch[i].fetch, TAB_FLARE, k, klen, &val, &n)) {
		case STORE_PENDING:
			return WAIT;
		case STORE_FOUND:
			return flare_row_decode(val, n, row) ? 0 : EIO;
		case STORE_ABSENT:
			break;
		}
	}
	return ESTALE;
}

int aside_value(AsideRead *r, Store *store, StoreTable t, const void *key, gsize klen, const guint8 **val, gsize *n)
{
	guint i = 0;

	while (r->a->stores->pdata[i] != store)
		i++;
	switch (store_get(store, &r->fetch[i].fetch, t, key, klen, val, n)) {
	case STORE_PENDING: return WAIT;
	case STORE_FOUND: return 0;
	default: return ENODATA;
	}
}

/* --- one of them --- */

static void aside_say(const Aside *a, const char *what)
{
	char time[MAGMA_CONFLICT_TIME_TEXT];

	core_say(a->v, "CONFLICT: /.dht/conflicts/%s/%s: %s", a->v->name, magma_conflict_time_text(a->is.time, time), what);
}

int aside_open(Aside *a)
{
	a->used = core_now(a->v);
	if (a->stores)
		return 0;
	a->stores = a->v->io->aside_open(a->v->iou, a->is.time);
	if (a->stores && (!a->stores->len || a->stores->len > ASIDE_STORES_MAX)) {
		a->v->io->aside_close(a->v->iou, a->is.time, g_steal_pointer(&a->stores));
		core_say(a->v, "CONFLICT: not one to %u stores were set aside", ASIDE_STORES_MAX);
	}
	return a->stores ? 0 : EIO;
}

static void aside_close(Aside *a)
{
	if (a->stores)
		a->v->io->aside_close(a->v->iou, a->is.time, g_steal_pointer(&a->stores));
}

static void aside_free(gpointer p)
{
	Aside *a = p;

	compare_free(a->compare);
	aside_close(a);
	g_hash_table_unref(a->dirs);
	g_free(a);
}

void aside_compared(Aside *a, int error)
{
	g_autoptr(GByteArray) kept = g_byte_array_new();

	a->compare = NULL;
	a->is.phase = error ? MAGMA_CONFLICT_UNREADABLE : MAGMA_CONFLICT_COMPARED;
	g_autofree char *text = magma_conflict_text(&a->is);
	aside_say(a, error ? g_strerror(error) : text);
	if (error)
		return;
	aside_encode(a, kept);
	a->v->io->aside_note(a->v->iou, a->is.time, kept->data, kept->len);
}

static Aside *aside_new(Volcano *v, guint64 time)
{
	Aside *a = g_new0(Aside, 1);

	a->v = v;
	a->is.time = time;
	a->dirs = dirs_new();
	g_autoptr(GBytes) noted = v->io->aside_noted(v->iou, time);
	gsize n = 0;
	const guint8 *p = noted ? g_bytes_get_data(noted, &n) : NULL;
	if (noted && aside_decode(a, p, n))
		a->is.phase = MAGMA_CONFLICT_COMPARED;
	g_autofree char *text = magma_conflict_text(&a->is);
	aside_say(a, text);
	return a;
}

/* --- all --- */

void asides_start(Volcano *v)
{
	g_autoptr(GArray) times = v->io->aside_list ? v->io->aside_list(v->iou) : NULL;

	v->asides = g_ptr_array_new_with_free_func(aside_free);
	for (guint i = 0; times && i < times->len; i++)
		g_ptr_array_add(v->asides, aside_new(v, g_array_index(times, guint64, i)));
}

void asides_clear(Volcano *v) { g_clear_pointer(&v->asides, g_ptr_array_unref); }

Aside *aside_find(Volcano *v, guint64 time)
{
	for (guint i = 0; i < v->asides->len; i++) {
		Aside *a = v->asides->pdata[i];
		if (a->is.time == time && !a->clearing)
			return a;
	}
	return NULL;
}

GArray *asides_list(Volcano *v)
{
	GArray *out = g_array_new(FALSE, FALSE, sizeof(MagmaConflict));

	for (guint i = 0; v->asides && i < v->asides->len; i++) {
		const Aside *a = v->asides->pdata[i];
		if (!a->clearing)
			g_array_append_val(out, a->is);
	}
	return out;
}

void asides_status(Volcano *v, GByteArray *out)
{
	g_autoptr(GArray) all = asides_list(v);

	for (guint i = 0; i < all->len && out->len < MAGMA_BLOB_MAX - 32; i++)
		magma_put_conflict(out, &g_array_index(all, MagmaConflict, i));
}

static void removed(void *user, int error)
{
	Aside *a = user;
	Volcano *v = a->v;
	void (*done)(void *, int) = a->cleared;
	void *done_user = a->cleared_user;

	core_enter(v);
	aside_say(a, error ? g_strerror(error) : "cleared");
	if (error) {                  /* it is still there, and said so */
		a->clearing = a->removing = FALSE;
		a->cleared = NULL;
	} else {
		g_ptr_array_remove(v->asides, a);
	}
	if (done)
		done(done_user, error);
	core_leave(v);
}

static void look(Aside *a)
{
	Volcano *v = a->v;

	if (a->clearing) {
		if (a->users || a->removing)
			return;
		a->removing = TRUE;
		aside_close(a);
		v->io->aside_remove(v->iou, a->is.time, removed, a);
	} else if (a->is.phase == MAGMA_CONFLICT_WAITING && v->serving && v->map) {
		if (aside_open(a)) {
			aside_compared(a, EIO);
			return;
		}
		a->is.phase = MAGMA_CONFLICT_COMPARING;
		a->compare = compare_new(a);
	} else if (!a->users && a->stores && core_now(v) - a->used > IDLE) {
		aside_close(a);
	}
}

void asides_tick(Volcano *v)
{
	for (guint i = v->asides->len; i > 0; i--)    /* from the end: look() may take that one away */
		if (i <= v->asides->len)
			look(v->asides->pdata[i - 1]);
}

void aside_remove(Volcano *v, guint64 time, void (*done)(void *user, int error), void *user)
{
	Aside *a = v->asides ? aside_find(v, time) : NULL;

	if (!a) {
		done(user, ENOENT);
		return;
	}
	a->clearing = TRUE;
	a->cleared = done;
	a->cleared_user = user;
	g_clear_pointer(&a->compare, compare_free);
	core_tick_soon(v);
}
