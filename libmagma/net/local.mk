libmagma_libmagma_core_la_SOURCES += libmagma/net/sock.c libmagma/net/sock.h libmagma/net/sock-internal.h
libmagma_libmagma_core_la_SOURCES += libmagma/net/batch.c
libmagma_libmagma_core_la_SOURCES += libmagma/net/net.c libmagma/net/keylog.c libmagma/net/keylog.h
libmagma_libmagma_core_la_SOURCES += libmagma/net/resolve.c libmagma/net/spin.c libmagma/net/spin.h
nobase_magmainclude_HEADERS += libmagma/net/net.h
