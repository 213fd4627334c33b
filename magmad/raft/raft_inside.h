/* The inside of the consensus core, shared by the files of magmad/raft only. */
#pragma once
#include "magmad/raft/raft.h"

typedef enum { FOLLOWER, PRECANDIDATE, CANDIDATE, LEADER } Role;

/* What a leader knows of another volcano. Forgotten with the term. */
typedef struct {
	guint16 id;
	guint64 match, next;
	guint64 told;                     /* commit index that it last said it knows */
	gint64 sent_at;                   /* an APPEND is on its way since; 0: none */
	gint64 acked;                     /* newest beat it answered, by when it was sent */
	struct Life { gint64 at, seen; guint32 life; } wait[2], granted;   /* proofs of life: at by its clock, seen by ours. wait: older, newest; seen 0: none */
	guint32 life;                     /* which start of its process answered last; 0: none */
	guint64 fence;                    /* gets no lease before it has committed this index */
	gint64 since;                     /* a peer of this leader, whether heard or not */
} Peer;

/* What of the log a persist in progress makes durable. */
typedef struct { guint64 number, last; } Pending;

struct Raft {
	RaftConfig cfg;
	guint64 rng;
	gint64 now;                       /* of this step */
	RaftOut *out;                     /* of this step */

	RaftTerm term;
	RaftLine line;
	guint16 vote;
	guint64 commit;
	GPtrArray *log;                   /* RaftEntry * */

	guint64 emitted, durable;         /* persist numbers */
	gboolean dirty;
	guint64 dirty_from;               /* entries from here on are not in any persist yet */
	GArray *pending;                  /* Pending */
	guint64 durable_index;

	Role role;
	guint16 leader;
	gint64 heard;                     /* a leader last, or was one, or this process began */
	gint64 election_due;
	guint elections_lost;             /* since a leader was heard, or this one was: voted for itself, on disk, and not enough answered in time */
	gboolean transfer_vote;           /* this election is a hand-over */
	guint64 vote_number;              /* our own vote counts when this persist is durable */
	guint n_votes;
	guint16 votes[RAFT_VOTERS_MAX];
	guint64 force_number;             /* FORCE takes effect then; 0: none */

	GArray *peers;                    /* Peer; leader only */
	gint64 elected_at, next_beat;
	gint64 others_until;              /* nothing that earlier leaders granted is counted from later than this; gathered from the votes */
	guint64 first_of_term;            /* index of our first entry as leader */
	guint16 transfer_to;              /* 0: none */
	gint64 transfer_until;
	gint64 lease_until;               /* as a member */

	gboolean has_rival;
	RaftRival rival;
#ifdef RAFT_PLANT
	guint planted;
#endif
};

#ifdef RAFT_PLANT
#define PLANTED(r, bug) (((r)->planted & (bug)) != 0)
#else
#define PLANTED(r, bug) 0
#endif

/* raft_log.c */
guint64 log_first(const Raft *r);                         /* last + 1 when empty */
guint64 log_last(const Raft *r);                          /* 0 when empty */
const RaftEntry *log_at(const Raft *r, guint64 index);    /* NULL: not kept */
RaftTerm log_last_term(const Raft *r);
void log_append(Raft *r, RaftEntry *e);                   /* takes e */
void log_truncate(Raft *r, guint64 from);                 /* from and all behind go */
void log_reset(Raft *r, RaftEntry *base);                 /* takes base; NULL: empty */
void log_advance(Raft *r, guint64 commit);                /* COMMITTED for what became so; drops what need not be kept */
const RaftGroup *log_group(const Raft *r);                /* in effect: of the last entry; NULL without one */
void log_durable(Raft *r, guint64 number);

/* raft_entry.c */
RaftEntry *entry_new(guint64 index, RaftTerm term, guint64 origin, const RaftGroup *group, GBytes *bytes);
gboolean group_valid(const RaftGroup *g);
guint group_voter_changes(const RaftGroup *a, const RaftGroup *b);   /* added and removed */

/* raft.c */
RaftAction *act(Raft *r, RaftActionType type);
void persist_later(Raft *r);
guint64 persist_dep(const Raft *r);                       /* number that makes all of now durable */
RaftMsg *send_to(Raft *r, guint16 to, RaftMsgType type, guint64 after);
void become_follower(Raft *r, RaftTerm term);
void set_election_due(Raft *r);
gboolean is_voter(const Raft *r, guint16 id);

/* raft_election.c */
gboolean may_campaign(const Raft *r);
void election_tick(Raft *r);
void election_durable(Raft *r);
void election_now(Raft *r, gboolean transfer);
void on_prevote(Raft *r, guint16 from, const RaftMsg *m);
void on_prevote_ack(Raft *r, guint16 from, const RaftMsg *m);
void on_vote(Raft *r, guint16 from, const RaftMsg *m);
void on_vote_ack(Raft *r, guint16 from, const RaftMsg *m);
void become_leader(Raft *r);

/* raft_replicate.c */
void peers_follow_group(Raft *r);
Peer *peer_of(const Raft *r, guint16 id);
void replicate_one(Raft *r, Peer *p);
void replicate_all(Raft *r);
void replicate_again(Raft *r);                            /* what had no answer for a beat */
void leader_append(Raft *r, RaftEntry *e);                /* takes e */
void leader_advance(Raft *r);
RaftStatus propose(Raft *r, const RaftEvent *ev);
RaftStatus transfer(Raft *r, guint16 to);
void on_append(Raft *r, guint16 from, const RaftMsg *m);
void on_append_ack(Raft *r, guint16 from, const RaftMsg *m);

/* raft_lease.c */
gint64 quorum_time(const Raft *r);
void beat_tick(Raft *r);
void beat_one(Raft *r, Peer *p);
void lease_keep(Raft *r);                                 /* the leader's lease outlives its leadership */
void on_beat(Raft *r, guint16 from, const RaftMsg *m);
void on_alive(Raft *r, guint16 from, const RaftMsg *m);

/* raft_line.c */
guint32 line_inc(const RaftLine *l);
gboolean line_admits(Raft *r, guint16 from, const RaftMsg *m);
RaftStatus line_force(Raft *r, const RaftEvent *ev);
void line_force_durable(Raft *r);
RaftStatus line_yield(Raft *r);
void line_cut(Raft *r, guint64 from, RaftTerm by);        /* reports what log_truncate(from) is about to drop of an older incarnation */
