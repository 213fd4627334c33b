/* Random histories of a store's log against a model that is a list of what was done. */
#include "tests/unit/store_log_inside.h"
#include <errno.h>
#include <string.h>

enum { KEYS = 24, STEPS = 500, KEY_LEN = 8 };

typedef struct {
	StorePos pos;
	guint64 fill;                 /* its number since the store was opened; 0: a frame */
	char key[KEY_LEN];
	char *val;                    /* NULL: deleted */
} Item;

typedef struct {
	LogBed *b;
	GRand *rnd;
	GPtrArray *items;             /* all since the beginning, or the last reset */
	StorePos start;
	guint64 epoch, limit;
	guint64 acked;                /* the highest ever seen: what may have gone behind the journal */
	guint64 fill_floor;           /* ENODATA may be answered below it: a cut fill may still be remembered */
	guint64 kept;                 /* what is behind it must be readable; G_MAXUINT64: only what is not acknowledged */
} Model;

static guint pick(Model *m, guint n) { return g_rand_int_range(m->rnd, 0, n); }

static void item_free(gpointer p)
{
	g_free(((Item *)p)->val);
	g_free(p);
}

static Item *item_at(Model *m, guint i) { return m->items->pdata[i]; }

static StorePos model_pos(Model *m) { return m->items->len ? item_at(m, m->items->len - 1)->pos : m->start; }

static void add(Model *m, StorePos pos, guint64 fill, const char *key, const char *val)
{
	Item *it = g_new0(Item, 1);

	*it = (Item){ .pos = pos, .fill = fill, .val = g_strdup(val) };
	g_strlcpy(it->key, key, sizeof it->key);
	g_ptr_array_add(m->items, it);
}

static void random_row(Model *m, char *key, char **val)
{
	g_snprintf(key, KEY_LEN, "k%u", pick(m, KEYS));
	*val = NULL;
	if (pick(m, 5)) {
		g_autofree char *pad = g_strnfill(pick(m, 12) ? pick(m, 20) : pick(m, 60000), 'x');
		*val = g_strdup_printf("%u%s", g_rand_int(m->rnd), pad);
	}
}

/* --- what is compared --- */

/* The values of all keys behind the first n items. */
static void model_rows(Model *m, guint n, const char *rows[KEYS])
{
	memset(rows, 0, KEYS * sizeof *rows);
	for (guint i = 0; i < n; i++)
		rows[g_ascii_strtoull(item_at(m, i)->key + 1, NULL, 10)] = item_at(m, i)->val;
}

static gboolean rows_match(Model *m, guint n, char *const got[KEYS])
{
	const char *rows[KEYS];

	model_rows(m, n, rows);
	for (guint i = 0; i < KEYS; i++)
		if (g_strcmp0(rows[i], got[i]))
			return FALSE;
	return TRUE;
}

static void get_rows(Model *m, char *got[KEYS])
{
	for (guint i = 0; i < KEYS; i++) {
		char key[KEY_LEN];
		g_snprintf(key, sizeof key, "k%u", i);
		got[i] = log_get(m->b, key);
	}
}

static void free_rows(char *got[KEYS])
{
	for (guint i = 0; i < KEYS; i++)
		g_free(got[i]);
}

static void check_rows(Model *m)
{
	char *got[KEYS];

	get_rows(m, got);
	g_assert_true(rows_match(m, m->items->len, got));
	free_rows(got);
}

static void check_epochs(Model *m)
{
	g_autoptr(GString) want = g_string_new(NULL);
	guint64 last = m->start.epoch;

	if (m->start.index)
		g_string_append_printf(want, "%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT " ", m->start.epoch, m->start.index);
	for (guint i = 0; i < m->items->len; i++) {
		const Item *it = item_at(m, i);
		if (!it->fill && (it->pos.epoch > last || (!m->start.index && want->len == 0)))
			g_string_append_printf(want, "%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT " ", it->pos.epoch, it->pos.index);
		if (!it->fill)
			last = it->pos.epoch;
	}
	g_autofree char *got = log_epochs(m->b);
	g_assert_cmpstr(got, ==, want->str);
}

static void check_counts(Model *m)
{
	Store *s = m->b->s;
	StorePos want = model_pos(m), is = s->log->position(s);

	g_assert_cmpuint(is.epoch, ==, want.epoch);
	g_assert_cmpuint(is.index, ==, want.index);
	g_assert_cmpuint(s->log->written(s), <=, want.index);
	g_assert_cmpuint(s->log->durable(s), <=, s->log->written(s));
	m->acked = MAX(m->acked, store_acked(s));
}

/* --- what is done --- */

static void do_commit(Model *m)
{
	Txn *t = txn_new();
	StorePos at = model_pos(m);
	char key[KEY_LEN];
	g_autofree char *val = NULL;

	random_row(m, key, &val);
	at.index++;
	at.epoch = MAX(at.epoch, m->epoch);
	txn_free(t);
	g_assert_cmpuint(log_put(m->b, key, val), ==, at.index);
	add(m, at, 0, key, val);
}

static void do_append(Model *m)
{
	StorePos at = model_pos(m);
	char key[KEY_LEN];
	g_autofree char *val = NULL;

	random_row(m, key, &val);
	if (!pick(m, 4)) {
		g_assert_false(log_append(m->b, at.epoch, at.index + 2, key, val));
		g_assert_false(log_append(m->b, at.epoch, at.index, key, val));
		g_assert_true(!at.epoch || !log_append(m->b, at.epoch - 1, at.index + 1, key, val));
		return;
	}
	at.index++;
	at.epoch += pick(m, 3) ? 0 : pick(m, 3);
	g_assert_true(log_append(m->b, at.epoch, at.index, key, val));
	add(m, at, 0, key, val);
}

static void do_fill(Model *m)
{
	char key[KEY_LEN];
	g_autofree char *val = NULL;

	random_row(m, key, &val);
	guint64 n = log_fill(m->b, key, val);
	g_assert_cmpuint(n, >, m->b->s->log->filled(m->b->s));
	add(m, model_pos(m), n, key, val);
	m->fill_floor = model_pos(m).index;
}

static void do_limit(Model *m)
{
	Store *s = m->b->s;
	guint64 before = store_acked(s), limit = m->start.index + pick(m, model_pos(m).index - m->start.index + 10);

	s->log->set_limit(s, limit);
	m->limit = limit;
	g_assert_cmpuint(store_acked(s), ==, MAX(before, MIN(limit, s->log->written(s))));
}

static void do_cut(Model *m)
{
	Store *s = m->b->s;
	guint64 from = store_acked(s), to = from + pick(m, model_pos(m).index - from + 1);

	log_cut(m->b, to);
	while (m->items->len && item_at(m, m->items->len - 1)->pos.index > to)
		g_ptr_array_set_size(m->items, m->items->len - 1);
	m->fill_floor = MIN(m->fill_floor, to);
	m->acked = MIN(m->acked, to);
	g_assert_cmpuint(s->log->written(s), <=, to);
	check_rows(m);
	check_epochs(m);
}

static void do_reset(Model *m)
{
	StorePos pos = { 0 };

	if (pick(m, 4))
		pos = (StorePos){ 1 + pick(m, 100), 1 + pick(m, 100000) };
	log_reset(m->b, pos.epoch, pos.index);
	g_ptr_array_set_size(m->items, 0);
	m->start = pos;
	m->acked = m->fill_floor = pos.index;
	m->epoch = MAX(m->epoch, pos.epoch);
	m->kept = G_MAXUINT64;         /* what was to be kept was of another log */
	check_rows(m);
	check_epochs(m);
	m->b->s->log->set_epoch(m->b->s, m->epoch);
}

static void do_keep(Model *m)
{
	guint64 after = m->kept;

	switch (pick(m, 4)) {
	case 0:
		m->b->s->log->keep(m->b->s, model_pos(m).index, 0);
		m->kept = G_MAXUINT64;
		break;
	case 1:
		m->b->s->log->keep(m->b->s, m->start.index, 20000);            /* may be too little */
		m->kept = G_MAXUINT64;
		break;
	default:
		after = MIN(after, m->acked);
		after += pick(m, model_pos(m).index - after + 1);
		m->b->s->log->keep(m->b->s, after, G_MAXUINT64);
		m->kept = after;
	}
}

/* The first frame behind index, as a number of an item; items->len: none. */
static guint first_behind(Model *m, guint64 index)
{
	guint i = 0;

	while (i < m->items->len && (item_at(m, i)->fill || item_at(m, i)->pos.index <= index))
		i++;
	return i;
}

static guint64 newest_fill(Model *m)
{
	for (guint i = m->items->len; i; i--)
		if (item_at(m, i - 1)->fill)
			return item_at(m, i - 1)->pos.index;
	return m->start.index;
}

static void do_read(Model *m)
{
	guint64 after = m->start.index + pick(m, model_pos(m).index - m->start.index + 3);
	gboolean filled_behind = after < newest_fill(m);
	g_autoptr(LogRead) r = log_read(m->b, after, pick(m, 2) ? pick(m, 5000) : G_MAXSIZE);
	guint64 written = m->b->s->log->written(m->b->s);

	if (r->error) {
		g_assert_cmpint(r->error, ==, ENODATA);
		m->acked = MAX(m->acked, store_acked(m->b->s));
		guint64 behind = m->kept == G_MAXUINT64 ? m->acked : MIN(m->kept, m->acked);
		g_assert_cmpuint(after, <, MAX(behind, m->fill_floor));
		return;
	}
	g_assert_false(filled_behind);
	guint at = first_behind(m, after);
	for (guint i = 0; i < r->pos->len; i++, at++) {
		const StorePos *p = &g_array_index(r->pos, StorePos, i);
		g_assert_cmpuint(at, <, m->items->len);
		const Item *it = item_at(m, at);
		g_assert_cmpuint(p->index, ==, it->pos.index);
		g_assert_cmpuint(p->epoch, ==, it->pos.epoch);
		Txn *t = log_txn(it->key, it->val);
		g_autoptr(GBytes) want = g_bytes_new(txn_bytes(t)->data, txn_bytes(t)->len);
		txn_free(t);
		g_assert_true(g_bytes_equal(want, r->txns->pdata[i]));
	}
	guint64 last = r->pos->len ? g_array_index(r->pos, StorePos, r->pos->len - 1).index : after;
	g_assert_true(r->pos->len || r->eof);
	g_assert_cmpuint(r->pos->len ? last : 0, <=, written);
	if (r->eof && after < written)
		g_assert_cmpuint(last, >, after);
}

/* --- deaths --- */

/* Everything up to the first n items is surely there; more may be, in order. */
static void is_back(Model *m, guint sure)
{
	StorePos is = m->b->s->log->position(m->b->s);
	char *got[KEYS];
	guint n;

	get_rows(m, got);
	for (n = sure; n <= m->items->len; n++) {
		guint64 index = n ? item_at(m, n - 1)->pos.index : m->start.index;
		if (index == is.index && rows_match(m, n, got))
			break;
	}
	free_rows(got);
	g_test_message("back at %" G_GUINT64_FORMAT ", %u of %u, %u sure", is.index, n, m->items->len, sure);
	g_assert_cmpuint(n, <=, m->items->len);
	g_ptr_array_set_size(m->items, n);
	for (guint i = 0; i < n; i++)
		if (item_at(m, i)->fill)
			item_at(m, i)->fill = G_MAXUINT64;     /* of an earlier life */
	m->epoch = model_pos(m).epoch;
	m->kept = m->limit = G_MAXUINT64;
	m->acked = MIN(m->acked, is.index);
	if (pick(m, 3)) {
		guint64 limit = m->start.index + pick(m, is.index - m->start.index + 1);
		m->b->s->log->set_limit(m->b->s, limit);
		m->limit = limit;
		g_assert_cmpuint(store_acked(m->b->s), >=, MIN(limit, is.index));
		g_assert_cmpuint(store_acked(m->b->s), <=, MAX(limit, m->acked));
	} else {
		m->b->s->log->set_limit(m->b->s, G_MAXUINT64);
		g_assert_cmpuint(store_acked(m->b->s), ==, is.index);
	}
	check_counts(m);
	check_epochs(m);
}

/* fills: how many of this life's behind index count; -1: not even those of an earlier life. */
static guint items_up_to(Model *m, guint64 index, gint64 fills)
{
	guint n = m->items->len;

	for (; n; n--) {
		const Item *it = item_at(m, n - 1);
		if (it->pos.index < index || (it->pos.index == index && (!it->fill || (it->fill == G_MAXUINT64 ? fills >= 0 : (gint64)it->fill <= fills))))
			break;
	}
	return n;
}

static void do_death(Model *m)
{
	Store *s = m->b->s;
	guint sure = items_up_to(m, s->log->written(s), s->log->filled(s));

	switch (pick(m, 4)) {
	case 0:
		m->b->vt->again(m->b);           /* what was written by then is acknowledged where the others have it */
		m->acked = MAX(m->acked, MIN(m->limit, model_pos(m).index));
		sure = m->items->len;
		break;
	case 1:
		if (m->b->vt->power) {
			sure = items_up_to(m, s->log->durable(s), -1);
			m->b->vt->power(m->b);
			break;
		}
		/* fall through */
	default:
		m->b->vt->kill(m->b);
	}
	is_back(m, sure);
}

static void one_step(Model *m)
{
	switch (pick(m, 24)) {
	case 0:
		do_limit(m);
		break;
	case 1:
		log_sync(m->b);
		break;
	case 2:
		if (pick(m, 2))
			do_cut(m);
		break;
	case 3:
		if (!pick(m, 6))
			do_reset(m);
		break;
	case 4:
	case 5:
		do_fill(m);
		break;
	case 6:
		do_keep(m);
		break;
	case 7:
	case 8:
		do_read(m);
		break;
	case 9:
		if (!pick(m, 2))
			do_death(m);
		break;
	case 10:
		m->epoch = model_pos(m).epoch + pick(m, 3);
		m->b->s->log->set_epoch(m->b->s, m->epoch);
		break;
	case 11:
		m->b->vt->push(m->b);
		break;
	case 12:
		check_rows(m);
		break;
	case 13:
	case 14:
	case 15:
		m->b->vt->step(m->b);
		break;
	case 16:
	case 17:
	case 18:
		do_append(m);
		break;
	default:
		do_commit(m);
	}
	check_counts(m);
}

void any_history_is_what_the_model_says(LogBed *b)
{
	Model m = { .b = b, .rnd = g_rand_new_with_seed(b->seed), .items = g_ptr_array_new_with_free_func(item_free), .kept = G_MAXUINT64, .limit = G_MAXUINT64 };

	b->s->log->set_limit(b->s, G_MAXUINT64);
	for (guint i = 0; i < STEPS; i++)
		one_step(&m);
	check_rows(&m);
	g_ptr_array_unref(m.items);
	g_rand_free(m.rnd);
}
