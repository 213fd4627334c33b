/* A copy tells which rows it has of a range of keys, and which contents. Beside the stream: it is asked only while what stands in the stream does not matter to the answer (catchup_compare.c). */
#include "magmad/mirror/replica-inside.h"
#include "magmad/mirror/rowlist.h"

#define LIST_MAX (512u << 10)         /* an answer; with one more row below MAGMA_DATA_MAX */
enum { SCAN_ROWS = 512, FIDS_ENOUGH = 1024 };

typedef struct {
	Replica *r;
	Answer answer;
	guint64 stream;
	RowRange range;
	RowPlace upto;                /* the answer ends here; len 0: it is whole */
	guint32 expect, have;
	gboolean compare;
	guint8 digest[ITEM_DIGEST_LEN];
	RowHasher *hasher;
	GByteArray *list;
} Ask;

static void ask_answer(Ask *a)
{
	guint8 digest[ITEM_DIGEST_LEN];

	rowlist_digest(a->hasher, a->list, digest);
	gboolean same = a->compare && !a->upto.len && a->have == a->expect && !memcmp(digest, a->digest, sizeof digest);
	MagmaAny rep = { .rep_mirror_rows = { .epoch = a->r->epoch, .same = same, .upto = MAGMA_BYTES(a->upto.key, a->upto.len), .list = { NULL, same ? 0 : a->list->len } } };
	g_autoptr(GBytes) body = g_bytes_new(a->list->data, same ? 0 : a->list->len);
	a->answer.fn(a->answer.user, 0, &rep, body);
}

static void ask_end(Ask *a, int error)
{
	Replica *r = a->r;

	r->running--;
	if (r->dead)
		a->answer.fn(a->answer.user, ECANCELED, NULL, NULL);
	else if (error || a->stream != r->stream)
		replica_answer(&a->answer, r, error ? error : ENOTCONN, NULL);
	else
		ask_answer(a);
	row_hasher_free(a->hasher);
	g_byte_array_unref(a->list);
	g_free(a);
	if (!r->dead)
		replica_go_on(r);
	replica_unref(r);
}

static void ask_scan(Ask *a);

static void rows_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Ask *a = user;

	if (n && !error)
		row_place_set(&a->range.from, rows[n - 1].key, rows[n - 1].klen);
	for (guint i = 0; i < n && !error; i++) {
		if (row_behind(rows[i].key, rows[i].klen, &a->range.to)) {
			eof = TRUE;
			break;
		}
		if (row_is_own(&rows[i]))
			continue;
		rowlist_add(a->list, a->hasher, &rows[i]);
		a->have++;
		if (a->list->len >= LIST_MAX) {
			row_place_set(&a->upto, rows[i].key, rows[i].klen);
			eof = TRUE;
			break;
		}
	}
	if (error || eof || !n || a->r->dead || a->stream != a->r->stream)
		ask_end(a, error);
	else
		ask_scan(a);
}

static void ask_scan(Ask *a) { store_scan(a->r->local, a->range.table, a->range.from.key, a->range.from.len, NULL, 0, SCAN_ROWS, rows_read, a); }

void rows_request(Replica *r, const struct magma_req_mirror_rows *q, const Answer *answer)
{
	if (r->state != STARTED || r->broken) {
		replica_answer(answer, r, r->broken ? r->broken : ENOTCONN, NULL);
		return;
	}
	if (q->table < TAB_META || q->table >= TAB_COUNT || q->from.len > STORE_KEY_MAX || q->to.len > STORE_KEY_MAX || (q->digest.len && q->digest.len != ITEM_DIGEST_LEN)) {
		replica_answer(answer, r, EPROTO, NULL);
		return;
	}
	Ask *a = g_new0(Ask, 1);
	a->r = replica_ref(r);
	a->answer = *answer;
	a->stream = r->stream;
	a->range.table = q->table;
	row_place_set(&a->range.from, q->from.data, q->from.len);
	row_place_set(&a->range.to, q->to.data, q->to.len);
	a->expect = q->rows;
	a->compare = q->digest.len != 0;
	if (a->compare)
		memcpy(a->digest, q->digest.data, q->digest.len);
	a->hasher = row_hasher_new();
	a->list = g_byte_array_new();
	r->running++;
	ask_scan(a);
}

/* --- contents --- */

typedef struct {
	Replica *r;
	Answer answer;
	guint64 stream;
	guint32 folder;
	guint n;
	GByteArray *fids;
} List;

static void list_end(List *l, int error)
{
	Replica *r = l->r;

	r->running--;
	if (r->dead) {
		l->answer.fn(l->answer.user, ECANCELED, NULL, NULL);
	} else if (error || l->stream != r->stream) {
		replica_answer(&l->answer, r, error ? error : ENOTCONN, NULL);
	} else {
		MagmaAny rep = { .rep_mirror_contents = { .epoch = r->epoch, .next = l->folder, .fids = { NULL, l->fids->len } } };
		g_autoptr(GBytes) body = g_bytes_new(l->fids->data, l->fids->len);
		l->answer.fn(l->answer.user, 0, &rep, body);
	}
	g_byte_array_unref(l->fids);
	g_free(l);
	if (!r->dead)
		replica_go_on(r);
	replica_unref(r);
}

static void contents_listed(void *user, int error, const MagmaFid *fids, guint n, guint next)
{
	List *l = user;

	for (guint i = 0; i < n && l->fids->len < LIST_MAX; i++)
		magma_put_fid(l->fids, &fids[i]);
	l->n += n;
	l->folder = next;
	if (error || next >= STORE_FOLDERS || l->n >= FIDS_ENOUGH || l->r->dead || l->stream != l->r->stream)
		list_end(l, error);
	else
		store_content_list(l->r->local, next, contents_listed, l);
}

void contents_request(Replica *r, const struct magma_req_mirror_contents *q, const Answer *answer)
{
	if (r->state != STARTED || r->broken || q->folder >= STORE_FOLDERS) {
		replica_answer(answer, r, r->broken ? r->broken : q->folder >= STORE_FOLDERS ? EPROTO : ENOTCONN, NULL);
		return;
	}
	List *l = g_new0(List, 1);
	*l = (List){ replica_ref(r), *answer, r->stream, q->folder, 0, g_byte_array_new() };
	r->running++;
	store_content_list(r->local, q->folder, contents_listed, l);
}
