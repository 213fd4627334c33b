# A fuzz target is a LLVMFuzzerTestOneInput; without --enable-fuzzers it is linked with replay.c, which runs tests/fuzz/corpus/<target>, and make check does so.
# With --enable-fuzzers (and --enable-sanitizers, CC=clang) it is libFuzzer's: tests/fuzz/fuzz_codec /tmp/found tests/fuzz/corpus/codec
#
# Another target: a block like the two below, a folder corpus/<target> with seeds, and its name in FUZZ_TARGETS by +=.
if FUZZERS
FUZZ_MAIN =
FUZZ_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer
noinst_PROGRAMS += $(FUZZ_TARGETS)
else
FUZZ_MAIN = tests/fuzz/replay.c
FUZZ_LINK = $(AM_LDFLAGS)
check_PROGRAMS += $(FUZZ_TARGETS)
TESTS += $(FUZZ_TARGETS)
endif
FUZZ_TARGETS =
EXTRA_DIST += tests/fuzz/replay.c tests/fuzz/fuzz.h tests/fuzz/corpus

FUZZ_TARGETS += tests/fuzz/fuzz_codec
tests_fuzz_fuzz_codec_SOURCES = tests/fuzz/fuzz_codec.c $(FUZZ_MAIN)
tests_fuzz_fuzz_codec_LDADD = $(UNIT_LIBS)
tests_fuzz_fuzz_codec_LDFLAGS = $(FUZZ_LINK)

FUZZ_TARGETS += tests/fuzz/fuzz_map
tests_fuzz_fuzz_map_SOURCES = tests/fuzz/fuzz_map.c $(FUZZ_MAIN)
tests_fuzz_fuzz_map_LDADD = $(UNIT_LIBS)
tests_fuzz_fuzz_map_LDFLAGS = $(FUZZ_LINK)

include tests/fuzz/console.mk

# Makes the seeds of codec, map and journal frames anew from the tables: after a change of the wire, make fuzz-seeds and commit them.
EXTRA_PROGRAMS += tests/fuzz/seeds
tests_fuzz_seeds_SOURCES = tests/fuzz/seeds.c tests/unit/anymsg.c tests/unit/anymsg.h
tests_fuzz_seeds_LDADD = magmad/libstore.a magmad/libcore.a magmad/libmirror.a magmad/libraft.a $(UNIT_LIBS)
CLEANFILES += tests/fuzz/seeds$(EXEEXT)
.PHONY: fuzz-seeds
fuzz-seeds: tests/fuzz/seeds$(EXEEXT)
	rm -f $(srcdir)/tests/fuzz/corpus/codec/seed-* $(srcdir)/tests/fuzz/corpus/map/seed-* $(srcdir)/tests/fuzz/corpus/records/seed-*
	tests/fuzz/seeds$(EXEEXT) $(srcdir)/tests/fuzz/corpus
include tests/fuzz/session.mk
include tests/fuzz/records.mk
include tests/fuzz/raft.mk
