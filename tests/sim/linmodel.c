#include "tests/sim/linmodel.h"
#include <errno.h>
#include <string.h>

/* --- names --- */

/* Is cell the flare of that number? One that nobody has seen yet may be any that no answered create made; from now on it is known. */
static gboolean is_flare(NameState *s, guint64 cell, guint64 ino, gboolean strange)
{
	if (!(cell & NAME_UNSEEN))
		return cell == ino;
	if (!strange)
		return FALSE;
	for (guint i = 0; i < NAMES; i++)
		if (s->cell[i] == cell)
			s->cell[i] = ino;
	return TRUE;
}

static gboolean step_create(const NameOp *o, gboolean answered, NameState *s)
{
	if (s->cell[o->from])
		return answered && o->error == EEXIST;
	if (answered && o->error)
		return FALSE;
	s->cell[o->from] = answered ? o->ino : o->unseen;
	return TRUE;
}

static gboolean step_move(const NameOp *o, gboolean answered, NameState *s)
{
	gboolean noent = !s->cell[o->from] || (o->kind == NAME_EXCHANGE && !s->cell[o->to]), exist = o->kind == NAME_NOREPLACE && s->cell[o->to];

	if (noent || exist)
		return answered && ((noent && o->error == ENOENT) || (exist && o->error == EEXIST));
	if (answered && (o->error || !is_flare(s, s->cell[o->from], o->ino, o->strange & 1)))
		return FALSE;
	if (answered && (s->cell[o->to] ? !is_flare(s, s->cell[o->to], o->replaced, o->strange & 2) : o->replaced != 0))
		return FALSE;
	guint64 was = s->cell[o->to];
	s->cell[o->to] = s->cell[o->from];
	s->cell[o->from] = o->kind == NAME_EXCHANGE ? was : 0;
	return TRUE;
}

static gboolean step_names(const void *op, gboolean answered, void *state)
{
	const NameOp *o = op;
	NameState *s = state;

	switch ((NameKind)o->kind) {
	case NAME_CREATE:
		return step_create(o, answered, s);
	case NAME_LOOKUP:
	case NAME_UNLINK:
		if (!s->cell[o->from])
			return answered && o->error == ENOENT;
		if (answered && (o->error || !is_flare(s, s->cell[o->from], o->ino, o->strange & 1)))
			return FALSE;
		if (o->kind == NAME_UNLINK)
			s->cell[o->from] = 0;
		return answered || o->kind == NAME_UNLINK;
	default:
		return step_move(o, answered, s);
	}
}

static void describe_names(const void *op, gboolean answered, GString *out)
{
	static const char *const kinds[] = { "create", "unlink", "lookup", "rename", "rename without replacing", "exchange" };
	const NameOp *o = op;

	g_string_append_printf(out, "%s %u", kinds[o->kind], o->from);
	if (o->kind >= NAME_RENAME)
		g_string_append_printf(out, " to %u", o->to);
	if (answered && o->error)
		g_string_append_printf(out, ": error %d", o->error);
	else if (answered)
		g_string_append_printf(out, ": %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT, o->ino, o->replaced);
}

const LinModel lin_names = { sizeof(NameOp), sizeof(NameState), step_names, describe_names };

/* --- a flare --- */

static void resize(FlareState *s, guint blocks)
{
	for (guint i = s->blocks; i < blocks; i++)
		s->content[i] = 0;
	for (guint i = blocks; i < BLOCKS; i++)
		s->content[i] = 0;
	s->blocks = blocks;
}

static gboolean step_write(const FlareOp *o, gboolean answered, FlareState *s)
{
	guint at = o->kind == FLARE_APPEND ? s->blocks : o->at;

	if (at >= BLOCKS)
		return FALSE;
	if (at >= s->blocks)
		resize(s, at + 1);
	s->content[at] = o->token;
	return !answered || (o->at == at && o->blocks == s->blocks);
}

static gboolean same_content(const FlareOp *o, const FlareState *s)
{
	if (o->blocks != s->blocks)
		return FALSE;
	for (guint i = 0; i < s->blocks; i++)
		if (o->content[i] != BLOCK_ANY && o->content[i] != s->content[i])
			return FALSE;
	return TRUE;
}

static gboolean step_flare(const void *op, gboolean answered, void *state)
{
	const FlareOp *o = op;
	FlareState *s = state;

	switch ((FlareKind)o->kind) {
	case FLARE_GETATTR:
		return answered && o->mode == s->mode && o->blocks == s->blocks;
	case FLARE_READ:
		return answered && same_content(o, s);
	case FLARE_CHMOD:
		s->mode = o->mode;
		return !answered || o->blocks == s->blocks;
	case FLARE_TRUNCATE:
		resize(s, o->at);
		return !answered || o->mode == s->mode;
	default:
		return step_write(o, answered, s);
	}
}

static void describe_flare(const void *op, gboolean answered, GString *out)
{
	static const char *const kinds[] = { "getattr", "chmod", "read", "write", "append", "truncate" };
	const FlareOp *o = op;

	g_string_append_printf(out, "%s at %u, token %u", kinds[o->kind], o->at, o->token);
	if (answered || o->kind == FLARE_CHMOD)
		g_string_append_printf(out, ": mode %o, %u blocks", o->mode, o->blocks);
	for (guint i = 0; answered && o->kind == FLARE_READ && i < o->blocks; i++)
		g_string_append_printf(out, "%s%u", i ? " " : ": ", o->content[i]);
}

const LinModel lin_flare = { sizeof(FlareOp), sizeof(FlareState), step_flare, describe_flare };
