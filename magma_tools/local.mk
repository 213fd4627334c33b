bin_PROGRAMS += magma_tools/magma-hash magma_tools/magma-locate magma_tools/magma-ping
noinst_LIBRARIES += magma_tools/libtool.a
magma_tools_libtool_a_SOURCES = magma_tools/tool.c magma_tools/tool.h
TOOL_LIBS = magma_tools/libtool.a libmagma/libmagma.la $(GLIB_LIBS)
magma_tools_magma_hash_SOURCES = magma_tools/magma-hash.c
magma_tools_magma_hash_LDADD = $(TOOL_LIBS)
magma_tools_magma_locate_SOURCES = magma_tools/magma-locate.c
magma_tools_magma_locate_LDADD = $(TOOL_LIBS)
magma_tools_magma_ping_SOURCES = magma_tools/magma-ping.c
magma_tools_magma_ping_LDADD = $(TOOL_LIBS)
dist_man_MANS += magma_tools/magma-hash.1 magma_tools/magma-locate.1 magma_tools/magma-ping.1
include magma_tools/store.mk
