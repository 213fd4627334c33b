# copies of a slice over memory stores
check_PROGRAMS += tests/sim/test_mirror
TESTS += tests/sim/test_mirror
tests_sim_test_mirror_SOURCES = tests/sim/killed.c tests/sim/test_mirror.c tests/sim/mirror_net.c tests/sim/mirror_net.h tests/sim/mirror_load.c tests/sim/mirror_heir.c tests/sim/mirror_load.h tests/sim/mirror_load_inside.h tests/sim/world.c tests/sim/world.h $(MEMSTORE)
tests_sim_test_mirror_LDADD = magmad/libmirror.a magmad/libcore.a $(UNIT_LIBS)

check_PROGRAMS += tests/sim/test_copies
TESTS += tests/sim/test_copies
tests_sim_test_copies_SOURCES = tests/sim/killed.c tests/sim/test_copies.c tests/sim/mirror_net.c tests/sim/mirror_net.h tests/sim/world.c tests/sim/world.h $(MEMSTORE)
tests_sim_test_copies_LDADD = magmad/libmirror.a magmad/libcore.a $(UNIT_LIBS)

check_PROGRAMS += tests/sim/test_compare
TESTS += tests/sim/test_compare
tests_sim_test_compare_SOURCES = tests/sim/killed.c tests/sim/test_compare.c tests/sim/mirror_net.c tests/sim/mirror_net.h tests/sim/world.c tests/sim/world.h $(MEMSTORE)
tests_sim_test_compare_LDADD = magmad/libmirror.a magmad/libcore.a $(UNIT_LIBS)
