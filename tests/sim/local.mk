include tests/sim/sessions.mk
include tests/sim/volcano.mk
include tests/sim/raft.mk
include tests/sim/mirror.mk
