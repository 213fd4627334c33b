# base, key, flare, lava, proto: a program per folder.
check_PROGRAMS += tests/unit/test_base tests/unit/test_key tests/unit/test_flare tests/unit/test_lava tests/unit/test_health tests/unit/test_proto
TESTS += tests/unit/test_base tests/unit/test_key tests/unit/test_flare tests/unit/test_lava tests/unit/test_health tests/unit/test_proto
tests_unit_test_base_SOURCES = tests/unit/test_base.c
tests_unit_test_base_LDADD = $(UNIT_LIBS)
tests_unit_test_key_SOURCES = tests/unit/test_key.c
tests_unit_test_key_LDADD = $(UNIT_LIBS)
tests_unit_test_flare_SOURCES = tests/unit/test_flare.c
tests_unit_test_flare_LDADD = $(UNIT_LIBS)
tests_unit_test_lava_SOURCES = tests/unit/test_lava.c tests/unit/exact.h
tests_unit_test_lava_LDADD = $(UNIT_LIBS)
tests_unit_test_health_SOURCES = tests/unit/test_health.c
tests_unit_test_health_LDADD = $(UNIT_LIBS)
tests_unit_test_proto_SOURCES = tests/unit/test_proto.c tests/unit/anymsg.c tests/unit/anymsg.h tests/unit/exact.h docs/optable.c docs/optable.h
tests_unit_test_proto_LDADD = $(UNIT_LIBS)
