#include "tests/unit/fake.h"
#include "libmagma/lava/health.h"
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <string.h>

static Flare *flare_by_ino(World *w, guint64 ino)
{
	for (guint i = 0; i < w->flares->len; i++) {
		Flare *f = w->flares->pdata[i];
		if (f->attr.fid.ino == ino)
			return f;
	}
	return NULL;
}

static Flare *flare_by_name(World *w, guint64 parent, const guint8 *name, gsize len)
{
	for (guint i = 0; i < w->flares->len; i++) {
		Flare *f = w->flares->pdata[i];
		if (f->parent == parent && strlen(f->name) == len && memcmp(f->name, name, len) == 0)
			return f;
	}
	return NULL;
}

static void flare_free(gpointer p)
{
	Flare *f = p;

	g_free(f->name);
	g_free(f);
}

static Flare *flare_add(World *w, guint64 parent, const char *name, gsize len, const MagmaKey *key, guint32 mode)
{
	Flare *f = g_new0(Flare, 1);

	f->parent = parent;
	f->name = g_strndup(name, len);
	f->attr.fid = (MagmaFid){ *key, w->next_ino++ };
	f->attr.mode = mode;
	f->attr.nlink = 1;
	g_ptr_array_add(w->flares, f);
	return f;
}

Flare *world_make(World *w, const char *path, const char *born, guint32 mode)
{
	const char *slash = strrchr(path, '/');
	MagmaKey key = magma_key_of_path(born ? born : path, strlen(born ? born : path));
	guint64 parent = MAGMA_ROOT_INO;
	g_auto(GStrv) names = g_strsplit(path + 1, "/", -1);

	for (guint i = 0; names[i + 1]; i++) {
		Flare *f = flare_by_name(w, parent, (const guint8 *)names[i], strlen(names[i]));
		g_assert_nonnull(f);
		parent = f->attr.fid.ino;
	}
	return flare_add(w, parent, slash + 1, strlen(slash + 1), &key, mode);
}

Fake *world_owner(World *w, const MagmaKey *key)
{
	return w->fakes[magma_map_route(w->map, key)->id - 1];
}

guint world_count(World *w, MagmaOp op)
{
	guint n = 0;

	for (guint i = 0; i < w->seen->len; i++)
		n += g_array_index(w->seen, Seen, i).h.op == op;
	return n;
}

const Seen *world_nth(World *w, MagmaOp op, guint nth)
{
	for (guint i = 0; i < w->seen->len; i++) {
		const Seen *s = &g_array_index(w->seen, Seen, i);
		if (s->h.op == op && nth-- == 0)
			return s;
	}
	return NULL;
}

static const MagmaMap *fake_map(const Fake *f) { return f->stale ? f->stale : f->world->map; }

/* What the operations do. owner: whose slice has the key. */
static guint32 serve(Fake *owner, const MagmaHdr *h, const MagmaAny *req, MagmaAny *rep, GByteArray *space)
{
	World *w = owner->world;
	Flare *f;

	switch (h->op) {
	case MAGMA_OP_hello:
		magma_map_encode(fake_map(owner), space);
		rep->rep_hello = (struct magma_rep_hello){ .volcano = owner->id, .boot = owner->boot, .version = 0x010000, .name = MAGMA_BYTES_STR("fake"),
			.map = MAGMA_BYTES(space->data, space->len) };
		return 0;
	case MAGMA_OP_map:
		magma_map_encode(fake_map(owner), space);
		rep->rep_map.map = MAGMA_BYTES(space->data, space->len);
		return 0;
	case MAGMA_OP_ping:
		rep->rep_ping = (struct magma_rep_ping){ .volcano = owner->id, .boot = owner->boot, .name = MAGMA_BYTES_STR("fake"), .software = MAGMA_BYTES_STR("1.0.0"),
			.copies_wanted = 2, .copies_kept = 1,
			.unsafe = w->unsafe ? MAGMA_UNSAFE_DOWN : 0, .lines = w->unsafe ? MAGMA_BYTES_STR(w->unsafe) : (MagmaBytes){ NULL, 0 } };
		return 0;
	case MAGMA_OP_goodbye:
		return 0;
	case MAGMA_OP_reopen: {
		MagmaReader r = magma_reader(req->req_reopen.fids.data, req->req_reopen.fids.len);
		while (r.left && !r.error) {
			MagmaFid fid = magma_get_fid(&r);
			g_hash_table_add(owner->opens, GSIZE_TO_POINTER(fid.ino));
			owner->reopened++;
			magma_put_u32(space, 0);
		}
		rep->rep_reopen.errors = MAGMA_BYTES(space->data, space->len);
		return 0;
	}
	case MAGMA_OP_lookup:
		f = flare_by_name(w, req->req_lookup.dir.ino, req->req_lookup.name.data, req->req_lookup.name.len);
		if (!f)
			return ENOENT;
		rep->rep_lookup = (struct magma_rep_lookup){ .child = f->attr.fid, .type = f->attr.mode & S_IFMT };
		rep->rep_lookup.has_attr = world_owner(w, &f->attr.fid.key) == owner;
		if (rep->rep_lookup.has_attr)
			rep->rep_lookup.attr = f->attr;
		return 0;
	case MAGMA_OP_peek:
		for (guint i = 0; i < w->flares->len; i++) {
			f = w->flares->pdata[i];
			if (magma_key_equal(&f->attr.fid.key, &req->req_peek.key))
				magma_put_attr(space, &f->attr);
		}
		rep->rep_peek.attrs = MAGMA_BYTES(space->data, space->len);
		return 0;
	case MAGMA_OP_getattr:
		f = flare_by_ino(w, req->req_getattr.fid.ino);
		if (!f)
			return ENOENT;
		rep->rep_getattr.attr = f->attr;
		return 0;
	case MAGMA_OP_open:
		g_hash_table_add(owner->opens, GSIZE_TO_POINTER(req->req_open.fid.ino));
		return 0;
	case MAGMA_OP_release:
		g_hash_table_remove(owner->opens, GSIZE_TO_POINTER(req->req_release.fid.ino));
		return 0;
	case MAGMA_OP_mkdir:
		f = flare_add(w, req->req_mkdir.dir.ino, (const char *)req->req_mkdir.name.data, req->req_mkdir.name.len, &req->req_mkdir.key, S_IFDIR | req->req_mkdir.mode);
		rep->rep_mkdir.attr = f->attr;
		return 0;
	case MAGMA_OP_write:
		rep->rep_write = (struct magma_rep_write){ .offset = req->req_write.offset, .size = req->req_write.offset + req->req_write.data.len };
		return 0;
	default:
		return ENOSYS;
	}
}

static void answer(Fake *f, MagmaConn *conn, const MagmaHdr *req, guint32 error, const MagmaAny *rep)
{
	MagmaHdr h = { .kind = MAGMA_REPLY, .op = req->op, .xid = req->xid, .client = req->client, .epoch = fake_map(f)->epoch, .error = error };
	GByteArray *out = g_byte_array_new();

	if (req->epoch < fake_map(f)->epoch)
		h.flags |= MAGMA_FLAG_REFRESH_TOPOLOGY;
	magma_msg_encode(&h, rep, FALSE, out);
	g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(out);
	magma_conn_send(conn, bytes, NULL);
}

/* Exactly once, as a volcano does it: what was executed is not executed again. The fake has nothing stored; it makes the answer of a mkdir anew. */
static guint32 execute(Fake *owner, const MagmaHdr *h, const MagmaAny *req, MagmaAny *rep, GByteArray *space)
{
	if (!(magma_op_info(h->op)->flags & MAGMA_OP_MUTATES))
		return serve(owner, h, req, rep, space);
	char *id = g_strdup_printf("%016" G_GINT64_MODIFIER "x:%" G_GUINT64_FORMAT, h->client, h->xid);
	if (!g_hash_table_add(owner->world->done, id)) {
		if (h->op == MAGMA_OP_mkdir) {
			rep->rep_mkdir.attr = flare_by_name(owner->world, req->req_mkdir.dir.ino, req->req_mkdir.name.data, req->req_mkdir.name.len)->attr;
			return 0;
		}
		return h->op == MAGMA_OP_write ? serve(owner, h, req, rep, space) : ENOSYS;
	}
	owner->executed++;
	return serve(owner, h, req, rep, space);
}

static void fake_message(void *user, MagmaConn *conn, GBytes *msg)
{
	Fake *f = user;
	World *w = f->world;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);
	MagmaAny req, rep = { 0 };
	Seen s = { .at = f, .conn = conn };
	guint32 error = 0;
	g_autoptr(GByteArray) space = g_byte_array_new();

	g_assert_cmpint(magma_msg_decode(p, n, &s.h, &req), ==, 0);
	Fake *owner = magma_msg_route(s.h.op, &req, &s.key) ? world_owner(w, &s.key) : f;
	const MagmaOpInfo *info = magma_op_info(s.h.op);
	if (info->nreq && info->req[0].type == MAGMA_F_fid)
		s.ino = ((const MagmaFid *)&req)->ino;
	s.forwarded = owner != f;
	if (f->no_hello && s.h.op == MAGMA_OP_hello)
		return;
	Verdict v = w->hook ? w->hook(w->hook_user, &s, &error) : SERVE;
	g_array_append_val(w->seen, s);
	if (v == DROP)
		return;
	if (v != REFUSE)
		error = execute(owner, &s.h, &req, &rep, space);
	if (v != SERVE_AND_LOSE_REPLY)
		answer(f, conn, &s.h, error, &rep);
}

static void fake_open(void *user, MagmaConn *c) {}
static void fake_close(void *user, MagmaConn *c, MagmaCloseReason why) {}

static void fake_listen(Fake *f)
{
	static const MagmaNetOps ops = { fake_open, fake_message, fake_close };
	MagmaXportConfig cfg = { .prologue = "magma-flare-1", .accept = TRUE };
	g_autoptr(GError) error = NULL;

	memcpy(cfg.psk, f->world->psk, sizeof cfg.psk);
	f->net = magma_net_new(f->world->ctx, &f->addr, &cfg, &ops, f, &error);
	g_assert_no_error(error);
	f->addr = *magma_net_local(f->net);
}

void fake_stop(Fake *f)
{
	magma_net_free(f->net);
	f->net = NULL;
}

void fake_restart(Fake *f)
{
	if (f->net)
		fake_stop(f);
	f->boot++;
	g_hash_table_remove_all(f->opens);
	fake_listen(f);
}

static Fake *fake_new(World *w, guint16 id)
{
	Fake *f = g_new0(Fake, 1);

	f->world = w;
	f->id = id;
	f->boot = 1000u * id;
	f->opens = g_hash_table_new(NULL, NULL);
	g_assert_true(magma_addr_parse("127.0.0.1:0", 0, &f->addr));
	fake_listen(f);
	return f;
}

/* n slices of equal size; shift says who gets the first. */
static void set_slices(World *w, MagmaMap *map, guint shift)
{
	g_array_set_size(map->slices, 0);
	for (guint i = 0; i < w->n; i++) {
		const MagmaVolcano *v = map->volcanos->pdata[(i + shift) % w->n];
		MagmaSlice s = { .id = v->id, .range = { MAGMA_KEY_MIN, MAGMA_KEY_MAX }, .home = v->id, .owner = v->id, .epoch = 1 };
		s.range.lo.b[0] = (guint8)(256 * i / w->n);
		s.range.hi.b[0] = (guint8)(256 * (i + 1) / w->n - 1);
		magma_map_add_slice(map, &s);
	}
	g_assert_cmpstr(magma_map_seal(map), ==, NULL);
}

void world_rotate(World *w)
{
	MagmaMap *map = magma_map_copy(w->map);

	map->epoch++;
	set_slices(w, map, (guint)map->epoch - 1);
	magma_map_unref(w->map);
	w->map = map;
	/* who lost a slice forgets its opens; the heirs wait to be told */
	for (guint i = 0; i < w->flares->len; i++) {
		const MagmaFid *fid = &((Flare *)w->flares->pdata[i])->attr.fid;
		for (guint j = 0; j < w->n; j++)
			if (w->fakes[j] != world_owner(w, &fid->key))
				g_hash_table_remove(w->fakes[j]->opens, GSIZE_TO_POINTER(fid->ino));
	}
}

static World *world_new_with_psk(guint n, const guint8 *psk)
{
	World *w = g_new0(World, 1);
	guint8 network[16] = "a fake network!";

	w->ctx = g_main_context_new();
	memcpy(w->psk, psk, sizeof w->psk);
	w->n = n;
	w->done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	w->flares = g_ptr_array_new_with_free_func(flare_free);
	w->seen = g_array_new(FALSE, TRUE, sizeof(Seen));
	w->map = magma_map_new(network, 2);
	for (guint i = 0; i < n; i++) {
		Fake *f = w->fakes[i] = fake_new(w, (guint16)(i + 1));
		g_autofree char *name = g_strdup_printf("fake%u", i + 1);
		MagmaVolcano v = { .id = f->id, .state = MAGMA_ACTIVE, .name = name, .fqdn = name, .addr = f->addr, .bandwidth = 1000 };
		magma_map_add(w->map, &v);
	}
	w->map->coordinator = 1;
	set_slices(w, w->map, 0);
	MagmaKey root = magma_fid_root().key;
	w->next_ino = MAGMA_ROOT_INO;
	flare_add(w, 0, "/", 1, &root, S_IFDIR | 0755);
	return w;
}

World *world_new(guint n)
{
	guint8 psk[MAGMA_PSK_LEN] = "any key will do";

	return world_new_with_psk(n, psk);
}

World *world_new_with_secret(guint n, const char *secret)
{
	guint8 psk[MAGMA_PSK_LEN];

	g_assert_true(magma_psk_derive(secret, strlen(secret), psk));
	return world_new_with_psk(n, psk);
}

void world_free(World *w)
{
	for (guint i = 0; i < w->n; i++) {
		Fake *f = w->fakes[i];
		magma_net_free(f->net);
		g_hash_table_unref(f->opens);
		if (f->stale)
			magma_map_unref(f->stale);
		g_free(f);
	}
	magma_map_unref(w->map);
	g_ptr_array_unref(w->flares);
	g_array_unref(w->seen);
	g_hash_table_unref(w->done);
	g_main_context_unref(w->ctx);
	g_free(w);
}

MagmaClientConfig world_config(World *w, const MagmaAddr *hosts, guint n)
{
	/* the fakes do not run while a client ends: it would wait in vain */
	MagmaClientConfig cfg = { .hosts = hosts, .nhosts = n, .goodbye_timeout_ms = 5 };

	memcpy(cfg.psk, w->psk, sizeof cfg.psk);
	return cfg;
}

MagmaClient *world_client(World *w, gboolean proxy)
{
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);
	g_autoptr(GError) error = NULL;

	cfg.proxy = proxy;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, &error);
	g_assert_no_error(error);
	magma_client_start_sync(c, &error);
	g_assert_no_error(error);
	return c;
}

static gboolean set_true(gpointer flag)
{
	*(gboolean *)flag = TRUE;
	return G_SOURCE_REMOVE;
}

gboolean run_until(World *w, const gboolean *flag, guint ms)
{
	gboolean late = FALSE;
	GSource *timer = g_timeout_source_new(ms);

	g_source_set_callback(timer, set_true, &late, NULL);
	g_source_attach(timer, w->ctx);
	while (!*flag && !late)
		g_main_context_iteration(w->ctx, TRUE);
	g_source_destroy(timer);
	g_source_unref(timer);
	return *flag;
}

void run_for(World *w, guint ms)
{
	gboolean never = FALSE;

	run_until(w, &never, ms);
}
