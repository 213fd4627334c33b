#include "libmagma/lava/conflict.h"
#include <string.h>

#define TIME_LIMIT ((guint64)1 << 36)

char *magma_conflict_time_text(guint64 time, char *out)
{
	g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc((gint64)MIN(time, TIME_LIMIT - 1));
	g_autofree char *text = g_date_time_format(t, "%Y%m%dT%H%M%SZ");

	g_strlcpy(out, text, MAGMA_CONFLICT_TIME_TEXT);
	return out;
}

static int number(const char *p, guint n)
{
	int value = 0;

	for (guint i = 0; i < n; i++)
		value = value * 10 + (p[i] - '0');
	return value;
}

gboolean magma_conflict_time_parse(const char *text, guint64 *time)
{
	static const char shape[] = "00000000T000000Z";
	char again[MAGMA_CONFLICT_TIME_TEXT];

	if (strlen(text) != strlen(shape))
		return FALSE;
	for (guint i = 0; shape[i]; i++)
		if (shape[i] == '0' ? !g_ascii_isdigit(text[i]) : text[i] != shape[i])
			return FALSE;
	g_autoptr(GDateTime) t = g_date_time_new_utc(number(text, 4), number(text + 4, 2), number(text + 6, 2), number(text + 9, 2), number(text + 11, 2), number(text + 13, 2));
	if (!t || g_date_time_to_unix(t) <= 0 || (guint64)g_date_time_to_unix(t) >= TIME_LIMIT)
		return FALSE;
	*time = (guint64)g_date_time_to_unix(t);
	return strcmp(magma_conflict_time_text(*time, again), text) == 0;
}

char *magma_conflict_text(const MagmaConflict *c)
{
	switch (c->phase) {
	case MAGMA_CONFLICT_COMPARED:
		return g_strdup_printf("compared, %" G_GUINT64_FORMAT " flare%s", c->differing, c->differing == 1 ? " differs" : "s differ");
	case MAGMA_CONFLICT_COMPARING:
		return g_strdup_printf("being compared, %" G_GUINT64_FORMAT " flare%s so far", c->differing, c->differing == 1 ? " differs" : "s differ");
	case MAGMA_CONFLICT_UNREADABLE:
		return g_strdup("cannot be read");
	default:
		return g_strdup("waits to be compared");
	}
}

void magma_put_conflict(GByteArray *out, const MagmaConflict *c)
{
	magma_put_u64(out, c->time);
	magma_put_u8(out, (guint8)c->phase);
	magma_put_u64(out, c->differing);
}

void magma_get_conflict(MagmaReader *r, MagmaConflict *out)
{
	out->time = magma_get_u64(r);
	guint8 phase = magma_get_u8(r);
	out->phase = phase;
	out->differing = magma_get_u64(r);
	if (!r->error && (phase >= MAGMA_CONFLICT_PHASES || out->time >= TIME_LIMIT))
		r->error = TRUE;
}
