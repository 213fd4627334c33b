/* Bytes as the configuration file and as a folder's volcano.conf: no text is harmful, and an identity that is taken is kept as it is. */
#include "tests/fuzz/fuzz.h"
#include "magmad/config.h"
#include "magmad/identity.h"
#include <string.h>

static void check_identity(const Identity *id)
{
	g_autofree char *kept = identity_format(id);
	g_autoptr(GError) error = NULL;
	g_autoptr(Identity) back = identity_parse("v", kept, strlen(kept), &error);

	g_assert_no_error(error);
	g_autofree char *again = identity_format(back);
	g_assert_cmpstr(kept, ==, again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	gsize len = strlen(text);             /* files are read with a NUL behind them */
	g_autoptr(Options) o = options_new();
	g_autoptr(GError) wrong = NULL, damaged = NULL;

	gboolean ok = config_parse(o, "f", text, len, &wrong);
	g_assert_cmpint(ok, ==, wrong == NULL);
	if (ok)
		g_assert_true(options_number(o, OPT_PORT) >= 1 && options_number(o, OPT_PORT) <= 65533);
	g_autoptr(Identity) id = identity_parse("v", text, len, &damaged);
	g_assert_cmpint(id == NULL, ==, damaged != NULL);
	if (id)
		check_identity(id);
	return 0;
}
