/* libmagma: what a program over the Magma protocols needs. Link with pkg-config libmagma. */
#pragma once
#include "libmagma/base/err.h"
#include "libmagma/base/wire.h"
#include "libmagma/base/addr.h"
#include "libmagma/base/trace.h"
#include "libmagma/key/key.h"
#include "libmagma/flare/flare.h"
#include "libmagma/lava/map.h"
#include "libmagma/proto/msg.h"
#include "libmagma/proto/list.h"
#include "libmagma/xport/xport.h"
#include "libmagma/net/net.h"
#include "libmagma/client/client.h"
