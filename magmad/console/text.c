#include "magmad/console/text.h"
#include <string.h>
#include <sys/stat.h>

char *text_copies(guint kept, guint wanted)
{
	g_autofree char *have = g_strdup_printf(kept == 1 ? "%u copy" : "%u copies", kept);

	return kept < wanted ? g_strdup_printf("%s (%u wanted)", have, wanted) : g_steal_pointer(&have);
}

static const struct { guint32 type; char letter; const char *name; } TYPES[] = {
	{ S_IFREG, '-', "regular file" }, { S_IFDIR, 'd', "directory" }, { S_IFLNK, 'l', "symbolic link" }, { S_IFBLK, 'b', "block device" },
	{ S_IFCHR, 'c', "character device" }, { S_IFIFO, 'p', "fifo" }, { S_IFSOCK, 's', "socket" },
};

const char *text_type(guint32 mode)
{
	for (guint i = 0; i < G_N_ELEMENTS(TYPES); i++)
		if ((mode & S_IFMT) == TYPES[i].type)
			return TYPES[i].name;
	return "unknown";
}

static char execute_letter(guint32 mode, guint32 x, guint32 special, char with, char without)
{
	return mode & special ? (mode & x ? with : without) : mode & x ? 'x' : '-';
}

void text_mode(guint32 mode, char *out)
{
	out[0] = '?';
	for (guint i = 0; i < G_N_ELEMENTS(TYPES); i++)
		if ((mode & S_IFMT) == TYPES[i].type)
			out[0] = TYPES[i].letter;
	for (guint i = 0; i < 9; i++)
		out[1 + i] = mode >> (8 - i) & 1 ? "rwx"[i % 3] : '-';
	out[3] = execute_letter(mode, S_IXUSR, S_ISUID, 's', 'S');
	out[6] = execute_letter(mode, S_IXGRP, S_ISGID, 's', 'S');
	out[9] = execute_letter(mode, S_IXOTH, S_ISVTX, 't', 'T');
	out[10] = '\0';
}

char *text_duration(guint64 s)
{
	guint64 days = s / 86400;
	g_autofree char *clock = g_strdup_printf("%02u:%02u:%02u", (guint)(s / 3600 % 24), (guint)(s / 60 % 60), (guint)(s % 60));

	return days ? g_strdup_printf(days == 1 ? "%" G_GUINT64_FORMAT " day %s" : "%" G_GUINT64_FORMAT " days %s", days, clock) : g_steal_pointer(&clock);
}

void text_append_clean(GString *out, const char *p, gsize n)
{
	while (n) {
		gunichar c = g_utf8_get_char_validated(p, n);
		gsize len = 1;
		if (c != (gunichar)-1 && c != (gunichar)-2 && c != '\\' && g_unichar_isprint(c)) {
			len = g_utf8_skip[(guchar)*p];
			g_string_append_len(out, p, len);
		} else {
			g_string_append_printf(out, "\\%03o", (guchar)*p);
		}
		p += len;
		n -= len;
	}
}

char *text_clean(const char *p, gsize n)
{
	GString *out = g_string_sized_new(n);

	text_append_clean(out, p, n);
	return g_string_free(out, FALSE);
}

guint64 text_mbyte(guint64 bytes)
{
	return (bytes >> 20) + ((bytes & ((1u << 20) - 1)) != 0);
}
