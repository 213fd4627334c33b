#include "magmad/channels.h"
#include "libmagma/base/trace.h"

const Channel CHANNELS[] = {
	{ 'B', "BOOT", "start, join and stop of this volcano" },
	{ 'b', "BALANCER", "borders of slices and why they move" },
	{ 'c', "CACHE", "rows kept in memory" },
	{ 'C', "CONSOLE", "console sessions and their commands" },
	{ 'd', "DIRECTORY", "entries of directories" },
	{ 'F', "FLARE PROTOCOL", "requests and replies of clients" },
	{ 'f', "FLARE SYSTEM", "operations on flares" },
	{ 'g', "GARBAGE", "orphans and what is removed late" },
	{ 'J', "JOURNAL", "records, flushes, replay" },
	{ 'l', "LEASES AND LOCKS", "granted, recalled, queued" },
	{ 'M', "MEMBERS", "the lava map and its consensus" },
	{ 'm', "MIRROR AND HEAL", "copies and how far they are" },
	{ 'n', "NETWORK SESSIONS", "handshakes, losses, closes" },
	{ 'r', "ROUTING", "which volcano a request goes to" },
	{ 's', "SQL", "statements" },
	{ 'u', "UTILITIES", "all that is in no other channel" },
	{ 'V', "NODE PROTOCOL", "requests and replies between volcanos" },
	{ 'v', "VOLCANO SYSTEM", "state of this volcano" },
};
const guint CHANNELS_COUNT = G_N_ELEMENTS(CHANNELS);

const Channel *channel_by_letter(char letter)
{
	for (guint i = 0; i < CHANNELS_COUNT; i++)
		if (CHANNELS[i].letter == letter)
			return &CHANNELS[i];
	return NULL;
}

gboolean channels_parse(const char *text, guint64 *mask, char *unknown)
{
	guint64 bits = 0;

	for (; *text; text++) {
		if (!channel_by_letter(*text)) {
			*unknown = *text;
			return FALSE;
		}
		bits |= G_GUINT64_CONSTANT(1) << magma_trace_bit(*text);
	}
	*mask = bits;
	return TRUE;
}

guint64 channels_all(void)
{
	guint64 bits = 0;

	for (guint i = 0; i < CHANNELS_COUNT; i++)
		bits |= G_GUINT64_CONSTANT(1) << magma_trace_bit(CHANNELS[i].letter);
	return bits;
}

const char *channels_letters(void)
{
	static char letters[G_N_ELEMENTS(CHANNELS) + 1];

	for (guint i = 0; i < CHANNELS_COUNT; i++)
		letters[i] = CHANNELS[i].letter;
	return letters;
}
