noinst_LIBRARIES += magmad/libstore.a
magmad_libstore_a_SOURCES = magmad/store/diskstore.h
