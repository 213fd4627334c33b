/* How fast the disk store is: creates as the core makes them (5 rows, about 800 bytes), point reads from memory, from the page cache and cold, memory used.
 *   bench_store DIR [FLARES [CREATES]]     DIR is made, and left for another run where it exists */
#include "libmagma/base/wire.h"
#include "magmad/store/diskstore.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define PER_TURN 8                    /* operations a busy loop finishes in one turn */
#define DIR_INO 1

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(int who)
{
	struct rusage r;
	getrusage(who, &r);
	return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static long rss_anon_kib(void)
{
	g_autofree char *text = NULL;
	g_file_get_contents("/proc/self/status", &text, NULL, NULL);
	const char *p = text ? strstr(text, "RssAnon:") : NULL;
	return p ? atol(p + 8) : 0;
}

/* Bytes this process has handed to write(2) and the like. */
static double written(void)
{
	g_autofree char *text = NULL;
	g_file_get_contents("/proc/self/io", &text, NULL, NULL);
	const char *p = text ? strstr(text, "wchar:") : NULL;
	return p ? atof(p + 6) : 0;
}

static MagmaKey key_of(guint64 ino)
{
	char path[64];
	int n = snprintf(path, sizeof path, "/bench/%" G_GUINT64_FORMAT, ino);
	return magma_key_of_path(path, n);
}

static void create(Store *s, guint64 ino)
{
	guint8 k[64], val[400];
	char name[32];
	MagmaKey key = key_of(ino), dir = key_of(DIR_INO);
	int nlen = snprintf(name, sizeof name, "file%" G_GUINT64_FORMAT, ino);
	Txn *t = txn_new();
	const guint8 *v;
	gsize vlen;
	Fetch f = { 0 };

	memset(val, ino, sizeof val);
	magma_be64_store(k, ino);
	txn_put(t, TAB_FLARE, k, 8, &key, val, 150);
	magma_be64_store(k, DIR_INO);
	memcpy(k + 8, name, nlen);
	store_get(s, &f, TAB_ENTRY, k, 8 + nlen, &v, &vlen);
	store_fetch_clear(s, &f);
	txn_put(t, TAB_ENTRY, k, 8 + nlen, &dir, val, 48);
	magma_be64_store(k + 8, ino);
	txn_put(t, TAB_COOKIE, k, 16, &dir, val, 60);
	txn_put(t, TAB_FLARE, k, 8, &dir, val, 150);                    /* the directory: times, size */
	magma_be64_store(k, 77);
	txn_put(t, TAB_REPLY, k, 16, &dir, val, 160);
	if (ino > 64) {
		magma_be64_store(k + 8, ino - 64);                      /* the client's watermark */
		txn_del(t, TAB_REPLY, k, 16, &dir);
	}
	store_commit(s, t);
}

static void turn(Store *s)
{
	diskstore_flush(s);
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static void creates(Store *s, guint64 first, guint64 n, const char *what)
{
	double begin = now(), c = cpu(RUSAGE_THREAD), all = cpu(RUSAGE_SELF), io = written();

	for (guint64 i = 0; i < n; i++) {
		create(s, first + i);
		if (i % PER_TURN == PER_TURN - 1)
			turn(s);
	}
	turn(s);
	double took = now() - begin;
	StoreUsage u;
	s->vt->usage(s, &u);
	printf("%-28s %8.0f /s, loop CPU %.2f us, all CPU %.2f us, %.1f KiB written each, RssAnon %ld MiB, rows %" G_GUINT64_FORMAT " MiB, malloc %zu of %zu MiB, open %" G_GUINT64_FORMAT ", journal %" G_GUINT64_FORMAT " MiB\n", what, n / took,
		(cpu(RUSAGE_THREAD) - c) / n * 1e6, (cpu(RUSAGE_SELF) - all) / n * 1e6, (written() - io) / n / 1024, rss_anon_kib() / 1024, u.cache_bytes >> 20, mallinfo2().uordblks >> 20, (mallinfo2().arena + mallinfo2().hblkhd) >> 20, u.open_batch_rows, u.journal_bytes >> 20);
}

static gboolean ready;
static void on_ready(Fetch *f) { ready = TRUE; }

static void gets(Store *s, guint64 flares, guint64 span, guint n, const char *what)
{
	guint pending = 0, absent = 0;
	double begin = now(), c = cpu(RUSAGE_THREAD);

	for (guint i = 0; i < n; i++) {
		Fetch f = { .ready = on_ready };
		const guint8 *v;
		gsize vlen;
		guint8 k[8];
		magma_be64_store(k, 2 + (g_random_int() % span + flares - span));
		StoreGet got = store_get(s, &f, TAB_FLARE, k, 8, &v, &vlen);
		if (got == STORE_PENDING) {
			pending++;
			for (ready = FALSE; !ready; )
				g_main_context_iteration(NULL, TRUE);
			got = store_get(s, &f, TAB_FLARE, k, 8, &v, &vlen);
		}
		absent += got == STORE_ABSENT;
		store_fetch_clear(s, &f);
		if (i % PER_TURN == 0)
			g_main_context_iteration(NULL, FALSE);
	}
	printf("%-28s %8.2f us each, loop CPU %.2f us; %u pending, %u absent, RssAnon %ld MiB\n", what, (now() - begin) / n * 1e6, (cpu(RUSAGE_THREAD) - c) / n * 1e6, pending, absent, rss_anon_kib() / 1024);
}

static void only_commits(Store *s, guint n)
{
	guint8 k[16] = { 9 }, val[160] = { 0 };
	MagmaKey rk = key_of(9);
	double begin = now();

	for (guint i = 0; i < n; i++) {
		Txn *t = txn_new();
		for (guint r = 0; r < 5; r++) {
			magma_be64_store(k + 8, i * 5 + r);
			txn_put(t, TAB_XATTR, k, 16, &rk, val, 110);
		}
		store_commit(s, t);
	}
	printf("%-28s %8.2f us each\n", "commit without write", (now() - begin) / n * 1e6);
	begin = now();
	turn(s);
	printf("%-28s %8.2f us each\n", "its share of the write", (now() - begin) / n * 1e6);
	begin = now();
	const guint8 *v;
	gsize vlen;
	for (guint i = 0; i < 10 * n; i++) {
		magma_be64_store(k + 8, i % (n * 5));
		store_get(s, NULL, TAB_XATTR, k, 16, &v, &vlen);
	}
	printf("%-28s %8.3f us each\n", "get from memory", (now() - begin) / n / 10 * 1e6);
}

static void on_sync(void *user, int error) { ready = TRUE; }

static void syncs(Store *s, guint64 first, guint n)
{
	double begin = now();

	for (guint i = 0; i < n; i++) {
		create(s, first + i);
		ready = FALSE;
		store_sync(s, on_sync, NULL);
		while (!ready)
			g_main_context_iteration(NULL, TRUE);
	}
	printf("%-28s %8.0f us each\n", "create and sync", (now() - begin) / n * 1e6);
}

int main(int argc, char **argv)
{
	guint64 flares = argc > 2 ? g_ascii_strtoull(argv[2], NULL, 10) : 10000, n = argc > 3 ? g_ascii_strtoull(argv[3], NULL, 10) : 50000;
	g_autoptr(GError) error = NULL;
	StoreUsage u;

	if (argc < 2) {
		fprintf(stderr, "usage: bench_store DIR [FLARES [CREATES]]\n");
		return 2;
	}
	if (!g_file_test(argv[1], G_FILE_TEST_EXISTS) && !diskstore_create(argv[1], &error)) {
		fprintf(stderr, "bench_store: %s\n", error->message);
		return 1;
	}
	DiskStoreConfig cfg = { .dir = argv[1] };
	double begin = now();
	Store *s = diskstore_open(&cfg, &error);
	if (!s) {
		fprintf(stderr, "bench_store: %s\n", error->message);
		return 1;
	}
	s->vt->usage(s, &u);
	printf("%-28s %8.1f ms, %" G_GUINT64_FORMAT " flares\n", "open", (now() - begin) * 1e3, u.flares);
	guint64 have = u.flares;
	if (have < flares) {
		for (guint64 part; have < flares; have += part) {
			part = MIN(flares - have, 100000);
			creates(s, 2 + have, part, "filling");
		}
	}
	only_commits(s, 2000);
	if (n)
		creates(s, 2 + have, n, "creates");
	gets(s, have, MIN(have, 5000), 20000, "gets, few flares");
	gets(s, have, have, 50000, "gets, all flares");
	if (n)
		syncs(s, 2 + have + n, 50);
	begin = now();
	while (now() - begin < 8) {
		g_main_context_iteration(NULL, FALSE);
		g_usleep(20000);
	}
	printf("%-28s RssAnon %ld MiB\n", "after 8 s of nothing", rss_anon_kib() / 1024);
	begin = now();
	diskstore_close(s);
	printf("%-28s %8.1f ms\n", "close", (now() - begin) * 1e3);
	return 0;
}
