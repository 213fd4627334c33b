/* Messages: header and codec, driven by the table in ops.h. Pure; any thread. docs/protocol.md, part "Messages". */
#pragma once
#include <glib.h>
#include "libmagma/base/wire.h"
#include "libmagma/proto/ops.h"

#define MAGMA_PROTO_VERSION 1
#define MAGMA_TEXT_MAX 1024           /* bytes of a text field: names of attributes (255) and volcanos (255), sentences for people */
#define MAGMA_BLOB_MAX 65536          /* bytes of a blob field: MAGMA_XATTR_MAX */

typedef struct {
	const guint8 *data;
	guint32 len;
} MagmaBytes;
#define MAGMA_BYTES(p, n) ((MagmaBytes){ (const guint8 *)(p), (guint32)(n) })
#define MAGMA_BYTES_STR(s) ((MagmaBytes){ (const guint8 *)(s), (guint32)strlen(s) })

typedef guint8 magma_t_u8;
typedef guint16 magma_t_u16;
typedef guint32 magma_t_u32;
typedef guint64 magma_t_u64;
typedef gint64 magma_t_i64;
typedef MagmaKey magma_t_key;
typedef MagmaFid magma_t_fid;
typedef MagmaTs magma_t_ts;
typedef MagmaAttr magma_t_attr;
typedef MagmaBytes magma_t_name, magma_t_path, magma_t_text, magma_t_blob, magma_t_data;

/* enum MagmaOp: MAGMA_OP_lookup = 10, ... */
typedef enum {
#define MAGMA_X_(name, number, flags) MAGMA_OP_##name = number,
	MAGMA_OPS(MAGMA_X_)
#undef MAGMA_X_
} MagmaOp;
#define MAGMA_OP_LIMIT 128            /* above every number */

/* struct magma_req_lookup { MagmaFid dir; MagmaBytes name; char none_; }; ... (none_ so that no struct is empty) */
#define MAGMA_FIELD_(type, name) magma_t_##type name;
#define MAGMA_X_(name, number, flags) \
	struct magma_req_##name { MAGMA_REQ_##name(MAGMA_FIELD_) char none_; }; \
	struct magma_rep_##name { MAGMA_REP_##name(MAGMA_FIELD_) char none_; };
MAGMA_OPS(MAGMA_X_)
#undef MAGMA_X_
#undef MAGMA_FIELD_

/* Room for the decoded fields of any request or reply. */
typedef union {
#define MAGMA_X_(name, number, flags) struct magma_req_##name req_##name; struct magma_rep_##name rep_##name;
	MAGMA_OPS(MAGMA_X_)
#undef MAGMA_X_
} MagmaAny;

typedef enum { MAGMA_REQUEST = 0, MAGMA_REPLY = 1, MAGMA_PUSH = 2 } MagmaMsgKind;

enum {
	MAGMA_FLAG_REFRESH_TOPOLOGY = 1,   /* reply: your map is older than mine */
	MAGMA_FLAG_RETRY = 2,              /* request: may have been sent before */
	MAGMA_FLAG_FORWARDED = 4,          /* came through another volcano */
};
#define MAGMA_HOPS 4                   /* hop limit of a fresh request */

typedef struct {
	MagmaMsgKind kind;
	MagmaOp op;
	guint8 hops;
	guint32 flags;
	guint64 xid;                  /* of this client; replies repeat it */
	guint64 client;               /* random, one per mount or tool; 0: none (node operations); replies repeat it */
	guint64 epoch;                /* of the sender's map */
	/* requests */
	guint64 watermark;            /* lowest xid of the client still without an answer */
	MagmaCred cred;
	/* replies */
	guint32 error;                /* 0, an errno, or MAGMA_E*; not 0: no fields follow */
} MagmaHdr;

/* A row of the table as data. */
typedef enum { MAGMA_F_u8, MAGMA_F_u16, MAGMA_F_u32, MAGMA_F_u64, MAGMA_F_i64, MAGMA_F_key, MAGMA_F_fid, MAGMA_F_ts, MAGMA_F_attr,
	MAGMA_F_name, MAGMA_F_path, MAGMA_F_text, MAGMA_F_blob, MAGMA_F_data } MagmaFieldType;
typedef struct { MagmaFieldType type; guint16 offset; const char *name; } MagmaField;
typedef struct {
	const char *name;
	guint8 number;
	guint flags;
	const MagmaField *req, *rep;  /* nreq, nrep of them */
	guint nreq, nrep;
	int route;                    /* index in req of the field that routes it; -1: none */
} MagmaOpInfo;
const MagmaOpInfo *magma_op_info(guint number);      /* NULL: no such operation */
/* "u8" ... "data", as in the table. */
const char *magma_field_type_name(MagmaFieldType type);
/* Limit in bytes of a field of MagmaBytes; 0 for the other types. */
guint32 magma_field_max(MagmaFieldType type);

/* Header and fields appended to out. With split, the bytes of a trailing data field are left out (only its length is written): they
 * follow as the body of magma_conn_send. fields may be NULL for a reply with an error. Fields over their limit, and empty names, are the caller's bug (asserted);
 * of more than MAGMA_GROUPS_MAX groups the first are sent. A push has the header of neither a request nor a reply, and the fields of a request. */
void magma_msg_encode(const MagmaHdr *h, const void *fields, gboolean split, GByteArray *out);
/* Decodes a whole message; fields point into p. 0 or EPROTO: unknown operation, a field over its limit, too short, bytes left over.
 * Not checked here: whether a session of that kind may ask for it (MAGMA_OP_NODE, MAGMA_OP_CLIENT). */
int magma_msg_decode(const guint8 *p, gsize n, MagmaHdr *h, MagmaAny *fields);
/* Only the header; what follows starts at *fields_at. For forwarding. */
int magma_msg_peek(const guint8 *p, gsize n, MagmaHdr *h, gsize *fields_at);
/* The key that routes a decoded request; FALSE: the operation is not routed. */
gboolean magma_msg_route(MagmaOp op, const MagmaAny *fields, MagmaKey *key);
/* Fields alone, as they stand behind the header (stored replies, tests). */
void magma_fields_encode(MagmaOp op, MagmaMsgKind kind, const void *fields, GByteArray *out);
int magma_fields_decode(MagmaOp op, MagmaMsgKind kind, const guint8 *p, gsize n, MagmaAny *fields);
/* Adjusts an encoded message in place, where it stands fixed: hops, flags. */
void magma_msg_set_hops_flags(guint8 *msg, guint8 hops, guint32 flags);
/* The same for a request that its client sends again: what may have changed since. */
void magma_msg_set_sender(guint8 *msg, guint64 epoch, guint64 client, guint64 watermark);
/* One line for the debug channels: "lookup dir=0c1f...:12 name=readme.txt". Free with g_free. */
char *magma_msg_dump(const MagmaHdr *h, const MagmaAny *fields);
