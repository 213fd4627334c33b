# one volcano whose group, clock, sessions and disks are the test's; group_kit.c stands in for magmad/core/consensus.c
GROUP_KIT = tests/unit/group_kit.c tests/unit/group_kit.h $(MEMSTORE)
GROUP_LIBS = magmad/libcore.a magmad/libmirror.a magmad/libraft.a $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test_planner
TESTS += tests/unit/test_planner
tests_unit_test_planner_SOURCES = tests/unit/test_planner.c $(GROUP_KIT)
tests_unit_test_planner_LDADD = $(GROUP_LIBS)
check_PROGRAMS += tests/unit/test_takeover
TESTS += tests/unit/test_takeover
tests_unit_test_takeover_SOURCES = tests/unit/test_takeover.c $(GROUP_KIT)
tests_unit_test_takeover_LDADD = $(GROUP_LIBS)
