include tests/sim/sessions.mk
