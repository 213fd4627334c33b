/* The table of ops.h as data: fields with their places in the structs, and what routes a request. */
#include "libmagma/proto/msg.h"
#include <stddef.h>

/* Each row becomes a function with its descriptors as constants: a function, because only inside one can F(type, name) know the
 * struct it stands for (Req, Rep) and the index of its field (i_name). */
#define REQ_FIELD_(type, name) { MAGMA_F_##type, offsetof(Req, name), #name },
#define REP_FIELD_(type, name) { MAGMA_F_##type, offsetof(Rep, name), #name },
#define INDEX_(type, name) i_##name,
#define FIRST_FID_(type, name) MAGMA_F_##type == MAGMA_F_fid ? (int)i_##name :
#define FIRST_KEY_(type, name) MAGMA_F_##type == MAGMA_F_key ? (int)i_##name :
#define END_(S) { MAGMA_F_u8, offsetof(S, none_), NULL }

#define OP_(op, num, bits) \
	G_STATIC_ASSERT((num) > 0 && (num) < MAGMA_OP_LIMIT); \
	G_STATIC_ASSERT(((bits) & (MAGMA_OP_CLIENT | MAGMA_OP_NODE)) != 0); \
	static const MagmaOpInfo *info_##op(void) \
	{ \
		typedef struct magma_req_##op Req; \
		typedef struct magma_rep_##op Rep; \
		enum { MAGMA_REQ_##op(INDEX_) i_none_ }; \
		static const MagmaField req[] = { MAGMA_REQ_##op(REQ_FIELD_) END_(Req) }; \
		static const MagmaField rep[] = { MAGMA_REP_##op(REP_FIELD_) END_(Rep) }; \
		static const MagmaOpInfo info = { \
			.name = #op, .number = (num), .flags = (bits), \
			.req = req, .nreq = G_N_ELEMENTS(req) - 1, \
			.rep = rep, .nrep = G_N_ELEMENTS(rep) - 1, \
			.route = ((bits) & MAGMA_OP_ANYONE) ? -1 : MAGMA_REQ_##op(FIRST_FID_) MAGMA_REQ_##op(FIRST_KEY_) -1, \
		}; \
		G_STATIC_ASSERT(i_none_ == G_N_ELEMENTS(req) - 1); \
		return &info; \
	}
MAGMA_OPS(OP_)

const MagmaOpInfo *magma_op_info(guint number)
{
	static const MagmaOpInfo *(*const infos[MAGMA_OP_LIMIT])(void) = {
#define MAGMA_X_(op, num, bits) [num] = info_##op,
		MAGMA_OPS(MAGMA_X_)
#undef MAGMA_X_
	};
	return number < MAGMA_OP_LIMIT && infos[number] ? infos[number]() : NULL;
}

const char *magma_field_type_name(MagmaFieldType type)
{
	static const char *const names[] = { "u8", "u16", "u32", "u64", "i64", "key", "fid", "ts", "attr", "name", "path", "text", "blob", "data" };

	G_STATIC_ASSERT(G_N_ELEMENTS(names) == MAGMA_F_data + 1);
	return (guint)type < G_N_ELEMENTS(names) ? names[type] : "?";
}

guint32 magma_field_max(MagmaFieldType type)
{
	switch (type) {
	case MAGMA_F_name: return MAGMA_NAME_MAX;
	case MAGMA_F_path: return MAGMA_PATH_MAX;
	case MAGMA_F_text: return MAGMA_TEXT_MAX;
	case MAGMA_F_blob: return MAGMA_BLOB_MAX;
	case MAGMA_F_data: return MAGMA_DATA_MAX;
	default: return 0;
	}
}
