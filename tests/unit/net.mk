check_PROGRAMS += tests/unit/test_spin
TESTS += tests/unit/test_spin
tests_unit_test_spin_LDADD = $(UNIT_LIBS)
