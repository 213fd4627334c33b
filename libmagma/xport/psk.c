#include "libmagma/xport/xport.h"
#include <openssl/evp.h>

/* Rule H8 of docs/protocol-sessions.md. The salt is a constant because every volcano and client must come to the same key from the
 * secret alone; the cost makes guessing dear. */
#define SCRYPT_N 32768
#define SCRYPT_R 8
#define SCRYPT_P 1
#define SCRYPT_MAXMEM (64u << 20)   /* scrypt needs 128*N*r = 32 MiB and a little; EVP's default limit is 32 MiB exactly */
#define SECRET_MAX 1024

static const char SALT[] = "magma-psk-v1";

gboolean magma_psk_derive(const char *secret, gsize len, guint8 out[MAGMA_PSK_LEN])
{
	if (len < 1 || len > SECRET_MAX)
		return FALSE;
	return EVP_PBE_scrypt(secret, len, (const unsigned char *)SALT, sizeof SALT - 1, SCRYPT_N, SCRYPT_R, SCRYPT_P, SCRYPT_MAXMEM,
			      out, MAGMA_PSK_LEN) == 1;
}
