noinst_LIBRARIES += magmad/libstore.a
magmad_libstore_a_SOURCES = \
	magmad/store/batch.c \
	magmad/store/change.c \
	magmad/store/check.c magmad/store/check_content.c magmad/store/check_rows.c magmad/store/check.h magmad/store/check_inside.h \
	magmad/store/content.c magmad/store/content.h \
	magmad/store/content_io.c magmad/store/content_list.c magmad/store/content_list.h magmad/store/content_io.h \
	magmad/store/db.c magmad/store/db_merge.c magmad/store/db_write.c magmad/store/db.h magmad/store/db_inside.h magmad/store/sql.h \
	magmad/store/disk.h magmad/store/diskstore.c magmad/store/diskstore.h \
	magmad/store/frame.c magmad/store/frame.h \
	magmad/store/journal.c magmad/store/journal_read.c magmad/store/journal_scan.c magmad/store/journal.h magmad/store/journal_inside.h magmad/store/segment.h \
	magmad/store/keys.c magmad/store/keys.h \
	magmad/store/layout.c magmad/store/layout.h \
	magmad/store/load.c \
	magmad/store/log.c \
	magmad/store/merge.c \
	magmad/store/pool.c magmad/store/pool.h \
	magmad/store/read.c \
	magmad/store/reread.c magmad/store/reread.h \
	magmad/store/rows.c magmad/store/rows.h \
	magmad/store/scan.c \
	magmad/store/siphash.c magmad/store/siphash.h \
	magmad/store/space.c \
	magmad/store/turn.c \
	magmad/store/vfs.c magmad/store/vfs.h
