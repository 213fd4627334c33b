# the consensus core
check_PROGRAMS += tests/unit/test_raft_core
TESTS += tests/unit/test_raft_core
tests_unit_test_raft_core_SOURCES = tests/unit/test_raft_core.c tests/unit/raft_kit.c tests/unit/raft_kit.h
tests_unit_test_raft_core_LDADD = magmad/libraft.a $(UNIT_LIBS)
