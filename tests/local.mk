# Tests that `make check` runs: unit, sim, fuzz replay. The system tests need root and are run by tests/run.
UNIT_LIBS = libmagma/libmagma-core.la $(GLIB_LIBS) $(GIO_LIBS) $(OPENSSL_LIBS)
include tests/unit/low.mk
include tests/unit/xport.mk
include tests/unit/net.mk
include tests/unit/client.mk
include tests/unit/store.mk
include tests/unit/core.mk
include tests/unit/raft.mk
include tests/unit/group.mk
include tests/unit/console.mk
include tests/unit/mount.mk
include tests/sim/local.mk
include tests/fuzz/local.mk
EXTRA_DIST += tests/run
include tests/system/local.mk
include tests/bench/local.mk
