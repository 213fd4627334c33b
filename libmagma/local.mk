# libmagma: a convenience library of everything, which unit tests see whole, and the shared one, which exports magma_* only.
noinst_LTLIBRARIES += libmagma/libmagma-core.la
libmagma_libmagma_core_la_SOURCES =
libmagma_libmagma_core_la_LIBADD = $(GLIB_LIBS) $(OPENSSL_LIBS)
magmaincludedir = $(includedir)/magma
magmainclude_HEADERS = libmagma/magma.h
nobase_magmainclude_HEADERS =
include libmagma/base/local.mk
include libmagma/key/local.mk
include libmagma/flare/local.mk
include libmagma/lava/local.mk
include libmagma/proto/local.mk
include libmagma/xport/local.mk
include libmagma/net/local.mk
include libmagma/client/local.mk
lib_LTLIBRARIES += libmagma/libmagma.la
libmagma_libmagma_la_SOURCES =
libmagma_libmagma_la_LIBADD = libmagma/libmagma-core.la
libmagma_libmagma_la_LDFLAGS = $(AM_LDFLAGS) -version-info 1:0:0 -export-symbols-regex '^(magma_|MAGMA_)'
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = libmagma/libmagma.pc
EXTRA_DIST += libmagma/libmagma.pc.in
