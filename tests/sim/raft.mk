# the consensus core, compiled a second time with bugs that can be planted
check_PROGRAMS += tests/sim/test_raft
TESTS += tests/sim/test_raft
tests_sim_test_raft_SOURCES = tests/sim/test_raft.c tests/sim/raftsim.c tests/sim/raftsim.h tests/sim/raftcheck.c tests/sim/raftplay.c tests/sim/raftscene.c tests/sim/raftscene.h $(RAFT_SOURCES)
tests_sim_test_raft_CPPFLAGS = $(AM_CPPFLAGS) -DRAFT_PLANT
tests_sim_test_raft_LDADD = $(UNIT_LIBS)
