/* What the tests of the log side share: waiting calls, rows as text in one table. */
#pragma once
#include "tests/unit/store_log.h"

typedef struct {
	gboolean done;
	int error;
} LogAnswer;

void log_on_done(void *answer, int error);
void log_until(LogBed *b, const gboolean *flag);
void log_until_written(LogBed *b);
void log_sync(LogBed *b);
void log_cut(LogBed *b, guint64 index);
void log_reset(LogBed *b, guint64 epoch, guint64 index);
char *log_get(LogBed *b, const char *key);       /* NULL: absent */
/* val NULL: deletes */
Txn *log_txn(const char *key, const char *val);
guint64 log_put(LogBed *b, const char *key, const char *val);
gboolean log_append(LogBed *b, guint64 epoch, guint64 index, const char *key, const char *val);
guint64 log_fill(LogBed *b, const char *key, const char *val);
char *log_epochs(LogBed *b);                     /* "epoch:first epoch:first " */
void log_is(LogBed *b, guint64 epoch, guint64 index);

typedef struct {
	gboolean done, eof;
	int error;
	GArray *pos;                  /* StorePos */
	GPtrArray *txns;              /* GBytes */
} LogRead;

LogRead *log_read(LogBed *b, guint64 after, gsize max_bytes);
void log_read_free(LogRead *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogRead, log_read_free)

/* "2.4 2.5 eof": epoch.index of what was read; "ENODATA". */
char *log_read_text(LogBed *b, guint64 after, gsize max_bytes);

/* store_log_random.c */
void any_history_is_what_the_model_says(LogBed *b);
