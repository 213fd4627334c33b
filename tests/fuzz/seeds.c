/* Seeds for fuzz_codec, fuzz_map and frames of fuzz_records, always the same for the same tables: seeds DIR writes DIR/codec/seed-*, DIR/map/seed-*, DIR/records/seed-*. */
#include "libmagma/lava/map.h"
#include "libmagma/proto/list.h"
#include "magmad/core/store.h"
#include "magmad/store/frame.h"
#include "tests/unit/anymsg.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED 20
#define MAX_BYTES 24    /* of a field: the fuzzer finds the longer ones itself */

static void save(const char *dir, const char *target, const char *name, const GByteArray *b)
{
	g_autofree char *folder = g_build_filename(dir, target, NULL), *file = g_strdup_printf("%s/seed-%s", folder, name);
	g_autoptr(GError) e = NULL;

	if (g_mkdir_with_parents(folder, 0777) || !g_file_set_contents(file, (const char *)b->data, b->len, &e)) {
		fprintf(stderr, "seeds: cannot write %s\n", file);
		exit(1);
	}
}

/* The set of types that a message carries, as bits. */
static guint types_of(const MagmaField *f, guint n)
{
	guint bits = 0;

	for (guint i = 0; i < n; i++)
		bits |= 1u << f[i].type;
	return bits;
}

/* One message for each set of field types in the table: what differs only in names is the same to the codec. */
static void codec_seeds(const char *dir)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	AnyMsg a;

	anymsg_init(&a, SEED, MAX_BYTES);
	for (guint number = 0; number < MAGMA_OP_LIMIT; number++)
		for (guint kind = MAGMA_REQUEST; kind <= MAGMA_REPLY; kind++) {
			const MagmaOpInfo *info = magma_op_info(number);
			g_autoptr(GByteArray) out = g_byte_array_new();
			MagmaAny fields;
			MagmaHdr h;
			if (!info)
				continue;
			guint bits = kind ? types_of(info->rep, info->nrep) : types_of(info->req, info->nreq);
			if (!g_hash_table_add(seen, GUINT_TO_POINTER(bits << 1 | kind)))
				continue;
			anymsg_header(&a, info, kind, &h);
			anymsg_fields(&a, info, kind, &fields);
			magma_msg_encode(&h, &fields, FALSE, out);
			g_autofree char *name = g_strdup_printf("%s-%s", info->name, kind ? "reply" : "request");
			save(dir, "codec", name, out);
		}
	anymsg_clear(&a);
}

static void add(MagmaMap *m, guint16 id, gboolean ip6, const MagmaRange *slice)
{
	g_autofree char *name = g_strdup_printf("v%u", id), *fqdn = g_strdup_printf("v%u.intranet", id);
	MagmaVolcano v = { .id = id, .state = slice ? MAGMA_ACTIVE : MAGMA_JOINING, .name = name, .fqdn = fqdn, .bandwidth = 100000, .offered = 1u << 30 };

	v.addr = (MagmaAddr){ .family = ip6 ? 6 : 4, .ip = { 10, 0, 0, (guint8)id }, .port = 12000, .scope = ip6 ? id : 0 };
	magma_map_add(m, &v);
	if (slice)
		magma_map_add_slice(m, &(MagmaSlice){ .id = id, .range = *slice, .home = id, .owner = id, .epoch = 1, .ncopies = id == 2, .copies = { { 1, TRUE } } });
}

/* n volcanos that halve what is left, the last `joining` of them still without a slice. */
static void map_seed(const char *dir, const char *name, guint16 n, guint16 joining, gboolean ip6, gboolean moving)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autoptr(MagmaMap) m = magma_map_new((const guint8 *)"0123456789abcdef", 2);
	MagmaRange rest = { MAGMA_KEY_MIN, MAGMA_KEY_MAX };

	for (guint16 id = 1; id <= n; id++) {
		MagmaRange mine = rest;
		if (id < n) {
			mine.hi = magma_range_middle(&rest);
			magma_key_next(&mine.hi, &rest.lo);
		}
		add(m, id, ip6, &mine);
	}
	for (guint16 id = n + 1; id <= n + joining; id++)
		add(m, id, ip6, NULL);
	m->coordinator = n ? 1 : 0;
	if (moving) {
		const MagmaSlice *from = magma_map_home(m, 1);
		m->move = (MagmaMove){ .id = 7, .from = 1, .to = 2, .range = { magma_range_middle(&from->range), from->range.hi },
			.part = { .id = m->next_id++, .home = 2, .owner = 2, .epoch = 7, .ncopies = 1, .copies = { { 1, TRUE } } } };
	}
	g_assert_null(magma_map_seal(m));
	magma_map_encode(m, out);
	save(dir, "map", name, out);
}

/* --- journal frames: the first byte tells fuzz_records what the rest is --- */

#define AS_FRAMES 1
#define AS_FRAME_WITH_RIGHT_SUM 2

static GByteArray *frames_of_each_kind(void)
{
	static const FrameKey key = { "frames of a fuzz" };
	static const guint8 as = AS_FRAMES, ino[8] = { 0, 0, 0, 0, 0, 0, 0, 7 };
	GByteArray *out = g_byte_array_new();
	g_autoptr(GByteArray) frames = g_byte_array_new();
	MagmaKey rk;
	Txn *t = txn_new();

	for (guint i = 0; i < sizeof rk.b; i++)
		rk.b[i] = i;
	txn_put(t, TAB_FLARE, ino, sizeof ino, &rk, "flare", 5);
	txn_del(t, TAB_DIRTY, ino, sizeof ino, &rk);
	const GByteArray *txn = txn_bytes(t);
	frame_put(&key, frames, &(Frame){ .kind = FRAME_TXN, .index = 1, .epoch = 1, .payload = txn->data, .length = txn->len });
	frame_put(&key, frames, &(Frame){ .kind = FRAME_TXN, .index = 2, .epoch = 1, .durable = 1, .payload = txn->data, .length = txn->len });
	frame_put(&key, frames, &(Frame){ .kind = FRAME_FILL, .index = 2, .epoch = 1, .durable = 1, .payload = txn->data, .length = txn->len });
	frame_put(&key, frames, &(Frame){ .kind = FRAME_MARK, .index = 2, .epoch = 1, .durable = 2 });
	txn_free(t);
	g_byte_array_append(out, &as, 1);
	g_byte_array_append(out, frames->data, frames->len);
	return out;
}

static void frame_seeds(const char *dir)
{
	g_autoptr(GByteArray) b = frames_of_each_kind();

	save(dir, "records", "frames", b);
	b->data[0] = AS_FRAME_WITH_RIGHT_SUM;
	save(dir, "records", "frame-sum", b);
	b->data[0] = AS_FRAMES;
	b->data[1 + FRAME_HEADER + 3] ^= 0x10;
	save(dir, "records", "frames-damaged", b);
	b->data[1 + FRAME_HEADER + 3] ^= 0x10;
	g_byte_array_set_size(b, b->len - 9);
	save(dir, "records", "frames-torn", b);
	/* A header alone, its length beyond all bounds; then as a mark. */
	memset(b->data + 1 + 12, 0xff, 4);
	g_byte_array_set_size(b, 1 + FRAME_HEADER);
	b->data[0] = AS_FRAME_WITH_RIGHT_SUM;
	save(dir, "records", "frame-huge", b);
	b->data[1 + 44] = FRAME_MARK;
	save(dir, "records", "frame-mark", b);
	b->data[1 + 44] = FRAME_FILL;
	save(dir, "records", "frame-fill", b);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: seeds DIR\n");
		return 2;
	}
	codec_seeds(argv[1]);
	frame_seeds(argv[1]);
	map_seed(argv[1], "empty", 0, 0, FALSE, FALSE);
	map_seed(argv[1], "one", 1, 0, FALSE, FALSE);
	map_seed(argv[1], "two", 2, 0, FALSE, FALSE);
	map_seed(argv[1], "two-ip6", 2, 0, TRUE, FALSE);
	map_seed(argv[1], "joining", 1, 1, FALSE, FALSE);
	map_seed(argv[1], "joining-moves", 1, 1, FALSE, TRUE);
	map_seed(argv[1], "border-moves", 2, 0, FALSE, TRUE);
	map_seed(argv[1], "only-joining", 0, 1, FALSE, FALSE);
	map_seed(argv[1], "seven", 7, 0, FALSE, FALSE);
	map_seed(argv[1], "seven-moves", 7, 2, TRUE, TRUE);
	return 0;
}
