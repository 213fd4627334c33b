/* Waiting without sleeping, for the microseconds in which the next message usually comes: waking a sleeping process on another processor costs
 * more (20-30 us on a virtual machine) than most operations do. */
#pragma once
#include <glib.h>

/* Makes the context's poll look again and again, giving the processor to whoever else wants it, before it sleeps; but only while the waits of the last
 * turns were so short that this pays, so an idle or a slow network costs nothing. Call once per context, before it runs; any thread.
 * MAGMA_NET_SPIN=N in the environment: up to N microseconds instead of the default, 0 for never. */
void magma_net_spin(GMainContext *ctx);
