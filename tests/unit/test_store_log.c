/* The disk store as one of several copies: the promises of the log side (store_log.c), and what only a disk can show. */
#include "tests/unit/store_kit.h"
#include "tests/unit/store_log.h"
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

typedef struct {
	LogBed base;                  /* first */
	char *dir;
} DiskBed;

static const LogBedVt disk_bed;

static void bed_open(DiskBed *b) { b->base.s = kit_open(b->dir, 1 << 20); }

static LogBed *bed_new(guint32 seed)
{
	DiskBed *b = g_new0(DiskBed, 1);

	b->base.vt = &disk_bed;
	b->dir = kit_dir();
	bed_open(b);
	return &b->base;
}

static void bed_free(LogBed *bed)
{
	diskstore_close(bed->s);
	kit_remove(((DiskBed *)bed)->dir);
	g_free(bed);
}

/* Its turn is in its prepare, so an iteration that has nothing else must not sleep. */
static void bed_step(LogBed *bed)
{
	diskstore_flush(bed->s);
	if (!g_main_context_iteration(NULL, FALSE))
		g_usleep(100);
}

static void bed_kill(LogBed *bed)
{
	diskstore_abandon(bed->s);
	bed_open((DiskBed *)bed);
}

static void bed_again(LogBed *bed)
{
	diskstore_close(bed->s);
	bed_open((DiskBed *)bed);
}

static void bed_push(LogBed *bed) { diskstore_write_out(bed->s); }

static const LogBedVt disk_bed = { .new = bed_new, .free = bed_free, .step = bed_step, .kill = bed_kill, .again = bed_again, .push = bed_push };

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	store_log_tests("/store/log", &disk_bed);
	return g_test_run();
}
