bin_PROGRAMS += magma_tools/magma-store
magma_tools_magma_store_SOURCES = magma_tools/magma-store.c
magma_tools_magma_store_LDADD = magma_tools/libtool.a magmad/libdaemon.a magmad/libstore.a magmad/libcore.a magmad/libmirror.a magmad/libraft.a libmagma/libmagma.la $(SQLITE_LIBS) $(JSON_LIBS) $(GLIB_LIBS)
dist_man_MANS += magma_tools/magma-store.1
