libmagma_libmagma_core_la_SOURCES += libmagma/key/key.c
nobase_magmainclude_HEADERS += libmagma/key/key.h
