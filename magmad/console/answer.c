/* What a command says: text for people, or JSON for scripts. */
#include "magmad/console/session.h"
#include "magmad/console/text.h"
#include <string.h>

void session_answer(ConsoleSession *s, const char *text)
{
	gsize n = strlen(text);

	session_stream(s, "\n", 1);
	session_stream(s, text, n);
	session_stream(s, "\n\n", n && text[n - 1] == '\n' ? 1 : 2);
}

void session_answerf(ConsoleSession *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	session_answer(s, text);
}

void json_put_text(JsonBuilder *b, const char *name, const char *p, gsize n)
{
	g_autofree char *valid = g_utf8_make_valid(p, n);

	json_builder_set_member_name(b, name);
	json_builder_add_string_value(b, valid);
}

void json_put_int(JsonBuilder *b, const char *name, guint64 v)
{
	json_builder_set_member_name(b, name);
	json_builder_add_int_value(b, (gint64)MIN(v, (guint64)G_MAXINT64));
}

void json_put_unsafe(JsonBuilder *b, ConsoleSession *s)
{
	g_autoptr(GString) lines = g_string_new("");

	json_builder_set_member_name(b, "safe");
	json_builder_add_boolean_value(b, volcano_unsafe(s->console->cfg.volcano, lines) == 0);
	g_auto(GStrv) all = g_strsplit(lines->str, "\n", -1);
	json_builder_set_member_name(b, "unsafe");
	json_builder_begin_array(b);
	for (guint i = 0; all[i] && all[i][0]; i++)
		json_builder_add_string_value(b, all[i]);
	json_builder_end_array(b);
}

JsonBuilder *session_json_new(void)
{
	JsonBuilder *b = json_builder_new();

	json_builder_begin_object(b);
	json_builder_set_member_name(b, "ok");
	json_builder_add_boolean_value(b, TRUE);
	return b;
}

char *json_take_line(JsonBuilder *b)
{
	g_autoptr(JsonGenerator) gen = json_generator_new();

	json_builder_end_object(b);
	g_autoptr(JsonNode) root = json_builder_get_root(b);
	json_generator_set_root(gen, root);
	g_object_unref(b);
	return json_generator_to_data(gen, NULL);
}

void session_json(ConsoleSession *s, JsonBuilder *b)
{
	g_autofree char *line = json_take_line(b);

	session_answer(s, line);
}

void session_ok(ConsoleSession *s)
{
	if (s->json)
		session_json(s, session_json_new());
}

void session_error(ConsoleSession *s, const char *subject, int code, const char *text)
{
	g_autofree char *clean = subject ? text_clean(subject, strlen(subject)) : NULL;
	g_autofree char *line = g_strdup_printf("%s%s%s", clean ? clean : "", clean ? ": " : "", text);

	if (!s->json) {
		session_answer(s, line);
		return;
	}
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	json_builder_set_member_name(b, "ok");
	json_builder_add_boolean_value(b, FALSE);
	json_put_text(b, "error", line, strlen(line));
	json_put_int(b, "errno", code);
	if (subject)
		json_put_text(b, "path", subject, strlen(subject));
	session_json(s, b);
}
