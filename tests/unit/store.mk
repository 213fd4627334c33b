# the disk store: a program per promise
STORE_KIT = tests/unit/store_kit.c tests/unit/store_kit.h
# what both stores promise of their log
LOG_KIT = tests/unit/store_log.c tests/unit/store_log_promises.c tests/unit/store_log_random.c tests/unit/store_log.h tests/unit/store_log_inside.h
STORE_LIBS = magmad/libstore.a magmad/libcore.a magmad/libmirror.a magmad/libraft.a $(UNIT_LIBS) $(SQLITE_LIBS)
STORE_TESTS = tests/unit/test_store_rows tests/unit/test_store_content tests/unit/test_store_journal tests/unit/test_store_merge tests/unit/test_store_dir tests/unit/test_store_check tests/unit/test_store_log
check_PROGRAMS += $(STORE_TESTS)
TESTS += $(STORE_TESTS)
tests_unit_test_store_rows_SOURCES = tests/unit/test_store_rows.c $(STORE_KIT)
tests_unit_test_store_rows_LDADD = $(STORE_LIBS)
tests_unit_test_store_content_SOURCES = tests/unit/test_store_content.c $(STORE_KIT)
tests_unit_test_store_content_LDADD = $(STORE_LIBS)
tests_unit_test_store_journal_SOURCES = tests/unit/test_store_journal.c $(STORE_KIT)
tests_unit_test_store_journal_LDADD = $(STORE_LIBS)
tests_unit_test_store_merge_SOURCES = tests/unit/test_store_merge.c $(STORE_KIT)
tests_unit_test_store_merge_LDADD = $(STORE_LIBS)
tests_unit_test_store_dir_SOURCES = tests/unit/test_store_dir.c $(STORE_KIT)
tests_unit_test_store_dir_LDADD = $(STORE_LIBS)
tests_unit_test_store_log_SOURCES = tests/unit/test_store_log.c $(LOG_KIT) $(STORE_KIT)
tests_unit_test_store_log_LDADD = $(STORE_LIBS)
tests_unit_test_store_check_SOURCES = tests/unit/test_store_check.c $(STORE_KIT)
tests_unit_test_store_check_LDADD = $(STORE_LIBS)
check_PROGRAMS += tests/unit/test_slices
TESTS += tests/unit/test_slices
tests_unit_test_slices_SOURCES = tests/unit/test_slices.c magmad/slices.c magmad/conflicts.c $(STORE_KIT)
tests_unit_test_slices_LDADD = magmad/libdaemon.a $(STORE_LIBS)
check_PROGRAMS += tests/unit/test_keep
TESTS += tests/unit/test_keep
tests_unit_test_keep_SOURCES = tests/unit/test_keep.c magmad/keep.c magmad/keep.h
tests_unit_test_keep_LDADD = $(STORE_LIBS)
# the simulator's store
MEMSTORE = tests/sim/memstore.c tests/sim/memstore.h tests/sim/memdisk.c tests/sim/memdisk.h tests/sim/memlog.c tests/sim/memfiles.c tests/sim/memcontent.c tests/sim/memcontent.h
check_PROGRAMS += tests/unit/test_memstore
TESTS += tests/unit/test_memstore
tests_unit_test_memstore_SOURCES = tests/unit/test_memstore.c $(LOG_KIT) $(MEMSTORE)
tests_unit_test_memstore_LDADD = magmad/libcore.a magmad/libmirror.a magmad/libraft.a $(UNIT_LIBS)
# make tests/bench/bench_store
EXTRA_PROGRAMS += tests/bench/bench_store
CLEANFILES += tests/bench/bench_store$(EXEEXT)
tests_bench_bench_store_SOURCES = tests/bench/bench_store.c
tests_bench_bench_store_LDADD = $(STORE_LIBS)
check_PROGRAMS += tests/unit/test_stall
TESTS += tests/unit/test_stall
tests_unit_test_stall_SOURCES = tests/unit/test_stall.c
tests_unit_test_stall_LDADD = magmad/libdaemon.a $(UNIT_LIBS)
