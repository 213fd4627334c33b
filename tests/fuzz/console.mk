FUZZ_TARGETS += tests/fuzz/fuzz_console
tests_fuzz_fuzz_console_SOURCES = tests/fuzz/fuzz_console.c magmad/console/command.c magmad/console/path.c magmad/console/telnet.c magmad/console/text.c $(FUZZ_MAIN)
tests_fuzz_fuzz_console_LDADD = $(UNIT_LIBS)
tests_fuzz_fuzz_console_LDFLAGS = $(FUZZ_LINK)

FUZZ_TARGETS += tests/fuzz/fuzz_config
tests_fuzz_fuzz_config_SOURCES = tests/fuzz/fuzz_config.c $(FUZZ_MAIN)
tests_fuzz_fuzz_config_LDADD = magmad/libdaemon.a $(UNIT_LIBS)
tests_fuzz_fuzz_config_LDFLAGS = $(FUZZ_LINK)
