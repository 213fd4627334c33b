/* The kernel's first request, and what libfuse cannot say in its answer. */
#pragma once
#include "mount.magma/mount.h"

/* Lets libfuse answer INIT (request), and puts into the answer what the kernel offers and libfuse up to 3.16 leaves out, some of it although it was
 * asked to: that lookups in one directory may be under way at once, and that setuid, setgid and capabilities are ours to clear (version 2: the
 * kernel also remembers that a file has none, and stops asking for security.capability before each write(2)). */
void init_answer(Mount *m, const struct fuse_buf *request);
