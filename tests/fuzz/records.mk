FUZZ_TARGETS += tests/fuzz/fuzz_records
tests_fuzz_fuzz_records_SOURCES = tests/fuzz/fuzz_records.c $(FUZZ_MAIN)
tests_fuzz_fuzz_records_LDADD = magmad/libstore.a magmad/libcore.a magmad/libmirror.a magmad/libraft.a $(UNIT_LIBS) $(SQLITE_LIBS)
tests_fuzz_fuzz_records_LDFLAGS = $(FUZZ_LINK)
