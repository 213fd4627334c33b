/* systemd's readiness protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET. */
#pragma once
#include <glib.h>

/* state: lines such as "READY=1". Does nothing where no $NOTIFY_SOCKET is set; a socket that does not take it is ignored. */
void notify_send(const char *state);
