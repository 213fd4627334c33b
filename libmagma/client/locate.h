/* Where a flare is, as one line for people and scripts: what magma-locate prints and mount.magma answers for the extended attribute "magma.locate". */
#pragma once
#include "libmagma/lava/map.h"
#include "libmagma/flare/flare.h"

#define MAGMA_LOCATE_XATTR "magma.locate"

/* "KEY  INO  OWNER ADDRESS (MIRRORS)": key at birth in hex, ino, nickname and flare address of the owner, and in brackets the mirrors' nicknames or
 * "1 copy" where there are none. Free with g_free. Pure; any thread. */
char *magma_locate_text(const MagmaMap *map, const MagmaFid *fid);
