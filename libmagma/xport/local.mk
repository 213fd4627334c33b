nobase_magmainclude_HEADERS += libmagma/xport/xport.h
