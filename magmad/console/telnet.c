#include "magmad/console/telnet.h"
#include <string.h>

enum { SE = 240, BRK = 243, IP = 244, AYT = 246, EC = 247, EL = 248, SB = 250, WILL = 251, WONT = 252, DO = 253, DONT = 254, IAC = 255,
	EOF_ = 236, ABORT = 238, OPT_ECHO = 1 };
enum { DATA, AFTER_CR, AFTER_IAC, AFTER_VERB, IN_SB, IN_SB_IAC };

void telnet_init(Telnet *t, const TelnetOps *ops, void *user)
{
	*t = (Telnet){ .ops = ops, .user = user, .text = g_string_sized_new(128) };
}

void telnet_clear(Telnet *t)
{
	if (!t->text)
		return;
	explicit_bzero(t->text->str, t->text->allocated_len);     /* it may have held the secret */
	g_string_free(g_steal_pointer(&t->text), TRUE);
}

static void answer(Telnet *t, guint8 verb, guint8 option)
{
	guint8 b[3] = { IAC, verb, option };

	t->ops->reply(t->user, b, sizeof b);
}

void telnet_hide(Telnet *t, gboolean hide)
{
	if (hide != t->hiding)
		answer(t, hide ? WILL : WONT, OPT_ECHO);
	t->hiding = hide;
}

static void end_line(Telnet *t)
{
	gboolean overflow = t->overflow;
	gsize len = t->text->len;
	g_autofree char *line = g_strndup(t->text->str, len);

	explicit_bzero(t->text->str, len);
	g_string_truncate(t->text, 0);
	t->overflow = FALSE;
	if (overflow)
		t->ops->too_long(t->user);
	else
		t->ops->line(t->user, line, len);
	explicit_bzero(line, len);
}

static void drop_line(Telnet *t)
{
	g_string_truncate(t->text, 0);
	t->overflow = FALSE;
}

/* The last character, which in UTF-8 may be several bytes. */
static void erase_one(Telnet *t)
{
	gsize n = t->text->len;

	while (n > 0 && ((guchar)t->text->str[--n] & 0xc0) == 0x80)
		;
	g_string_truncate(t->text, n);
}

static void add(Telnet *t, guint8 c)
{
	if (t->text->len >= TELNET_LINE_MAX)
		t->overflow = TRUE;
	else
		g_string_append_c(t->text, (char)c);
}

/* Clients that edit lines themselves send none of the control bytes; those that went to single characters with the echo do. */
static void data(Telnet *t, guint8 c)
{
	switch (c) {
	case 0:
		break;
	case '\r':
		t->state = AFTER_CR;
		end_line(t);
		break;
	case '\n':
		end_line(t);
		break;
	case 3:
		drop_line(t);
		t->ops->interrupt(t->user);
		break;
	case 4:
		if (t->text->len == 0 && !t->overflow)
			t->ops->eof(t->user);
		break;
	case 8:
	case 127:
		erase_one(t);
		break;
	case 21:
		drop_line(t);
		break;
	default:
		add(t, c);
	}
}

static void command(Telnet *t, guint8 c)
{
	t->state = DATA;
	switch (c) {
	case IAC:
		add(t, c);
		break;
	case WILL: case WONT: case DO: case DONT:
		t->verb = c;
		t->state = AFTER_VERB;
		break;
	case SB:
		t->state = IN_SB;
		break;
	case IP: case BRK: case ABORT:
		drop_line(t);
		t->ops->interrupt(t->user);
		break;
	case EOF_:
		t->ops->eof(t->user);
		break;
	case AYT:
		t->ops->reply(t->user, "\r\n[yes]\r\n", 9);
		break;
	case EC:
		erase_one(t);
		break;
	case EL:
		drop_line(t);
		break;
	}
}

/* All options are off, and a peer that turns one off is not answered (RFC 1143: else two of us go on for ever). */
static void option(Telnet *t, guint8 c)
{
	t->state = DATA;
	if (t->verb == WILL)
		answer(t, DONT, c);
	else if (t->verb == DO && !(c == OPT_ECHO && t->hiding))
		answer(t, WONT, c);
}

void telnet_input(Telnet *t, const guint8 *p, gsize n, const gboolean *stop)
{
	for (gsize i = 0; i < n && !*stop; i++) {
		guint8 c = p[i];
		if (t->state == AFTER_CR) {
			t->state = DATA;
			if (c == '\n' || c == 0)
				continue;
		}
		switch (t->state) {
		case DATA:
			if (c == IAC)
				t->state = AFTER_IAC;
			else
				data(t, c);
			break;
		case AFTER_IAC:
			command(t, c);
			break;
		case AFTER_VERB:
			option(t, c);
			break;
		case IN_SB:
			if (c == IAC)
				t->state = IN_SB_IAC;
			break;
		case IN_SB_IAC:
			t->state = c == SE ? DATA : IN_SB;
			break;
		}
	}
}

void telnet_append(GString *out, const char *p, gsize n)
{
	for (gsize i = 0; i < n; i++) {
		if (p[i] == '\n')
			g_string_append_c(out, '\r');
		g_string_append_c(out, p[i]);
		if ((guchar)p[i] == IAC)
			g_string_append_c(out, p[i]);
	}
}
