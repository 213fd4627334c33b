libmagma_libmagma_core_la_SOURCES += libmagma/flare/flare.c
libmagma_libmagma_core_la_SOURCES += libmagma/flare/perm.c
nobase_magmainclude_HEADERS += libmagma/flare/flare.h
