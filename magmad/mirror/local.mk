# several copies of a slice: the owner's side and the copies'
noinst_LIBRARIES += magmad/libmirror.a
magmad_libmirror_a_SOURCES = magmad/mirror/mirror.h magmad/mirror/item.h magmad/mirror/replica-inside.h magmad/mirror/owner-inside.h
magmad_libmirror_a_SOURCES += magmad/mirror/item.c
magmad_libmirror_a_SOURCES += magmad/mirror/replica.c
magmad_libmirror_a_SOURCES += magmad/mirror/replica_stream.c
magmad_libmirror_a_SOURCES += magmad/mirror/owner.c magmad/mirror/pass.c
magmad_libmirror_a_SOURCES += magmad/mirror/contents.c
magmad_libmirror_a_SOURCES += magmad/mirror/feed.c
magmad_libmirror_a_SOURCES += magmad/mirror/sync.c
magmad_libmirror_a_SOURCES += magmad/mirror/copy.c
magmad_libmirror_a_SOURCES += magmad/mirror/stream.c
magmad_libmirror_a_SOURCES += magmad/mirror/catchup.c
magmad_libmirror_a_SOURCES += magmad/mirror/catchup_log.c
magmad_libmirror_a_SOURCES += magmad/mirror/catchup_rows.c
magmad_libmirror_a_SOURCES += magmad/mirror/catchup_contents.c
