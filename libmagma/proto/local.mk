libmagma_libmagma_core_la_SOURCES += libmagma/proto/ops.c
libmagma_libmagma_core_la_SOURCES += libmagma/proto/codec.c
libmagma_libmagma_core_la_SOURCES += libmagma/proto/list.c
libmagma_libmagma_core_la_SOURCES += libmagma/proto/dump.c
nobase_magmainclude_HEADERS += libmagma/proto/ops.h libmagma/proto/msg.h libmagma/proto/list.h
