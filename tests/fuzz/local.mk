# A fuzz target is a LLVMFuzzerTestOneInput; without --enable-fuzzers it is linked with replay.c, which runs the corpus.
