/* What a sender starts is what the receiver has room for, and small messages go first. */
#include "libmagma/xport/sendq.h"
#include <string.h>

static GBytes *blank(gsize n)
{
	return g_bytes_new_take(g_malloc0(n), n);
}

static void push(SendQueue *q, gsize n)
{
	g_autoptr(GBytes) b = blank(n);
	sendq_push(q, b, NULL);
}

static GPtrArray *frames_new(void)
{
	return g_ptr_array_new();
}

/* Takes all that may be sent; returns how many bytes of messages that was. */
static gsize drain(SendQueue *q, GPtrArray *frames)
{
	Fragment f;
	gsize bytes = 0;
	while (sendq_take(q, 65000, FALSE, FALSE, &f)) {
		g_ptr_array_add(frames, f.frame);
		bytes += f.len;
	}
	return bytes;
}

static void settle(SendQueue *q, GPtrArray *frames, gboolean acked)
{
	for (guint i = 0; i < frames->len; i++) {
		if (acked)
			sendq_acked(q, frames->pdata[i]);
		else
			sendq_lost(q, frames->pdata[i]);
	}
	for (guint i = 0; i < frames->len; i++)
		sendq_forget(q, frames->pdata[i]);
	g_ptr_array_set_size(frames, 0);
}

static void large_messages_stop_at_the_receivers_limit(void)
{
	SendQueue q = { 0 };
	g_autoptr(GPtrArray) frames = frames_new();
	for (guint i = 0; i < 40; i++)
		push(&q, 1 << 20);
	g_assert_cmpuint(drain(&q, frames), ==, RECV_LIMIT - RECV_RESERVE);
	g_assert_false(sendq_ready(&q, FALSE));
	/* Small ones have room of their own, as much as is kept for them. */
	for (guint i = 0; i < 200; i++)
		push(&q, 10000);
	gsize small = drain(&q, frames);
	g_assert_cmpuint(small, <=, RECV_RESERVE);
	g_assert_cmpuint(small, >, RECV_RESERVE - 10000);
	settle(&q, frames, TRUE);
	g_assert_cmpuint(drain(&q, frames), >=, RECV_LIMIT - RECV_RESERVE);
	settle(&q, frames, TRUE);
	drain(&q, frames);
	settle(&q, frames, TRUE);
	g_assert_cmpuint(q.backlog, ==, 0);
	g_assert_cmpuint(q.pending, ==, 0);
	g_assert_cmpuint(q.n_started, ==, 0);
	sendq_clear(&q);
}

static void ids_and_unfinished_messages_are_bounded(void)
{
	SendQueue q = { 0 };
	g_autoptr(GPtrArray) frames = frames_new(), first = frames_new();
	for (guint i = 0; i < 2 * MSG_ID_WINDOW; i++)
		push(&q, 1);
	g_assert_cmpuint(drain(&q, frames), ==, MSG_STARTED_MAX);
	/* All but the first arrive, over and over: the newest id stays within the window. */
	g_ptr_array_add(first, g_ptr_array_steal_index(frames, 0));
	while (frames->len) {
		settle(&q, frames, TRUE);
		drain(&q, frames);
	}
	g_assert_cmpuint(q.next_id, ==, MSG_ID_WINDOW);
	settle(&q, first, TRUE);
	g_assert_cmpuint(drain(&q, frames), >, 0);
	settle(&q, frames, FALSE);
	sendq_clear(&q);
}

static void lost_bytes_are_sent_again_and_only_those(void)
{
	SendQueue q = { 0 };
	g_autoptr(GPtrArray) frames = frames_new(), lost = frames_new();
	push(&q, 300000);
	drain(&q, frames);
	g_assert_cmpuint(frames->len, ==, 5);
	for (guint i = 0; i < 2; i++)
		g_ptr_array_add(lost, g_ptr_array_steal_index(frames, i + 1));
	gsize bytes = 0;
	for (guint i = 0; i < lost->len; i++)
		bytes += ((SentFrame *)lost->pdata[i])->len;
	settle(&q, frames, TRUE);
	g_assert_cmpuint(q.backlog, ==, bytes);
	settle(&q, lost, FALSE);
	g_assert_cmpuint(q.pending, ==, bytes);
	g_assert_cmpuint(drain(&q, frames), ==, bytes);
	g_assert_cmpuint(q.resent, ==, bytes);
	settle(&q, frames, TRUE);
	g_assert_cmpuint(q.backlog, ==, 0);
	sendq_clear(&q);
}

static void what_arrived_after_all_is_not_sent_again(void)
{
	SendQueue q = { 0 };
	g_autoptr(GPtrArray) frames = frames_new(), again = frames_new();
	push(&q, 100000);
	drain(&q, frames);
	g_assert_cmpuint(frames->len, ==, 2);
	for (guint i = 0; i < 2; i++)
		sendq_lost(&q, frames->pdata[i]);
	g_assert_cmpuint(q.pending, ==, 100000);
	sendq_acked(&q, frames->pdata[0]);
	g_assert_cmpuint(q.pending, ==, ((SentFrame *)frames->pdata[1])->len);
	drain(&q, again);
	sendq_acked(&q, frames->pdata[1]);           /* both copies of it arrive */
	sendq_acked(&q, again->pdata[0]);
	g_assert_cmpuint(q.backlog, ==, 0);
	g_assert_cmpuint(q.pending, ==, 0);
	settle(&q, frames, TRUE);
	settle(&q, again, FALSE);
	g_assert_false(sendq_ready(&q, FALSE));
	sendq_clear(&q);
}

static void empty_message_is_sent_until_it_arrives(void)
{
	SendQueue q = { 0 };
	g_autoptr(GPtrArray) frames = frames_new();
	push(&q, 0);
	g_assert_true(sendq_ready(&q, TRUE));
	drain(&q, frames);
	g_assert_cmpuint(frames->len, ==, 1);
	settle(&q, frames, FALSE);
	drain(&q, frames);
	g_assert_cmpuint(frames->len, ==, 1);
	settle(&q, frames, TRUE);
	g_assert_cmpuint(q.n_started, ==, 0);
	sendq_clear(&q);
}

static void pieces_are_not_too_small(void)
{
	SendQueue q = { 0 };
	Fragment f;
	push(&q, 100000);
	g_assert_false(sendq_take(&q, 200, FALSE, TRUE, &f));
	g_assert_false(sendq_take(&q, 2, FALSE, FALSE, &f));
	g_assert_false(sendq_take(&q, 60000, TRUE, FALSE, &f));
	g_assert_true(sendq_take(&q, 60, FALSE, FALSE, &f));
	sendq_forget(&q, f.frame);
	push(&q, 100);
	g_assert_false(sendq_take(&q, 60, TRUE, FALSE, &f));
	g_assert_true(sendq_take(&q, 120, TRUE, TRUE, &f));
	g_assert_cmpuint(f.len, ==, 100);
	sendq_forget(&q, f.frame);
	sendq_clear(&q);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sendq/large_messages_stop_at_the_receivers_limit", large_messages_stop_at_the_receivers_limit);
	g_test_add_func("/sendq/ids_and_unfinished_messages_are_bounded", ids_and_unfinished_messages_are_bounded);
	g_test_add_func("/sendq/lost_bytes_are_sent_again_and_only_those", lost_bytes_are_sent_again_and_only_those);
	g_test_add_func("/sendq/what_arrived_after_all_is_not_sent_again", what_arrived_after_all_is_not_sent_again);
	g_test_add_func("/sendq/empty_message_is_sent_until_it_arrives", empty_message_is_sent_until_it_arrives);
	g_test_add_func("/sendq/pieces_are_not_too_small", pieces_are_not_too_small);
	return g_test_run();
}
