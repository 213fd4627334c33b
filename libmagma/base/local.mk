libmagma_libmagma_core_la_SOURCES += libmagma/base/err.c
libmagma_libmagma_core_la_SOURCES += libmagma/base/wire.c
libmagma_libmagma_core_la_SOURCES += libmagma/base/crc32c.c libmagma/base/crc32c.h
libmagma_libmagma_core_la_SOURCES += libmagma/base/addr.c
libmagma_libmagma_core_la_SOURCES += libmagma/base/trace.c
libmagma_libmagma_core_la_SOURCES += libmagma/base/folder.c libmagma/base/folder.h
nobase_magmainclude_HEADERS += libmagma/base/err.h libmagma/base/wire.h libmagma/base/addr.h libmagma/base/trace.h
