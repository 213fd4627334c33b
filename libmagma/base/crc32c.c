/* CRC-32C: the CPU's instruction on x86-64 and AArch64, tables eight bytes at a time elsewhere. */
#include "libmagma/base/wire.h"
#include "libmagma/base/crc32c.h"
#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

#define POLYNOMIAL 0x82f63b78u  /* reflected */

typedef guint32 (*CrcFn)(guint32 crc, const guint8 *p, gsize n);

static guint32 table[8][256];   /* written once, under table_once */

static void table_fill(void)
{
	for (guint i = 0; i < 256; i++) {
		guint32 c = i;
		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
		table[0][i] = c;
	}
	for (guint i = 0; i < 256; i++)
		for (guint t = 1; t < 8; t++)
			table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 0xff];
}

static guint64 le64(const guint8 *p)
{
	guint64 v;
	memcpy(&v, p, sizeof v);
	return GUINT64_FROM_LE(v);
}

static guint32 crc_by_table(guint32 crc, const guint8 *p, gsize n)
{
	for (; n >= 8; p += 8, n -= 8) {
		guint64 v = le64(p) ^ crc;
		crc = table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^ table[5][v >> 16 & 0xff] ^ table[4][v >> 24 & 0xff]
			^ table[3][v >> 32 & 0xff] ^ table[2][v >> 40 & 0xff] ^ table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
	}
	for (; n; p++, n--)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static guint32 crc_by_cpu(guint32 crc, const guint8 *p, gsize n)
{
	guint64 c = crc;

	for (; n >= 8; p += 8, n -= 8)
		c = __builtin_ia32_crc32di(c, le64(p));
	for (; n; p++, n--)
		c = __builtin_ia32_crc32qi((guint32)c, *p);
	return (guint32)c;
}

static gboolean cpu_has_crc(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("sse4.2") != 0;
}
#elif defined(__aarch64__)
static guint32 crc_by_cpu(guint32 crc, const guint8 *p, gsize n)
{
	for (; n >= 8; p += 8, n -= 8)
		__asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(le64(p)));
	for (; n; p++, n--)
		__asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((guint32)*p));
	return crc;
}

static gboolean cpu_has_crc(void)
{
	return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}
#else
#define crc_by_cpu crc_by_table
static gboolean cpu_has_crc(void) { return FALSE; }
#endif

static void table_ready(void)
{
	static gsize once;

	if (g_once_init_enter(&once)) {
		table_fill();
		g_once_init_leave(&once, 1);
	}
}

static CrcFn best(void)
{
	static gsize chosen;    /* a CrcFn */

	if (g_once_init_enter(&chosen)) {
		CrcFn fn = crc_by_cpu;
		if (!cpu_has_crc()) {
			table_ready();
			fn = crc_by_table;
		}
		g_once_init_leave(&chosen, (gsize)fn);
	}
	return (CrcFn)chosen;
}

guint32 magma_crc32c(guint32 crc, const void *p, gsize n)
{
	return ~best()(~crc, p, n);
}

guint32 crc32c_portable(guint32 crc, const void *p, gsize n)
{
	table_ready();
	return ~crc_by_table(~crc, p, n);
}
