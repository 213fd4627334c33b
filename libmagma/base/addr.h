/* A UDP address, IPv4 or IPv6, small, comparable and free of system types. */
#pragma once
#include <glib.h>
#include "libmagma/base/wire.h"

typedef struct {
	guint8 family;      /* 4, 6, or 0 for none */
	guint8 ip[16];      /* network order; IPv4 uses the first four, the rest zero */
	guint16 port;       /* host order */
	guint32 scope;      /* IPv6 link-local scope, else 0 */
} MagmaAddr;

#define MAGMA_ADDR_TEXT 64
gboolean magma_addr_equal(const MagmaAddr *a, const MagmaAddr *b);
guint magma_addr_hash(gconstpointer addr);
/* "192.168.1.20:12000", "[::1]:12000" into out[MAGMA_ADDR_TEXT]; returns out. */
char *magma_addr_format(const MagmaAddr *a, char *out);
/* Without the port. */
char *magma_addr_format_ip(const MagmaAddr *a, char *out);
/* Numeric "1.2.3.4", "1.2.3.4:99", "::1", "[::1]:99"; a scope as a number ("fe80::1%2"); port from
 * default_port where the text has none. No name service. */
gboolean magma_addr_parse(const char *text, guint16 default_port, MagmaAddr *out);
MagmaAddr magma_addr_with_port(const MagmaAddr *a, guint16 port);

/* u8 family; 4 or 16 bytes of address; IPv6: u32 scope; u16 port. Family 0 stands alone. */
void magma_put_addr(GByteArray *out, const MagmaAddr *a);
void magma_get_addr(MagmaReader *r, MagmaAddr *out);
