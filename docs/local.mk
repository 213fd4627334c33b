# Documents that are shipped, and manual pages.
EXTRA_DIST += docs/architecture.md docs/testing.md docs/performance.md docs/reliability.md
# docs/protocol.md and docs/magma.lua have parts made from the table of operations; a unit test of proto says when they are old: make protocol-doc
dist_doc_DATA += docs/protocol.md docs/protocol-sessions.md
dist_pkgdata_DATA = docs/magma.lua
EXTRA_PROGRAMS += docs/protocol-table
docs_protocol_table_SOURCES = docs/protocol-table.c docs/optable.c docs/optable.h
docs_protocol_table_LDADD = libmagma/libmagma-core.la $(GLIB_LIBS)
CLEANFILES += docs/protocol-table$(EXEEXT)
.PHONY: protocol-doc
protocol-doc: docs/protocol-table$(EXEEXT)
	docs/protocol-table$(EXEEXT) $(srcdir)/docs/protocol.md $(srcdir)/docs/magma.lua
