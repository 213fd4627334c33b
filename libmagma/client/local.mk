libmagma_libmagma_core_la_SOURCES += libmagma/client/secret.c
nobase_magmainclude_HEADERS += libmagma/client/client.h libmagma/client/secret.h
