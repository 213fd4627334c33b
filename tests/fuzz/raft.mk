FUZZ_TARGETS += tests/fuzz/fuzz_raft
tests_fuzz_fuzz_raft_SOURCES = tests/fuzz/fuzz_raft.c $(FUZZ_MAIN)
tests_fuzz_fuzz_raft_LDADD = magmad/libraft.a $(UNIT_LIBS)
tests_fuzz_fuzz_raft_LDFLAGS = $(FUZZ_LINK)
