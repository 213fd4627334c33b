noinst_LIBRARIES += magmad/libcore.a
magmad_libcore_a_SOURCES = magmad/core/store.h magmad/core/volcano.h magmad/core/txn.c magmad/core/rows.h magmad/core/rows.c
