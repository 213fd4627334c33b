check_PROGRAMS += tests/unit/test_mount_options tests/unit/test_mount_fresh tests/unit/test_inodes
TESTS += tests/unit/test_mount_options tests/unit/test_mount_fresh tests/unit/test_inodes
tests_unit_test_mount_options_SOURCES = tests/unit/test_mount_options.c
tests_unit_test_mount_options_LDADD = mount.magma/libmount.a $(UNIT_LIBS)
tests_unit_test_mount_fresh_SOURCES = tests/unit/test_mount_fresh.c
tests_unit_test_mount_fresh_LDADD = mount.magma/libmount.a $(UNIT_LIBS) $(FUSE_LIBS)
tests_unit_test_inodes_SOURCES = tests/unit/test_inodes.c
tests_unit_test_inodes_LDADD = mount.magma/libmount.a $(UNIT_LIBS)
