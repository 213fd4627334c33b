# Benchmarks, run by hand: tests/bench/run
check_PROGRAMS += $(bench_programs)
bench_programs = tests/bench/fsbench
tests_bench_fsbench_SOURCES = tests/bench/fsbench.c
EXTRA_DIST += tests/bench/run tests/bench/catchup

check_PROGRAMS += tests/bench/bench_xport
tests_bench_bench_xport_SOURCES = tests/bench/bench_xport.c
tests_bench_bench_xport_LDADD = $(UNIT_LIBS)
