/* Any message: header and fields filled at random from the table, for tests and fuzz seeds. Bytes live in the arena. */
#pragma once
#include "libmagma/proto/msg.h"

typedef struct {
	GRand *rand;
	GStringChunk *arena;
	guint32 max_bytes;            /* of a field of bytes; its own limit still holds */
} AnyMsg;

void anymsg_init(AnyMsg *a, guint32 seed, guint32 max_bytes);
void anymsg_clear(AnyMsg *a);
void anymsg_header(AnyMsg *a, const MagmaOpInfo *info, MagmaMsgKind kind, MagmaHdr *h);
void anymsg_fields(AnyMsg *a, const MagmaOpInfo *info, MagmaMsgKind kind, MagmaAny *out);
gboolean anymsg_fields_equal(const MagmaOpInfo *info, MagmaMsgKind kind, const MagmaAny *x, const MagmaAny *y);
gboolean anymsg_headers_equal(const MagmaHdr *x, const MagmaHdr *y);
