FUZZ_TARGETS += tests/fuzz/fuzz_session
tests_fuzz_fuzz_session_SOURCES = tests/fuzz/fuzz_session.c $(FUZZ_MAIN)
tests_fuzz_fuzz_session_LDADD = $(UNIT_LIBS)
tests_fuzz_fuzz_session_LDFLAGS = $(FUZZ_LINK)
