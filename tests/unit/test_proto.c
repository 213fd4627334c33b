/* libmagma/proto: what holds for every row of the table, and the few things that are not in it. */
#include "libmagma/proto/list.h"
#include "docs/optable.h"
#include "libmagma/base/err.h"
#include "tests/unit/anymsg.h"
#include "tests/unit/exact.h"
#include <errno.h>

static const MagmaMsgKind kinds[] = { MAGMA_REQUEST, MAGMA_REPLY, MAGMA_PUSH };

static void each_message(guint rounds, guint32 max_bytes, void (*check)(AnyMsg *a, const MagmaOpInfo *info, const MagmaHdr *h, const MagmaAny *fields))
{
	AnyMsg a;

	anymsg_init(&a, (guint32)g_test_rand_int(), max_bytes);
	for (guint round = 0; round < rounds; round++)
		for (guint number = 0; number < 256; number++)
			for (guint k = 0; k < G_N_ELEMENTS(kinds); k++) {
				const MagmaOpInfo *info = magma_op_info(number);
				MagmaAny fields;
				MagmaHdr h;
				if (!info)
					continue;
				anymsg_header(&a, info, kinds[k], &h);
				anymsg_fields(&a, info, kinds[k], &fields);
				check(&a, info, &h, &fields);
				g_string_chunk_clear(a.arena);
			}
	anymsg_clear(&a);
}

static void check_round_trip(AnyMsg *a, const MagmaOpInfo *info, const MagmaHdr *h, const MagmaAny *fields)
{
	g_autoptr(GByteArray) out = g_byte_array_new(), alone = g_byte_array_new();
	MagmaAny got;
	MagmaHdr gh;
	gsize fields_at = 0;

	magma_msg_encode(h, fields, FALSE, out);
	guint8 *c = exact_copy(out->data, out->len);
	g_assert_cmpint(magma_msg_decode(c, out->len, &gh, &got), ==, 0);
	g_assert_true(anymsg_headers_equal(h, &gh));
	g_assert_true(anymsg_fields_equal(info, h->kind, fields, &got));

	g_assert_cmpint(magma_msg_peek(c, out->len, &gh, &fields_at), ==, 0);
	g_assert_true(anymsg_headers_equal(h, &gh));
	magma_fields_encode(h->op, h->kind, fields, alone);
	g_assert_cmpmem(alone->data, alone->len, c + fields_at, out->len - fields_at);
	g_assert_cmpint(magma_fields_decode(h->op, h->kind, alone->data, alone->len, &got), ==, 0);
	g_assert_true(anymsg_fields_equal(info, h->kind, fields, &got));
	free(c);
}

static void any_message_survives_the_wire(void)
{
	each_message(30, 70000, check_round_trip);
}

static void the_largest_message_survives_the_wire(void)
{
	each_message(1, MAGMA_DATA_MAX, check_round_trip);
}

static void check_cuts(AnyMsg *a, const MagmaOpInfo *info, const MagmaHdr *h, const MagmaAny *fields)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	MagmaAny got;
	MagmaHdr gh;

	magma_msg_encode(h, fields, FALSE, out);
	for (gsize n = 0; n < out->len; n++) {
		guint8 *c = exact_copy(out->data, n);
		g_assert_cmpint(magma_msg_decode(c, n, &gh, &got), ==, EPROTO);
		free(c);
	}
	magma_put_u8(out, 0);
	g_assert_cmpint(magma_msg_decode(out->data, out->len, &gh, &got), ==, EPROTO);
}

static void cut_or_lengthened_messages_are_refused(void)
{
	each_message(1, 60, check_cuts);
}

/* Decoded means well-formed: what came out can be encoded (which asserts the limits), decoded again, routed and dumped. */
static void feed(const guint8 *p, gsize n)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	guint8 *c = exact_copy(p, n);
	MagmaAny got, again;
	MagmaHdr h, gh;
	MagmaKey key;

	if (magma_msg_decode(c, n, &h, &got) == 0) {
		gboolean none = h.kind == MAGMA_REPLY && h.error;
		magma_msg_encode(&h, none ? NULL : &got, FALSE, out);
		g_assert_cmpmem(out->data, out->len, c, n);     /* there is one encoding of everything */
		g_assert_cmpint(magma_msg_decode(out->data, out->len, &gh, &again), ==, 0);
		g_assert_true(anymsg_headers_equal(&h, &gh));
		if (h.kind == MAGMA_REQUEST)
			magma_msg_route(h.op, &got, &key);
		g_autofree char *line = magma_msg_dump(&h, none ? NULL : &got);
		for (const char *s = line; *s; s++)
			g_assert_true(g_ascii_isprint(*s));
	}
	free(c);
}

static void check_mutants(AnyMsg *a, const MagmaOpInfo *info, const MagmaHdr *h, const MagmaAny *fields)
{
	g_autoptr(GByteArray) out = g_byte_array_new();

	magma_msg_encode(h, fields, FALSE, out);
	for (int hits = 0; hits < 8; hits++) {
		out->data[g_rand_int_range(a->rand, 0, (gint32)out->len)] = (guint8)g_rand_int(a->rand);
		feed(out->data, out->len);
	}
}

static void damaged_messages_are_refused_or_well_formed(void)
{
	each_message(20, 300, check_mutants);
}

static void random_bytes_are_refused_or_well_formed(void)
{
	guint8 b[400];

	for (int round = 0; round < 20000; round++) {
		gsize n = (gsize)g_test_rand_int_range(0, sizeof b + 1);
		for (gsize i = 0; i < n; i++)
			b[i] = (guint8)g_test_rand_int();
		if (n > 2 && g_test_rand_bit()) {       /* past the first checks */
			b[0] = MAGMA_PROTO_VERSION;
			b[1] %= 3;
		}
		feed(b, n);
	}
}

static void check_split(AnyMsg *a, const MagmaOpInfo *info, const MagmaHdr *h, const MagmaAny *fields)
{
	g_autoptr(GByteArray) whole = g_byte_array_new(), head = g_byte_array_new();
	gboolean reply = h->kind == MAGMA_REPLY;
	const MagmaField *f = reply ? info->rep : info->req;
	guint n = reply ? info->nrep : info->nreq;

	magma_msg_encode(h, fields, FALSE, whole);
	magma_msg_encode(h, fields, TRUE, head);
	if (n && f[n - 1].type == MAGMA_F_data) {
		const MagmaBytes *body = (const MagmaBytes *)((const guint8 *)fields + f[n - 1].offset);
		magma_put_bytes(head, body->data, body->len);
	}
	g_assert_cmpmem(whole->data, whole->len, head->data, head->len);
}

static void head_and_body_make_the_message(void)
{
	each_message(3, 1000, check_split);
}

static void check_route(AnyMsg *a, const MagmaOpInfo *info, const MagmaHdr *h, const MagmaAny *fields)
{
	const MagmaField *by = NULL;
	MagmaKey key = { { 0 } };

	for (guint i = 0; i < info->nreq && !by; i++)
		if (info->req[i].type == MAGMA_F_fid)
			by = &info->req[i];
	for (guint i = 0; i < info->nreq && !by; i++)
		if (info->req[i].type == MAGMA_F_key)
			by = &info->req[i];
	if (h->kind != MAGMA_REQUEST)
		return;
	if (info->flags & MAGMA_OP_ANYONE) {
		g_assert_cmpint(info->route, ==, -1);
		g_assert_false(magma_msg_route(h->op, fields, &key));
		return;
	}
	g_assert_nonnull(by);   /* an operation that is not ANYONE's needs a way to its owner */
	g_assert_true(&info->req[info->route] == by);
	g_assert_true(magma_msg_route(h->op, fields, &key));
	g_assert_cmpmem(key.b, sizeof key.b, (const guint8 *)fields + by->offset, sizeof key.b);        /* of a fid, the key comes first */
}

static void requests_are_routed_by_their_first_fid_or_key(void)
{
	G_STATIC_ASSERT(G_STRUCT_OFFSET(MagmaFid, key) == 0);
	each_message(1, 100, check_route);
}

static void the_table_is_sound(void)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
	guint count = 0, rows = 0;

#define MAGMA_X_(op, num, bits) rows++; g_assert_cmpstr(magma_op_info(num)->name, ==, #op); g_assert_cmpuint(magma_op_info(num)->number, ==, num);
	MAGMA_OPS(MAGMA_X_)
#undef MAGMA_X_
	for (guint number = 0; number < 1000; number++) {
		const MagmaOpInfo *info = magma_op_info(number);
		if (!info)
			continue;
		count++;
		g_assert_true(g_hash_table_add(names, (gpointer)info->name));
		for (int side = 0; side < 2; side++) {
			const MagmaField *f = side ? info->rep : info->req;
			guint n = side ? info->nrep : info->nreq;
			for (guint i = 0; i < n; i++) {
				g_assert_cmpint(f[i].type == MAGMA_F_data && i != n - 1, ==, FALSE);    /* data comes last */
				g_assert_cmpstr(magma_field_type_name(f[i].type), !=, "?");
			}
		}
	}
	g_assert_cmpuint(count, ==, rows);      /* no number twice */
	g_assert_null(magma_op_info(0));
	g_assert_null(magma_op_info(MAGMA_OP_LIMIT));
	g_assert_null(magma_op_info(G_MAXUINT));
}

static void header_stands_where_the_document_says(void)
{
	static const guint8 request[] = {
		1, 0, 3, 4, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 6,     /* ping, hops, RETRY, xid, client, epoch */
		0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 3, 0xe8, 0, 0, 0, 100, 0, 022, 0, 1, 0, 0, 0, 200,                    /* watermark ... one group */
	};
	static const guint8 reply[] = { 1, 1, 30, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 2 };
	g_autoptr(GByteArray) out = g_byte_array_new();
	guint8 group[4] = { 0, 0, 0, 200 };
	MagmaHdr h = { .op = MAGMA_OP_ping, .hops = 4, .flags = MAGMA_FLAG_RETRY, .xid = 5, .epoch = 6, .client = G_GUINT64_CONSTANT(0x0102030405060708), .watermark = 4,
		.cred = { .uid = 1000, .gid = 100, .umask = 022, .has_groups = TRUE, .ngroups = 1, .groups_be = group } };
	MagmaAny fields;

	magma_msg_encode(&h, &fields, FALSE, out);
	g_assert_cmpmem(out->data, out->len, request, sizeof request);
	magma_msg_set_hops_flags(out->data, 3, MAGMA_FLAG_FORWARDED);
	g_assert_cmpint(magma_msg_decode(out->data, out->len, &h, &fields), ==, 0);
	g_assert_cmpuint(h.hops, ==, 3);
	g_assert_cmpuint(h.flags, ==, MAGMA_FLAG_FORWARDED);
	g_assert_cmpuint(h.xid, ==, 5);

	g_byte_array_set_size(out, 0);
	h = (MagmaHdr){ .kind = MAGMA_REPLY, .op = MAGMA_OP_getattr, .flags = MAGMA_FLAG_REFRESH_TOPOLOGY, .xid = 5, .client = 9, .epoch = 6, .error = ENOENT };
	magma_msg_encode(&h, NULL, TRUE, out);
	g_assert_cmpmem(out->data, out->len, reply, sizeof reply);
	g_assert_cmpint(magma_msg_decode(out->data, out->len, &h, &fields), ==, 0);
	g_assert_cmpuint(h.error, ==, ENOENT);
	magma_put_u8(out, 0);
	g_assert_cmpint(magma_msg_decode(out->data, out->len, &h, &fields), ==, EPROTO);
}

static int decode_lookup(const void *name, guint16 len, guint at, guint8 value)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	struct magma_req_lookup q = { .dir = magma_fid_root(), .name = MAGMA_BYTES("x", 1) };
	MagmaHdr h = { .op = MAGMA_OP_lookup }, gh;
	MagmaAny got;

	magma_msg_encode(&h, &q, FALSE, out);
	g_byte_array_set_size(out, out->len - 3);
	magma_put_u16(out, len);
	magma_put_bytes(out, name, len);
	if (at != G_MAXUINT)
		out->data[at] = value;
	return magma_msg_decode(out->data, out->len, &gh, &got);
}

static void names_that_are_none_are_refused(void)
{
	g_autofree char *longest = g_strnfill(300, 'x');

	g_assert_cmpint(decode_lookup("x", 1, G_MAXUINT, 0), ==, 0);
	g_assert_cmpint(decode_lookup(longest, 255, G_MAXUINT, 0), ==, 0);
	g_assert_cmpint(decode_lookup(longest, 256, G_MAXUINT, 0), ==, EPROTO);
	g_assert_cmpint(decode_lookup("", 0, G_MAXUINT, 0), ==, EPROTO);
	g_assert_cmpint(decode_lookup(".", 1, G_MAXUINT, 0), ==, EPROTO);
	g_assert_cmpint(decode_lookup("..", 2, G_MAXUINT, 0), ==, EPROTO);
	g_assert_cmpint(decode_lookup("a/b", 3, G_MAXUINT, 0), ==, EPROTO);
	g_assert_cmpint(decode_lookup("a\0b", 3, G_MAXUINT, 0), ==, EPROTO);
}

static void strange_headers_are_refused(void)
{
	g_assert_cmpint(decode_lookup("x", 1, 0, 2), ==, EPROTO);       /* version */
	g_assert_cmpint(decode_lookup("x", 1, 1, 3), ==, EPROTO);       /* kind */
	g_assert_cmpint(decode_lookup("x", 1, 2, 0), ==, EPROTO);       /* operation */
	g_assert_cmpint(decode_lookup("x", 1, 2, 127), ==, EPROTO);
	g_assert_cmpint(decode_lookup("x", 1, 2, 255), ==, EPROTO);
}

static void fields_over_their_limit_are_refused(void)
{
	/* type, and the fields of a message up to the length of its bytes: the rest is the length and so many bytes */
	static const struct { MagmaOp op; MagmaMsgKind kind; gsize before; MagmaFieldType type; } cases[] = {
		{ MAGMA_OP_readlink, MAGMA_REPLY, 0, MAGMA_F_path }, { MAGMA_OP_getxattr, MAGMA_REQUEST, 28, MAGMA_F_text },
		{ MAGMA_OP_getxattr, MAGMA_REPLY, 0, MAGMA_F_blob }, { MAGMA_OP_read, MAGMA_REPLY, 0, MAGMA_F_data },
	};
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
		for (guint32 over = 0; over < 2; over++) {
			g_autoptr(GByteArray) out = g_byte_array_new();
			guint32 n = magma_field_max(cases[i].type) + over;
			g_autofree char *bytes = g_strnfill(n + cases[i].before, 'x');
			MagmaAny got;
			magma_put_bytes(out, bytes, cases[i].before);
			if (cases[i].type == MAGMA_F_path || cases[i].type == MAGMA_F_text)
				magma_put_u16(out, (guint16)n);
			else
				magma_put_u32(out, n);
			magma_put_bytes(out, bytes, n);
			g_assert_cmpint(magma_fields_decode(cases[i].op, cases[i].kind, out->data, out->len, &got), ==, over ? EPROTO : 0);
		}
	g_autoptr(GByteArray) nul = g_byte_array_new();
	MagmaAny got;
	magma_put_u16(nul, 3);
	magma_put_bytes(nul, "a\0b", 3);
	g_assert_cmpint(magma_fields_decode(MAGMA_OP_readlink, MAGMA_REPLY, nul->data, nul->len, &got), ==, EPROTO);
}

static void only_so_many_groups_travel(void)
{
	g_autofree guint8 *groups = g_malloc0(4 * 65534);
	g_autoptr(GByteArray) out = g_byte_array_new();
	MagmaHdr h = { .op = MAGMA_OP_map, .cred = { .has_groups = TRUE, .ngroups = 65534, .groups_be = groups } }, gh;
	MagmaAny none;

	magma_msg_encode(&h, &none, FALSE, out);
	g_assert_cmpint(magma_msg_decode(out->data, out->len, &gh, &none), ==, 0);
	g_assert_cmpuint(gh.cred.ngroups, ==, MAGMA_GROUPS_MAX);
	magma_be32_store(out->data + 48, 022 << 16 | (MAGMA_GROUPS_MAX + 1));
	magma_put_u32(out, 7);
	g_assert_cmpint(magma_msg_decode(out->data, out->len, &gh, &none), ==, EPROTO);
}

static void times_beyond_a_second_are_refused(void)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	MagmaAny fields, got;
	AnyMsg a;

	anymsg_init(&a, (guint32)g_test_rand_int(), 100);
	anymsg_fields(&a, magma_op_info(MAGMA_OP_getattr), MAGMA_REPLY, &fields);
	fields.rep_getattr.attr.ctime.nsec = 1000000000;
	magma_fields_encode(MAGMA_OP_getattr, MAGMA_REPLY, &fields, out);
	g_assert_cmpint(magma_fields_decode(MAGMA_OP_getattr, MAGMA_REPLY, out->data, out->len, &got), ==, EPROTO);
	anymsg_clear(&a);
}

static void lists_come_back(void)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	MagmaDirent in = { .cookie = 7, .fid = magma_fid_root(), .type = S_IFDIR, .name = MAGMA_BYTES("name", 4) }, back;

	magma_put_dirent(out, &in);
	gsize one = out->len;
	magma_put_dirent(out, &in);
	magma_put_counted(out, "abc", 3);
	MagmaReader r = magma_reader(out->data, out->len);
	for (int i = 0; i < 2; i++) {
		magma_get_dirent(&r, &back);
		g_assert_false(r.error);
		g_assert_cmpuint(back.cookie, ==, 7);
		g_assert_true(magma_fid_equal(&back.fid, &in.fid));
		g_assert_cmpuint(back.type, ==, S_IFDIR);
		g_assert_cmpmem(back.name.data, back.name.len, "name", 4);
	}
	MagmaBytes b = magma_get_counted(&r, 3);
	g_assert_cmpmem(b.data, b.len, "abc", 3);
	g_assert_false(r.error);
	g_assert_cmpuint(r.left, ==, 0);

	r = magma_reader(out->data + 2 * one, out->len - 2 * one);
	b = magma_get_counted(&r, 2);           /* over its limit */
	g_assert_true(r.error && b.len == 0 && b.data == NULL);
	for (gsize n = 0; n < one; n++) {
		r = magma_reader(out->data, n);
		magma_get_dirent(&r, &back);
		g_assert_true(r.error && back.name.len == 0);
	}
	out->data[one - 1] = '/';
	r = magma_reader(out->data, out->len);
	magma_get_dirent(&r, &back);
	g_assert_true(r.error);
}

static void dump_is_one_short_line(void)
{
	struct magma_req_lookup q = { .dir = magma_fid_root(), .name = MAGMA_BYTES_STR("read me\n\033[2J\\\xff") };
	MagmaHdr h = { .op = MAGMA_OP_lookup, .xid = 5, .epoch = 2, .client = 0xab, .cred = { .uid = 1000, .gid = 100 }, .flags = MAGMA_FLAG_RETRY };
	g_autofree char *line = magma_msg_dump(&h, (const MagmaAny *)&q);

	g_assert_cmpstr(line, ==, "lookup dir=42099b4a...:1 name=read\\040me\\012\\033[2J\\134\\377 xid=5 client=00000000000000ab epoch=2 uid=1000 gid=100 retry");
	h = (MagmaHdr){ .kind = MAGMA_REPLY, .op = MAGMA_OP_lookup, .xid = 5, .epoch = 2, .error = MAGMA_EMAP };
	g_autofree char *refused = magma_msg_dump(&h, NULL);
	g_autofree char *want = g_strdup_printf("lookup reply error=%d (%s) xid=5 client=0000000000000000 epoch=2", MAGMA_EMAP, magma_strerror(MAGMA_EMAP));
	g_assert_cmpstr(refused, ==, want);
	h.error = 0;
	h.op = MAGMA_OP_read;
	struct magma_rep_read rep = { .data = MAGMA_BYTES_STR("secret") };
	g_autofree char *data = magma_msg_dump(&h, (const MagmaAny *)&rep);
	g_assert_cmpstr(data, ==, "read reply data=[6] xid=5 client=0000000000000000 epoch=2");
}

static void check_dump(AnyMsg *a, const MagmaOpInfo *info, const MagmaHdr *h, const MagmaAny *fields)
{
	g_autofree char *line = magma_msg_dump(h, fields);

	g_assert_true(g_str_has_prefix(line, info->name));
	g_assert_cmpuint(strlen(line), <, 1024);
}

static void any_message_has_a_dump_within_a_log_line(void)
{
	each_message(3, 5000, check_dump);
}

/* A file of the source tree; make check says where that is. */
static char *source_file(const char *a, const char *b)
{
	const char *src = g_getenv("srcdir");
	return g_build_filename(src ? src : ".", a, b, NULL);
}

static void has_the_table_as_it_is(const char *name, char *(*update)(const char *text))
{
	g_autofree char *path = source_file("docs", name), *text = NULL, *want = NULL;
	g_autoptr(GError) e = NULL;

	if (!g_getenv("srcdir") && !g_file_test(path, G_FILE_TEST_EXISTS)) {
		g_test_skip("srcdir is not set");
		return;
	}
	g_file_get_contents(path, &text, NULL, &e);
	g_assert_no_error(e);
	want = update(text);
	g_assert_nonnull(want);
	if (strcmp(text, want) != 0)
		g_test_message("docs/%s is older than the table of operations: make protocol-doc", name);
	g_assert_true(strcmp(text, want) == 0);
}

static void the_document_has_the_table_as_it_is(void) { has_the_table_as_it_is("protocol.md", optable_update); }
static void the_dissector_has_the_table_as_it_is(void) { has_the_table_as_it_is("magma.lua", optable_update_lua); }

static void fuzz_seeds_are_still_messages(void)
{
	g_autofree char *path = source_file("tests/fuzz/corpus", "codec");
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;
	guint seeds = 0;

	if (!g_getenv("srcdir") && !dir) {
		g_test_skip("srcdir is not set");
		return;
	}
	g_assert_nonnull(dir);
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL), *bytes = NULL;
		MagmaAny fields;
		MagmaHdr h;
		gsize n;
		if (!g_str_has_prefix(name, "seed-"))
			continue;
		g_assert_true(g_file_get_contents(file, &bytes, &n, NULL));
		if (magma_msg_decode((const guint8 *)bytes, n, &h, &fields))
			g_error("%s is no message any more: make fuzz-seeds", name);
		seeds++;
	}
	g_assert_cmpuint(seeds, >=, 12);
}

/* What is stamped into an encoded request in place is what its reader finds. */
static void header_stamps_are_where_the_decoder_looks(void)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	struct magma_req_getattr q = { .fid = magma_fid_root() };
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = MAGMA_OP_getattr, .hops = 4, .xid = 7, .client = 1, .epoch = 2, .watermark = 3 }, got;
	MagmaAny any;

	magma_msg_encode(&h, &q, FALSE, out);
	magma_msg_set_sender(out->data, 22, 11, 33);
	magma_msg_set_hops_flags(out->data, 2, MAGMA_FLAG_RETRY);
	g_assert_cmpint(magma_msg_decode(out->data, out->len, &got, &any), ==, 0);
	g_assert_cmpuint(got.xid, ==, 7);
	g_assert_cmpuint(got.client, ==, 11);
	g_assert_cmpuint(got.epoch, ==, 22);
	g_assert_cmpuint(got.watermark, ==, 33);
	g_assert_cmpuint(got.hops, ==, 2);
	g_assert_cmpuint(got.flags, ==, MAGMA_FLAG_RETRY);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/proto/" #name, name)
	ADD(header_stamps_are_where_the_decoder_looks);
	ADD(the_table_is_sound);
	ADD(header_stands_where_the_document_says);
	ADD(any_message_survives_the_wire);
	ADD(the_largest_message_survives_the_wire);
	ADD(head_and_body_make_the_message);
	ADD(cut_or_lengthened_messages_are_refused);
	ADD(damaged_messages_are_refused_or_well_formed);
	ADD(random_bytes_are_refused_or_well_formed);
	ADD(names_that_are_none_are_refused);
	ADD(strange_headers_are_refused);
	ADD(fields_over_their_limit_are_refused);
	ADD(only_so_many_groups_travel);
	ADD(times_beyond_a_second_are_refused);
	ADD(requests_are_routed_by_their_first_fid_or_key);
	ADD(lists_come_back);
	ADD(dump_is_one_short_line);
	ADD(any_message_has_a_dump_within_a_log_line);
	ADD(the_document_has_the_table_as_it_is);
	ADD(the_dissector_has_the_table_as_it_is);
	ADD(fuzz_seeds_are_still_messages);
	return g_test_run();
}
