/* Debug channels (-D letters): one row each. What is on lives in a MagmaTrace; loop thread only. */
#pragma once
#include <glib.h>

typedef struct {
	char letter;
	const char *name;             /* as `print debug` shows it */
	const char *help;
} Channel;

extern const Channel CHANNELS[];
extern const guint CHANNELS_COUNT;

/* NULL: no channel has that letter. */
const Channel *channel_by_letter(char letter);
/* Bits (as MagmaTrace.on) of the letters of text. FALSE: *unknown is the first letter that is none; *mask untouched. */
gboolean channels_parse(const char *text, guint64 *mask, char *unknown);
guint64 channels_all(void);
/* All letters in one string, for messages that say what would be right. */
const char *channels_letters(void);
