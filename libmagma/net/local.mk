nobase_magmainclude_HEADERS += libmagma/net/net.h
