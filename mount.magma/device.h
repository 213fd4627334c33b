/* /dev/fuse in the main loop: requests are read as long as there are some, in bounded turns. */
#pragma once
#include "mount.magma/mount.h"

/* The session must be mounted. on_ready: the kernel's first request (INIT) is answered. on_end: the connection is over (unmounted). */
Device *device_new(Mount *m, void (*on_ready)(Mount *m), void (*on_end)(Mount *m));
void device_free(Device *d);
/* Inside a request handler: the bytes at p, which lie in the request being handled, as GBytes without copying them; the buffer goes back
 * to the pool with the last reference. */
GBytes *device_take(Device *d, const void *p, gsize n);
