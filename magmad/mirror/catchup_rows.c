/* A copy that is made anew gets all rows in the order of their keys, each piece as of its place in the stream, and with the flares' rows their contents. A piece says how far the ones before it
 * had come, contents too, so that an interruption costs one piece. */
#include "magmad/mirror/owner-inside.h"
#include "magmad/core/rows.h"
#include "magmad/mirror/rowlist.h"

enum { PIECE_ROWS = 4096 };

void catchup_put_progress(Copy *c, Txn *t)
{
	if (c->page_progresslen)
		txn_put(t, TAB_META, META_FILL, strlen(META_FILL), NULL, c->page_progress, c->page_progresslen);
}

void catchup_note_progress(Copy *c, guint table, const guint8 *key, gsize len)
{
	c->page_progress[0] = table;
	if (len)
		memcpy(c->page_progress + 1, key, len);
	c->page_progresslen = 1 + len;
}

static void note_content(Copy *c, const StoreRow *row)
{
	FlareRow flare;
	MagmaFid fid = { .key = row->rk };

	if (row->table != TAB_FLARE || row->klen != 8 || (flare_row_decode(row->val, row->vlen, &flare) && flare.content != CONTENT_FILE))
		return;
	fid.ino = magma_be64_load(row->key);
	catchup_todo(c, &fid);
}

/* A write intent on a flare that is still inline: a conversion was under way; its file goes along. */
static void note_intent(Copy *c, const StoreRow *row)
{
	MagmaFid fid = { .key = row->rk };

	if (row->table != TAB_DIRTY)
		return;
	fid.ino = magma_be64_load(row->key);
	catchup_todo(c, &fid);
}

static void put_rows(Copy *c, Slot *s, const StoreRow *rows, guint n)
{
	Txn *t = txn_new();

	catchup_put_progress(c, t);
	for (guint i = 0; i < n; i++) {
		if (row_is_own(&rows[i]))
			continue;
		txn_put(t, rows[i].table, rows[i].key, rows[i].klen, &rows[i].rk, rows[i].val, rows[i].vlen);
		note_content(c, &rows[i]);
		note_intent(c, &rows[i]);
	}
	if (!txn_empty(t)) {
		Item item = { .kind = ITEM_ROWS };
		g_autoptr(GBytes) bytes = g_bytes_new(txn_bytes(t)->data, txn_bytes(t)->len);
		slot_add(s, &item, bytes);
	}
	txn_free(t);
}

static void rows_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Slot *s = user;
	Copy *c = slot_redeem(s);

	if (!c)
		return;
	if (error) {
		slot_ready(s);
		copy_unread(c, error, "rows cannot be read");
		return;
	}
	put_rows(c, s, rows, n);
	if (eof || !n) {
		c->walk_table++;
		c->walk_fromlen = 0;
	} else {
		c->walk_fromlen = rows[n - 1].klen;
		memcpy(c->walk_from, rows[n - 1].key, c->walk_fromlen);
	}
	catchup_note_progress(c, c->walk_table, c->walk_from, c->walk_fromlen);
	slot_ready(s);
}

void catchup_rows(Copy *c)
{
	Slot *s = slot_new(c, 0);

	if (c->compare || c->walk_table == TAB_COUNT) {
		Item item = { .kind = ITEM_WHOLE };
		slot_add(s, &item, NULL);
		slot_ready(s);
		c->whole = TRUE;
		return;
	}
	store_scan(c->o->local, c->walk_table, c->walk_from, c->walk_fromlen, NULL, 0, PIECE_ROWS, rows_read, s);
}
