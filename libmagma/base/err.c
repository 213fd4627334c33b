#include "libmagma/base/err.h"

GQuark magma_error_quark(void)
{
	return g_quark_from_static_string("magma-error");
}

const char *magma_strerror(int code)
{
	switch (code) {
	case 0: return "success";
	case MAGMA_EAUTH: return "authentication failed";
	case MAGMA_ENOBODY: return "nobody answers";
	case MAGMA_EPROTO: return "not the Magma protocol, or another version of it";
	case MAGMA_EMAP: return "the lava map has changed";
	case MAGMA_EEXPIRED: return "this client was silent too long and has been forgotten";
	case MAGMA_ENEEDGROUPS: return "the caller's supplementary groups are needed";
	case MAGMA_EBACKOFF: return "an older operation goes first";
	case MAGMA_ETRYAGAIN: return "not ready yet, try again";
	case MAGMA_ENOTOWNER: return "that key belongs to another volcano";
	default: return g_strerror(code);
	}
}
