/* What magmad is told, by its command line and its configuration file: one row an option, which feeds the parser, its checks, the file reader
 * and --help. Before any thread. */
#pragma once
#include <glib.h>

typedef enum {
	OPT_BOOTSTRAP, OPT_JOIN, OPT_NAME, OPT_FQDN, OPT_ADDRESS, OPT_PORT, OPT_DIR, OPT_KEY, OPT_KEYFILE, OPT_STORAGE, OPT_BANDWIDTH, OPT_COPIES, OPT_NO_TAKEOVER,
	OPT_DEBUG, OPT_DEBUG_ALL, OPT_CONFIG, OPT_DAEMON, OPT_COUNT
} OptionId;

typedef enum { OPTION_FLAG, OPTION_TEXT, OPTION_NAME, OPTION_HOST, OPTION_NUMBER, OPTION_LETTERS } OptionType;
typedef enum { OPTION_DEFAULT, OPTION_FILE, OPTION_LINE } OptionSource;       /* the higher one wins */

typedef struct {
	const char *key;              /* --key on the line, key= in the file */
	char letter;                  /* 0: none */
	OptionType type;
	guint64 min, max;             /* NUMBER: the value; texts: the length */
	const char *def;              /* NULL: none, or said in help */
	const char *arg, *what, *help;
	gboolean line_only;           /* makes no sense in a file */
} OptionRow;
extern const OptionRow OPTIONS[OPT_COUNT];

typedef struct {
	OptionSource from;
	char *text;                   /* as given; NULL: not given and no default */
	guint64 number;               /* NUMBER, FLAG */
} OptionValue;

typedef struct {
	OptionValue v[OPT_COUNT];
} Options;

#define OPTIONS_CONFIG "/etc/magma/magmad.conf"

typedef enum { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_WRONG } OptionsResult;

Options *options_new(void);       /* all defaults */
void options_free(Options *o);    /* wipes the secret */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Options, options_free)

/* A copy of argv in the one form the parser knows (-Dfs becomes -D fs); the secret's bytes in argv itself are overwritten. Free with g_strfreev. */
char **options_take(int argc, char **argv);
/* Parses what options_take gave (consumed). WRONG: error says what is wrong and what would be right, without "magmad: ". HELP: *help (to free) is the text. */
OptionsResult options_parse(Options *o, char **args, char **help, GError **error);
/* One value from `where` ("-p", "FILE: port"); an equal or higher source given before wins silently for a lower one. */
gboolean options_set(Options *o, OptionId id, const char *text, OptionSource from, const char *where, GError **error);
/* What must hold between options, after the file was read as well. */
gboolean options_check(const Options *o, GError **error);

static inline const char *options_text(const Options *o, OptionId id) { return o->v[id].text; }
static inline guint64 options_number(const Options *o, OptionId id) { return o->v[id].number; }
static inline gboolean options_given(const Options *o, OptionId id) { return o->v[id].from != OPTION_DEFAULT; }
/* The debug channels asked for, as MagmaTrace.on. */
guint64 options_channels(const Options *o);
/* Overwrites bytes so that no optimiser leaves them out, then frees. */
void options_wipe(char *secret);
