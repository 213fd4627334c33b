/* Names of users and groups, each asked for once: the name service may be slow. */
#include "magmad/console/session.h"
#include <grp.h>
#include <pwd.h>
#include <string.h>

#define NAMES_MAX 4096                /* a directory with more owners than that asks again */

static const char *remember(GHashTable *names, guint32 id, const char *name, char *out)
{
	if (g_hash_table_size(names) >= NAMES_MAX)
		g_hash_table_remove_all(names);
	g_hash_table_insert(names, GUINT_TO_POINTER(id), g_strdup(name));
	g_strlcpy(out, name, ROW_OWNER);
	return out;
}

static gboolean known(GHashTable *names, guint32 id, char *out)
{
	const char *name = g_hash_table_lookup(names, GUINT_TO_POINTER(id));

	if (name)
		g_strlcpy(out, name, ROW_OWNER);
	return name != NULL;
}

const char *owner_user(Console *c, guint32 uid, char *out)
{
	char buf[8192], number[16];
	struct passwd pw, *found = NULL;

	if (known(c->users, uid, out))
		return out;
	g_snprintf(number, sizeof number, "%u", uid);
	return remember(c->users, uid, getpwuid_r(uid, &pw, buf, sizeof buf, &found) == 0 && found ? found->pw_name : number, out);
}

const char *owner_group(Console *c, guint32 gid, char *out)
{
	char buf[32768], number[16];
	struct group gr, *found = NULL;

	if (known(c->groups, gid, out))
		return out;
	g_snprintf(number, sizeof number, "%u", gid);
	return remember(c->groups, gid, getgrgid_r(gid, &gr, buf, sizeof buf, &found) == 0 && found ? found->gr_name : number, out);
}
