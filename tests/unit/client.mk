check_PROGRAMS += tests/unit/test_secret tests/unit/test_net tests/unit/test_client tests/unit/test_tools
TESTS += tests/unit/test_secret tests/unit/test_net tests/unit/test_client tests/unit/test_tools
tests_unit_test_secret_SOURCES = tests/unit/test_secret.c
tests_unit_test_secret_LDADD = $(UNIT_LIBS)
tests_unit_test_net_SOURCES = tests/unit/test_net.c
tests_unit_test_net_LDADD = $(UNIT_LIBS)
tests_unit_test_client_SOURCES = tests/unit/test_client.c tests/unit/fake.c tests/unit/fake.h
tests_unit_test_client_LDADD = $(UNIT_LIBS)
tests_unit_test_tools_SOURCES = tests/unit/test_tools.c tests/unit/fake.c tests/unit/fake.h
tests_unit_test_tools_LDADD = $(UNIT_LIBS)
EXTRA_tests_unit_test_tools_DEPENDENCIES = magma_tools/magma-hash magma_tools/magma-locate magma_tools/magma-ping
# a figure, not a test: tests/bench/bench_net prints round trips and bulk throughput over loopback
EXTRA_PROGRAMS += tests/bench/bench_net
tests_bench_bench_net_SOURCES = tests/bench/bench_net.c
tests_bench_bench_net_LDADD = $(UNIT_LIBS)
