XPORT_TESTS = tests/unit/test_noise tests/unit/test_seal tests/unit/test_sendq tests/unit/test_recvq tests/unit/test_loss
check_PROGRAMS += $(XPORT_TESTS)
TESTS += $(XPORT_TESTS)
tests_unit_test_noise_LDADD = $(UNIT_LIBS)
tests_unit_test_seal_LDADD = $(UNIT_LIBS)
tests_unit_test_sendq_LDADD = $(UNIT_LIBS)
tests_unit_test_recvq_LDADD = $(UNIT_LIBS)
tests_unit_test_loss_LDADD = $(UNIT_LIBS)
