# magmad: core, raft, store and console are archives that the tests link too.
include magmad/core/local.mk
include magmad/raft/local.mk
include magmad/store/local.mk
include magmad/mirror/local.mk
include magmad/console/local.mk
# the daemon itself: main, options, configuration, log, shell
include magmad/daemon.mk
