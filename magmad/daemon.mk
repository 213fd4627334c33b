# The daemon: an archive of everything but main.c, which the tests link too, and the program.
noinst_LIBRARIES += magmad/libdaemon.a
magmad_libdaemon_a_SOURCES = \
	magmad/channels.c magmad/channels.h \
	magmad/config.c magmad/config.h \
	magmad/conflicts.c magmad/conflicts.h \
	magmad/daemonise.c magmad/daemonise.h \
	magmad/identity.c magmad/identity.h \
	magmad/keep.c magmad/keep.h \
	magmad/log.c magmad/log.h \
	magmad/notify.c magmad/notify.h \
	magmad/options.c magmad/options.h \
	magmad/plan.c magmad/plan.h \
	magmad/shell.c magmad/shell.h \
	magmad/slices.c magmad/slices.h \
	magmad/stall.c magmad/stall.h \
	magmad/timers.c magmad/timers.h

sbin_PROGRAMS += magmad/magmad
magmad_magmad_SOURCES = magmad/main.c
magmad_magmad_LDADD = magmad/libdaemon.a magmad/libconsole.a magmad/libcore.a magmad/libmirror.a magmad/libraft.a magmad/libstore.a libmagma/libmagma.la \
	$(GLIB_LIBS) $(GIO_LIBS) $(SQLITE_LIBS) $(JSON_LIBS) $(OPENSSL_LIBS)

dist_man_MANS += magmad/magmad.8
dist_doc_DATA += docs/magmad.conf.sample
EXTRA_DIST += docs/magmad.service.in
systemdsystemunit_DATA = docs/magmad.service
CLEANFILES += docs/magmad.service
docs/magmad.service: docs/magmad.service.in Makefile
	@mkdir -p docs
	$(AM_V_GEN)sed 's,[@]sbindir[@],$(sbindir),' $(srcdir)/docs/magmad.service.in >$@
