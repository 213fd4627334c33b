/* From options to a running mount and back: contact, mount point, background, signals, the end. */
#pragma once
#include "mount.magma/options.h"

/* Derives the key, meets the network, mounts, serves until unmounted. report(user) is called once when the mount works. Returns the exit status:
 * 0 after a clean end, 1 with one line said why where the mount did not come about. dir: the mount point, absolute. secret: is overwritten. */
int mount_run(const MountOptions *opts, const char *dir, char *secret, void (*report)(void *user), void *user);
