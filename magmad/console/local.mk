noinst_LIBRARIES += magmad/libconsole.a
magmad_libconsole_a_SOURCES = \
	magmad/console/answer.c \
	magmad/console/cmd_cache.c \
	magmad/console/cmd_flare.c \
	magmad/console/cmd_info.c \
	magmad/console/cmd_lava.c \
	magmad/console/cmd_ls.c \
	magmad/console/command.c magmad/console/command.h \
	magmad/console/commands.c \
	magmad/console/console.c magmad/console/console.h \
	magmad/console/files.c magmad/console/files.h \
	magmad/console/login.c \
	magmad/console/owner.c \
	magmad/console/path.c magmad/console/path.h \
	magmad/console/session.c magmad/console/session.h \
	magmad/console/task.c \
	magmad/console/telnet.c magmad/console/telnet.h \
	magmad/console/text.c magmad/console/text.h
