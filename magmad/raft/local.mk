noinst_LIBRARIES += magmad/libraft.a
RAFT_SOURCES = \
	magmad/raft/raft.c magmad/raft/raft.h magmad/raft/raft_inside.h \
	magmad/raft/raft_codec.h \
	magmad/raft/raft_election.c \
	magmad/raft/raft_entry.c \
	magmad/raft/raft_lease.c \
	magmad/raft/raft_line.c \
	magmad/raft/raft_log.c \
	magmad/raft/raft_msg.c \
	magmad/raft/raft_replicate.c \
	magmad/raft/raft_state.c
magmad_libraft_a_SOURCES = $(RAFT_SOURCES)
