check_PROGRAMS += tests/sim/test_sessions
TESTS += tests/sim/test_sessions
tests_sim_test_sessions_SOURCES = tests/sim/test_sessions.c tests/sim/simnet.c tests/sim/simnet.h
tests_sim_test_sessions_LDADD = $(UNIT_LIBS)
