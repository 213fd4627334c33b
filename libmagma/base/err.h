/* Errors: a GError whose domain is MAGMA_ERROR and whose code is an errno, or one of the codes below where no errno says it. */
#pragma once
#include <glib.h>

#define MAGMA_ERROR magma_error_quark()
GQuark magma_error_quark(void);

enum {
	MAGMA_EAUTH = 10001,   /* the other side does not know our key */
	MAGMA_ENOBODY,         /* nobody answers at the address */
	MAGMA_EPROTO,          /* bytes that are not of the protocol, or of another version */
	MAGMA_EMAP,            /* REFRESH: the lava map used is too old (never reaches a user) */
	MAGMA_EEXPIRED,        /* this client was silent too long and was forgotten */
	MAGMA_ENEEDGROUPS,     /* the answer depends on the caller's supplementary groups: send them */
	MAGMA_EBACKOFF,        /* (node protocol) the younger operation backs off and tries again */
	MAGMA_ETRYAGAIN,       /* not now (range frozen, volcano starting): repeat with the same transaction id */
	MAGMA_ENOTOWNER,       /* (node protocol) the receiver does not own that key */
};

/* Text for an errno or a code above; static storage. */
const char *magma_strerror(int code);
