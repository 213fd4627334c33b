include tests/sim/sessions.mk
include tests/sim/volcano.mk
