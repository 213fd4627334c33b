/* Bytes as what the consensus core keeps and hears. First byte: 0 a state, else messages, each with a sender and two bytes of length before it, for a leader and for a volcano that joins. */
#include "tests/fuzz/fuzz.h"
#include "libmagma/base/wire.h"
#include "magmad/raft/raft.h"

/* A step, and all disks at once. */
static void step(Raft *r, RaftState *disk, const RaftEvent *ev, gint64 now)
{
	RaftOut out;
	guint64 number = 0;

	raft_out_init(&out);
	raft_step(r, ev, now, &out);
	for (guint i = 0; i < out.actions->len; i++) {
		const RaftAction *a = &g_array_index(out.actions, RaftAction, i);
		if (a->type == RAFT_DO_PERSIST) {
			raft_state_apply(disk, &a->persist);
			number = a->persist.number;
		}
	}
	raft_out_clear(&out);
	if (number)
		step(r, disk, &(RaftEvent){ .type = RAFT_EV_PERSISTED, .number = number }, now);
}

static Raft *core_new(guint16 id, const RaftState *s)
{
	RaftConfig cfg = raft_config_default;

	cfg.id = id;
	cfg.life = cfg.seed = 1;
	return raft_new(&cfg, s, 1000000);
}

/* What is on disk is a state again. */
static void check_disk(const RaftState *disk)
{
	g_autoptr(GByteArray) out = g_byte_array_new();

	raft_state_encode(disk, out);
	g_autoptr(RaftState) again = raft_state_decode(out->data, out->len);
	g_assert_nonnull(again);
}

static void as_state(const guint8 *p, gsize n)
{
	g_autoptr(RaftState) s = raft_state_decode(p, n);
	g_autoptr(GByteArray) out = g_byte_array_new();

	if (!s)
		return;
	raft_state_encode(s, out);
	g_assert_cmpmem(out->data, out->len, p, n);
	g_autoptr(Raft) r = core_new(1, s);
	for (guint i = 0; i < 8; i++)
		step(r, s, &(RaftEvent){ .type = RAFT_EV_TICK }, 1000000 + i * 500000);
	check_disk(s);
}

static void as_messages(const guint8 *p, gsize n)
{
	MagmaReader in = magma_reader(p, n);
	g_autoptr(GBytes) map = g_bytes_new("map", 3);
	g_autoptr(RaftState) one = raft_state_bootstrap(1, map), two = raft_state_new();
	g_autoptr(Raft) leader = core_new(1, one), joins = core_new(2, two);
	gint64 now = 1000000;

	step(leader, one, &(RaftEvent){ .type = RAFT_EV_TICK }, now);
	while (in.left && !in.error) {
		guint16 from = magma_get_u8(&in), length = magma_get_u16(&in);
		const guint8 *bytes = magma_get_bytes(&in, MIN(length, in.left));
		RaftMsg m;
		now += 10000;
		if (!bytes || !raft_msg_decode(bytes, (gsize)(in.p - bytes), &m))
			continue;
		step(leader, one, &(RaftEvent){ .type = RAFT_EV_MESSAGE, .from = from, .msg = &m }, now);
		step(joins, two, &(RaftEvent){ .type = RAFT_EV_MESSAGE, .from = from, .msg = &m }, now);
		raft_msg_clear(&m);
	}
	check_disk(one);
	check_disk(two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] == 0)
		as_state(data + 1, size - 1);
	else
		as_messages(data + 1, size - 1);
	return 0;
}
