nobase_magmainclude_HEADERS += libmagma/client/client.h
