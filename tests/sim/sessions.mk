SESSION_TESTS = tests/sim/test_sessions tests/sim/test_hostile
SESSION_NET = tests/sim/simnet.c tests/sim/simnet.h tests/sim/pair.c tests/sim/pair.h
check_PROGRAMS += $(SESSION_TESTS)
TESTS += $(SESSION_TESTS)
tests_sim_test_sessions_SOURCES = tests/sim/test_sessions.c $(SESSION_NET)
tests_sim_test_sessions_LDADD = $(UNIT_LIBS)
tests_sim_test_hostile_SOURCES = tests/sim/test_hostile.c $(SESSION_NET)
tests_sim_test_hostile_LDADD = $(UNIT_LIBS)
