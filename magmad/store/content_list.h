/* The listing behind store_content_list(): see core/store.h. Loop thread only; done comes from the pool. */
#pragma once
#include "magmad/core/store.h"
#include "magmad/store/pool.h"

/* root: descriptor of DIR/content, open until the pool has ended. */
void content_list(Pool *pool, int root, guint folder, void (*done)(void *user, int error, const MagmaFid *fids, guint n, guint next), void *user);
