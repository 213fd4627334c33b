#include "magmad/mirror/rowlist.h"
#include <openssl/evp.h>
#include <string.h>
#include "magmad/core/rows.h"

enum { ENTRY_FILE = 1 };

struct RowHasher {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
};

RowHasher *row_hasher_new(void)
{
	RowHasher *h = g_new(RowHasher, 1);

	h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	h->ctx = EVP_MD_CTX_new();
	if (!h->md || !h->ctx)
		g_error("SHA-256 is not to be had");
	return h;
}

void row_hasher_free(RowHasher *h)
{
	EVP_MD_CTX_free(h->ctx);
	EVP_MD_free(h->md);
	g_free(h);
}

static void hash_begin(RowHasher *h)
{
	if (EVP_DigestInit_ex(h->ctx, h->md, NULL) != 1)
		g_error("SHA-256 is not to be had");
}

static void hash_end(RowHasher *h, guint8 out[ITEM_DIGEST_LEN])
{
	guint len = 0;

	if (EVP_DigestFinal_ex(h->ctx, out, &len) != 1 || len != ITEM_DIGEST_LEN)
		g_error("SHA-256 is not to be had");
}

gboolean row_is_own(const StoreRow *row) { return row->table == TAB_META && row->klen >= strlen(META_OWN) && !memcmp(row->key, META_OWN, strlen(META_OWN)); }

gint rowlist_key_cmp(const guint8 *a, gsize alen, const guint8 *b, gsize blen)
{
	int c = memcmp(a, b, MIN(alen, blen));

	return c ? c : alen < blen ? -1 : alen > blen;
}

void row_place_set(RowPlace *p, const guint8 *key, gsize len)
{
	p->len = MIN(len, sizeof p->key);
	if (p->len)
		memcpy(p->key, key, p->len);
}

gboolean row_behind(const guint8 *key, gsize len, const RowPlace *to) { return to->len && rowlist_key_cmp(key, len, to->key, to->len) > 0; }

static gboolean has_file(const StoreRow *row)
{
	FlareRow flare;

	if (row->klen != 8 || (row->table != TAB_FLARE && row->table != TAB_DIRTY))
		return FALSE;
	return row->table == TAB_DIRTY || !flare_row_decode(row->val, row->vlen, &flare) || flare.content == CONTENT_FILE;
}

/* The routing keys of META and CLIENT are of no meaning. */
static void row_digest(RowHasher *h, const StoreRow *row, guint8 out[ITEM_DIGEST_LEN])
{
	const MagmaKey *rk = row->table == TAB_META || row->table == TAB_CLIENT ? NULL : &row->rk;
	guint8 head[9];

	head[0] = row->table;
	magma_be32_store(head + 1, row->klen);
	magma_be32_store(head + 5, row->vlen);
	hash_begin(h);
	EVP_DigestUpdate(h->ctx, head, sizeof head);
	EVP_DigestUpdate(h->ctx, row->key, row->klen);
	if (rk)
		EVP_DigestUpdate(h->ctx, rk->b, sizeof rk->b);
	EVP_DigestUpdate(h->ctx, row->val, row->vlen);
	hash_end(h, out);
}

void rowlist_add(GByteArray *list, RowHasher *h, const StoreRow *row)
{
	guint8 digest[ITEM_DIGEST_LEN];
	gboolean file = has_file(row);

	row_digest(h, row, digest);
	magma_put_u8(list, file ? ENTRY_FILE : 0);
	magma_put_u16(list, row->klen);
	magma_put_bytes(list, row->key, row->klen);
	if (file)
		magma_put_bytes(list, row->rk.b, sizeof row->rk.b);
	magma_put_bytes(list, digest, ROW_DIGEST_LEN);
}

gboolean rowlist_next(MagmaReader *r, RowEntry *out)
{
	const guint8 *p;

	if (!r->left || r->error)
		return FALSE;
	*out = (RowEntry){ .file = magma_get_u8(r) & ENTRY_FILE };
	out->klen = magma_get_u16(r);
	if (!out->klen || out->klen > STORE_KEY_MAX)
		r->error = TRUE;
	out->key = r->error ? NULL : magma_get_bytes(r, out->klen);
	if (out->file && (p = magma_get_bytes(r, sizeof out->rk.b)))
		memcpy(out->rk.b, p, sizeof out->rk.b);
	if ((p = magma_get_bytes(r, ROW_DIGEST_LEN)))
		memcpy(out->digest, p, ROW_DIGEST_LEN);
	return !r->error;
}

void rowlist_digest(RowHasher *h, const GByteArray *list, guint8 out[ITEM_DIGEST_LEN])
{
	MagmaReader r = magma_reader(list->data, list->len);
	RowEntry e;

	hash_begin(h);
	while (rowlist_next(&r, &e))
		EVP_DigestUpdate(h->ctx, e.digest, ROW_DIGEST_LEN);
	hash_end(h, out);
}

/* The next entry that is not behind upto; FALSE: none. */
static gboolean next_upto(MagmaReader *r, const RowPlace *upto, RowEntry *e, gboolean *ok)
{
	guint8 last[STORE_KEY_MAX];
	gsize len = e->klen;

	if (len)
		memcpy(last, e->key, len);
	if (!rowlist_next(r, e)) {
		*ok = *ok && !r->error;
		return FALSE;
	}
	if (len && rowlist_key_cmp(last, len, e->key, e->klen) >= 0)
		*ok = FALSE;
	return *ok && !row_behind(e->key, e->klen, upto);
}

guint rowlist_diff(const GByteArray *mine, MagmaBytes its, const RowPlace *upto, void (*fn)(void *, guint, const RowEntry *, const RowEntry *), void *user, gboolean *ok)
{
	MagmaReader mr = magma_reader(mine->data, mine->len), ir = magma_reader(its.data, its.len);
	RowEntry m = { .klen = 0 }, i = { .klen = 0 };
	guint n = 0;

	*ok = TRUE;
	gboolean have_m = next_upto(&mr, upto, &m, ok), have_i = next_upto(&ir, upto, &i, ok);
	while (*ok && (have_m || have_i)) {
		int c = !have_i ? -1 : !have_m ? 1 : rowlist_key_cmp(m.key, m.klen, i.key, i.klen);
		if (c < 0)
			fn(user, n, &m, NULL);
		else if (c > 0)
			fn(user, n, NULL, &i);
		else if (memcmp(m.digest, i.digest, ROW_DIGEST_LEN))
			fn(user, n, &m, &i);
		if (c <= 0) {
			n++;
			have_m = next_upto(&mr, upto, &m, ok);
		}
		if (c >= 0)
			have_i = next_upto(&ir, upto, &i, ok);
	}
	return n;
}
