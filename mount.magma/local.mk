# mount.magma: all but main is an archive that the unit tests link too.
noinst_LIBRARIES += mount.magma/libmount.a
mount_magma_libmount_a_SOURCES = \
	mount.magma/options.c mount.magma/options.h \
	mount.magma/inodes.c mount.magma/inodes.h \
	mount.magma/log.c mount.magma/log.h \
	mount.magma/device.c mount.magma/device.h \
	mount.magma/init.c mount.magma/init.h \
	mount.magma/fresh.c mount.magma/fresh.h \
	mount.magma/request.c mount.magma/request.h mount.magma/reply.c \
	mount.magma/ops_name.c mount.magma/ops_attr.c mount.magma/ops_xattr.c mount.magma/ops_file.c mount.magma/ops_dir.c mount.magma/ops_fs.c \
	mount.magma/ops.h mount.magma/mount.h \
	mount.magma/start.c mount.magma/start.h

mounthelper_PROGRAMS = mount.magma/mount.magma
mount_magma_mount_magma_SOURCES = mount.magma/main.c
mount_magma_mount_magma_LDADD = mount.magma/libmount.a libmagma/libmagma.la $(FUSE_LIBS) $(GLIB_LIBS)
dist_man_MANS += mount.magma/mount.magma.8
