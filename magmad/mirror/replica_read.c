/* What the owner's disk does not read, a copy tells (rescue.c): with everything in it that stands in the stream before the question. */
#include "magmad/mirror/replica-inside.h"

typedef struct {
	Replica *r;                   /* a reference once it is begun */
	Answer answer;
	guint64 stream, sequence;
	MagmaFid fid;
	guint64 off;
	guint32 len;
} ReadWait;

static void read_done(void *user, int error, GBytes *data)
{
	ReadWait *w = user;
	Replica *r = w->r;

	r->running--;
	if (r->dead) {
		w->answer.fn(w->answer.user, ECANCELED, NULL, NULL);
	} else if (error || r->broken || w->stream != r->stream) {
		replica_answer(&w->answer, r, r->broken || w->stream != r->stream ? ENOTCONN : error, NULL);
	} else {
		MagmaAny rep = { .rep_mirror_read = { .epoch = r->epoch, .data = { NULL, g_bytes_get_size(data) } } };
		w->answer.fn(w->answer.user, 0, &rep, data);
	}
	g_free(w);
	if (!r->dead)
		replica_go_on(r);
	replica_unref(r);
}

void reads_advance(Replica *r)
{
	for (guint i = 0; i < r->reads->len && !r->dead; ) {
		ReadWait *w = r->reads->pdata[i];
		if (!replica_did_below(r, w->sequence)) {
			i++;
			continue;
		}
		g_ptr_array_remove_index(r->reads, i);
		replica_ref(r);
		r->running++;
		store_content_read(r->local, &w->fid, w->off, w->len, read_done, w);
		i = 0;
	}
}

void reads_end(Replica *r)
{
	while (r->reads->len) {
		g_autofree ReadWait *w = g_ptr_array_steal_index(r->reads, r->reads->len - 1);
		replica_answer(&w->answer, r, ENOTCONN, NULL);
	}
}

void read_request(Replica *r, const struct magma_req_mirror_read *q, const Answer *a)
{
	if (r->state != STARTED || r->broken || q->size > MAGMA_DATA_MAX) {
		replica_answer(a, r, r->broken ? r->broken : q->size > MAGMA_DATA_MAX ? EPROTO : ENOTCONN, NULL);
		return;
	}
	ReadWait *w = g_new(ReadWait, 1);
	*w = (ReadWait){ r, *a, r->stream, q->sequence, q->fid, q->offset, q->size };
	g_ptr_array_add(r->reads, w);
	reads_advance(r);
}
