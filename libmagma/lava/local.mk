libmagma_libmagma_core_la_SOURCES += libmagma/lava/map.c libmagma/lava/health.c libmagma/lava/conflict.c
nobase_magmainclude_HEADERS += libmagma/lava/map.h libmagma/lava/health.h libmagma/lava/conflict.h
