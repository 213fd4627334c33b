#include "libmagma/lava/map.h"
#include <string.h>

#define MAP_FORMAT 1
#define NAME_MAX_BYTES 63
#define FQDN_MAX_BYTES 255
#define PORT_MAX (G_MAXUINT16 - 2)      /* node port and console come behind it */

static void volcano_free(gpointer p)
{
	MagmaVolcano *v = p;

	g_free(v->name);
	g_free(v->fqdn);
	g_free(v);
}

static MagmaVolcano *volcano_at(const MagmaMap *m, guint i)
{
	return g_ptr_array_index(m->volcanos, i);
}

static MagmaVolcano *ring_at(const MagmaMap *m, guint i)
{
	return volcano_at(m, g_array_index(m->ring, guint, i));
}

MagmaMap *magma_map_new(const guint8 network[16], guint16 copies_wanted)
{
	MagmaMap *m = g_new0(MagmaMap, 1);

	m->refs = 1;
	m->epoch = 1;
	memcpy(m->network, network, sizeof m->network);
	m->copies_wanted = copies_wanted;
	m->copies_kept = 1;
	m->next_id = 1;
	m->volcanos = g_ptr_array_new_with_free_func(volcano_free);
	m->ring = g_array_new(FALSE, FALSE, sizeof(guint));
	return m;
}

MagmaMap *magma_map_ref(MagmaMap *m)
{
	g_atomic_int_inc(&m->refs);
	return m;
}

void magma_map_unref(MagmaMap *m)
{
	if (!m || !g_atomic_int_dec_and_test(&m->refs))
		return;
	g_ptr_array_unref(m->volcanos);
	g_array_unref(m->ring);
	g_free(m);
}

MagmaMap *magma_map_copy(const MagmaMap *m)
{
	MagmaMap *c = magma_map_new(m->network, m->copies_wanted);

	for (guint i = 0; i < m->volcanos->len; i++)
		magma_map_add(c, volcano_at(m, i));
	if (m->ring->len)
		g_array_append_vals(c->ring, m->ring->data, m->ring->len);
	c->epoch = m->epoch;
	c->copies_kept = m->copies_kept;
	c->coordinator = m->coordinator;
	c->next_id = m->next_id;
	c->move = m->move;
	return c;
}

/* The first volcano with an id of at least id; volcanos are in the order of their ids. */
static guint lower_bound(const MagmaMap *m, guint id)
{
	guint lo = 0, hi = m->volcanos->len;

	while (lo < hi) {
		guint mid = lo + (hi - lo) / 2;
		if (volcano_at(m, mid)->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

MagmaVolcano *magma_map_add(MagmaMap *m, const MagmaVolcano *v)
{
	MagmaVolcano *n = g_new(MagmaVolcano, 1);

	*n = *v;
	n->name = g_strdup(v->name);
	n->fqdn = g_strdup(v->fqdn);
	g_ptr_array_insert(m->volcanos, (gint)lower_bound(m, v->id + 1u), n);
	if (v->id >= m->next_id && v->id < G_MAXUINT16)
		m->next_id = v->id + 1;
	return n;
}

static int by_id(gconstpointer a, gconstpointer b)
{
	const MagmaVolcano *x = *(MagmaVolcano *const *)a, *y = *(MagmaVolcano *const *)b;
	return (int)x->id - (int)y->id;
}

static int by_slice(gconstpointer a, gconstpointer b, gpointer user)
{
	const MagmaMap *m = user;
	return magma_key_cmp(&volcano_at(m, *(const guint *)a)->slice.lo, &volcano_at(m, *(const guint *)b)->slice.lo);
}

static gboolean name_is_valid(const char *s)
{
	gsize n = s ? strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") : 0;
	return n >= 1 && n <= NAME_MAX_BYTES && s[n] == '\0';
}

static gboolean fqdn_is_valid(const char *s)
{
	gsize n = 0;

	while (s && g_ascii_isgraph(s[n]))
		n++;
	return n >= 1 && n <= FQDN_MAX_BYTES && s[n] == '\0';
}

static const char *check_volcano(const MagmaVolcano *v)
{
	if (v->id == 0)
		return "a volcano has the number 0";
	if (v->state != MAGMA_JOINING && v->state != MAGMA_ACTIVE)
		return "a volcano has an unknown state";
	if (!name_is_valid(v->name))
		return "a volcano's name is not 1 to 63 letters, digits, '.', '_' or '-'";
	if (!fqdn_is_valid(v->fqdn))
		return "a volcano's fully qualified name is not 1 to 255 printable characters";
	if ((v->addr.family != 4 && v->addr.family != 6) || v->addr.port == 0 || v->addr.port > PORT_MAX)
		return "a volcano's address is not one";
	return NULL;
}

static const char *check_volcanos(const MagmaMap *m)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) fqdns = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) addrs = g_hash_table_new(magma_addr_hash, (GEqualFunc)magma_addr_equal);

	if (m->volcanos->len > MAGMA_VOLCANOS_MAX)
		return "too many volcanos";
	for (guint i = 0; i < m->volcanos->len; i++) {
		MagmaVolcano *v = volcano_at(m, i);
		const char *broken = check_volcano(v);
		if (broken)
			return broken;
		if (i && volcano_at(m, i - 1)->id == v->id)
			return "two volcanos have the same number";
		if (v->id >= m->next_id)
			return "a volcano's number is not below the next one to give out";
		if (!g_hash_table_add(names, v->name))
			return "two volcanos have the same name";
		if (!g_hash_table_add(fqdns, v->fqdn))
			return "two volcanos have the same fully qualified name";
		if (!g_hash_table_add(addrs, &v->addr))
			return "two volcanos have the same address";
	}
	if (m->coordinator && !magma_map_by_id(m, m->coordinator))
		return "the coordinator is not among the volcanos";
	return NULL;
}

static const char *check_ring(const MagmaMap *m)
{
	MagmaKey want = MAGMA_KEY_MIN;
	gboolean more = TRUE;   /* keys from want on are still without an owner */

	for (guint i = 0; i < m->ring->len; i++) {
		const MagmaRange *s = &ring_at(m, i)->slice;
		if (magma_key_cmp(&s->lo, &s->hi) > 0)
			return "a slice ends before it begins";
		if (!more || magma_key_cmp(&s->lo, &want) < 0)
			return "two slices overlap";
		if (!magma_key_equal(&s->lo, &want))
			return "there is a gap between two slices";
		more = magma_key_next(&s->hi, &want);
	}
	return m->ring->len && more ? "the last slice does not reach the end of the keyspace" : NULL;
}

static const char *check_move(const MagmaMap *m)
{
	const MagmaVolcano *from = magma_map_by_id(m, m->move.from), *to = magma_map_by_id(m, m->move.to);

	if (m->move.id == 0)
		return NULL;
	if (!from || !to || from == to)
		return "a move is not between two volcanos of the map";
	if (from->state != MAGMA_ACTIVE || magma_key_cmp(&m->move.range.lo, &m->move.range.hi) > 0
		|| !magma_range_has(&from->slice, &m->move.range.lo) || !magma_range_has(&from->slice, &m->move.range.hi))
		return "a move is not of a part of its source's slice";
	return NULL;
}

const char *magma_map_seal(MagmaMap *m)
{
	const char *broken;

	g_ptr_array_sort(m->volcanos, by_id);
	g_array_set_size(m->ring, 0);
	for (guint i = 0; i < m->volcanos->len; i++)
		if (volcano_at(m, i)->state == MAGMA_ACTIVE)
			g_array_append_val(m->ring, i);
	g_array_sort_with_data(m->ring, by_slice, m);
	if ((broken = check_volcanos(m)) || (broken = check_ring(m)))
		return broken;
	return check_move(m);
}

/* Where in the ring the slice with key is; the ring is not empty. */
static guint ring_find(const MagmaMap *m, const MagmaKey *key)
{
	guint lo = 0, hi = m->ring->len;        /* the slice is in [lo, hi) */

	while (hi - lo > 1) {
		guint mid = lo + (hi - lo) / 2;
		if (magma_key_cmp(&ring_at(m, mid)->slice.lo, key) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

const MagmaVolcano *magma_map_route(const MagmaMap *m, const MagmaKey *key)
{
	return m->ring->len ? ring_at(m, ring_find(m, key)) : NULL;
}

const MagmaVolcano *magma_map_by_id(const MagmaMap *m, guint16 id)
{
	guint i = lower_bound(m, id);
	return i < m->volcanos->len && volcano_at(m, i)->id == id ? volcano_at(m, i) : NULL;
}

const MagmaVolcano *magma_map_by_name(const MagmaMap *m, const char *name)
{
	for (guint i = 0; i < m->volcanos->len; i++)
		if (strcmp(volcano_at(m, i)->name, name) == 0)
			return volcano_at(m, i);
	return NULL;
}

const MagmaVolcano *magma_map_after(const MagmaMap *m, const MagmaVolcano *v)
{
	if (v->state != MAGMA_ACTIVE || m->ring->len == 0)
		return v;
	return ring_at(m, (ring_find(m, &v->slice.lo) + 1) % m->ring->len);
}

static void put_text(GByteArray *out, const char *s)
{
	gsize n = strlen(s);

	g_assert(n <= G_MAXUINT8);
	magma_put_u8(out, (guint8)n);
	magma_put_bytes(out, s, n);
}

/* A new string; "" (which no rule lets pass) for an error or a NUL inside. */
static char *get_text(MagmaReader *r)
{
	gsize n = magma_get_u8(r);
	const guint8 *p = magma_get_bytes(r, n);

	if (!p || memchr(p, '\0', n))
		return g_strdup("");
	return g_strndup((const char *)p, n);
}

static void put_range(GByteArray *out, const MagmaRange *r)
{
	magma_put_key(out, &r->lo);
	magma_put_key(out, &r->hi);
}

static MagmaRange get_range(MagmaReader *r)
{
	MagmaRange g;

	g.lo = magma_get_key(r);
	g.hi = magma_get_key(r);
	return g;
}

static void put_volcano(GByteArray *out, const MagmaVolcano *v)
{
	magma_put_u16(out, v->id);
	magma_put_u8(out, (guint8)v->state);
	put_text(out, v->name);
	put_text(out, v->fqdn);
	magma_put_addr(out, &v->addr);
	if (v->state == MAGMA_ACTIVE)
		put_range(out, &v->slice);
	magma_put_u32(out, v->bandwidth);
	magma_put_u64(out, v->offered);
}

static void get_volcano(MagmaReader *r, MagmaMap *m)
{
	MagmaVolcano *v = g_new0(MagmaVolcano, 1);

	v->id = magma_get_u16(r);
	if (m->volcanos->len && v->id <= volcano_at(m, m->volcanos->len - 1)->id)
		r->error = TRUE;        /* in order, so that a map has one encoding */
	v->state = magma_get_u8(r);
	v->name = get_text(r);
	v->fqdn = get_text(r);
	magma_get_addr(r, &v->addr);
	if (v->state == MAGMA_ACTIVE)
		v->slice = get_range(r);
	v->bandwidth = magma_get_u32(r);
	v->offered = magma_get_u64(r);
	g_ptr_array_add(m->volcanos, v);
}

void magma_map_encode(const MagmaMap *m, GByteArray *out)
{
	magma_put_u8(out, MAP_FORMAT);
	magma_put_u64(out, m->epoch);
	magma_put_bytes(out, m->network, sizeof m->network);
	magma_put_u16(out, m->copies_wanted);
	magma_put_u16(out, m->copies_kept);
	magma_put_u16(out, m->coordinator);
	magma_put_u16(out, m->next_id);
	magma_put_u64(out, m->move.id);
	if (m->move.id) {
		magma_put_u16(out, m->move.from);
		magma_put_u16(out, m->move.to);
		put_range(out, &m->move.range);
	}
	magma_put_u16(out, (guint16)m->volcanos->len);
	for (guint i = 0; i < m->volcanos->len; i++)
		put_volcano(out, volcano_at(m, i));
}

MagmaMap *magma_map_decode(const guint8 *p, gsize n)
{
	MagmaReader r = magma_reader(p, n);
	guint8 format = magma_get_u8(&r);
	guint64 epoch = magma_get_u64(&r);
	const guint8 *network = magma_get_bytes(&r, 16);
	guint16 copies_wanted = magma_get_u16(&r);
	guint count;

	if (r.error || format != MAP_FORMAT)
		return NULL;
	g_autoptr(MagmaMap) m = magma_map_new(network, copies_wanted);
	m->epoch = epoch;
	m->copies_kept = magma_get_u16(&r);
	m->coordinator = magma_get_u16(&r);
	m->next_id = magma_get_u16(&r);
	m->move.id = magma_get_u64(&r);
	if (m->move.id) {
		m->move.from = magma_get_u16(&r);
		m->move.to = magma_get_u16(&r);
		m->move.range = get_range(&r);
	}
	count = magma_get_u16(&r);
	if (count > MAGMA_VOLCANOS_MAX)
		return NULL;
	for (guint i = 0; i < count && !r.error; i++)
		get_volcano(&r, m);
	if (r.error || r.left || magma_map_seal(m))
		return NULL;
	return g_steal_pointer(&m);
}
