# magmad without its core: options, configuration, identity, timers; the console over a core that is made up here, and over a real volcano.
check_PROGRAMS += tests/unit/test_options tests/unit/test_config tests/unit/test_console tests/unit/test_console_files
TESTS += tests/unit/test_options tests/unit/test_config tests/unit/test_console tests/unit/test_console_files
DAEMON_LIBS = $(UNIT_LIBS) $(SQLITE_LIBS) $(JSON_LIBS)
tests_unit_test_options_SOURCES = tests/unit/test_options.c
tests_unit_test_options_LDADD = magmad/libdaemon.a $(DAEMON_LIBS)
tests_unit_test_config_SOURCES = tests/unit/test_config.c
tests_unit_test_config_LDADD = magmad/libdaemon.a $(DAEMON_LIBS)
tests_unit_test_console_SOURCES = tests/unit/test_console.c tests/unit/console_kit.c tests/unit/console_kit.h
tests_unit_test_console_LDADD = magmad/libconsole.a magmad/libdaemon.a $(DAEMON_LIBS)
tests_unit_test_console_files_SOURCES = tests/unit/test_console_files.c tests/unit/console_kit.c tests/unit/console_kit.h
# the library as programs link it: inside, core and client both have a call.c
tests_unit_test_console_files_LDADD = magmad/libconsole.a magmad/libdaemon.a magmad/libcore.a magmad/libmirror.a magmad/libraft.a magmad/libstore.a \
	libmagma/libmagma.la $(GLIB_LIBS) $(GIO_LIBS) $(OPENSSL_LIBS) $(SQLITE_LIBS) $(JSON_LIBS)
