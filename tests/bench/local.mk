# Benchmarks, run by hand: tests/bench/run
check_PROGRAMS += $(bench_programs)
bench_programs = tests/bench/fsbench
tests_bench_fsbench_SOURCES = tests/bench/fsbench.c
EXTRA_DIST += tests/bench/run
