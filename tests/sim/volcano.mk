# whole volcanos in a simulated network
SIM_CLUSTER = tests/sim/world.c tests/sim/world.h tests/sim/link.c tests/sim/node.c tests/sim/cluster.c tests/sim/cluster.h tests/sim/cluster-internal.h tests/sim/simclient.c tests/sim/faults.c tests/sim/faults.h tests/sim/safety.c tests/sim/safety.h $(MEMSTORE)
LINCHECK = tests/sim/lincheck.c tests/sim/lincheck.h tests/sim/linmodel.c tests/sim/linmodel.h
check_PROGRAMS += tests/sim/test_volcano
TESTS += tests/sim/test_volcano
tests_sim_test_volcano_SOURCES = tests/sim/killed.c tests/sim/test_volcano.c tests/sim/runner.c tests/sim/runner.h tests/sim/workload.h tests/sim/alone.c tests/sim/alone_check.c tests/sim/alone.h tests/sim/many.c tests/sim/linear.c $(LINCHECK) tests/sim/power.c tests/sim/two.c tests/sim/fsck.c tests/sim/fsck.h $(SIM_CLUSTER)
tests_sim_test_volcano_LDADD = magmad/libcore.a magmad/libmirror.a magmad/libraft.a $(UNIT_LIBS)
check_PROGRAMS += tests/sim/test_repeats
TESTS += tests/sim/test_repeats
tests_sim_test_repeats_SOURCES = tests/sim/killed.c tests/sim/test_repeats.c $(SIM_CLUSTER)
tests_sim_test_repeats_LDADD = magmad/libcore.a magmad/libmirror.a magmad/libraft.a $(UNIT_LIBS)
check_PROGRAMS += tests/sim/test_lincheck
TESTS += tests/sim/test_lincheck
tests_sim_test_lincheck_SOURCES = tests/sim/test_lincheck.c $(LINCHECK)
tests_sim_test_lincheck_LDADD = $(UNIT_LIBS)
EXTRA_DIST += tests/sim/run
