libmagma_libmagma_core_la_SOURCES += libmagma/lava/map.c
nobase_magmainclude_HEADERS += libmagma/lava/map.h
