/* The source of a move: contents, file by file. */
#include <errno.h>
#include <unistd.h>
#include "magmad/core/move_out.h"

void move_queue_file(Move *m, const MagmaFid *fid)
{
	if (g_hash_table_contains(m->queued, &fid->ino))
		return;
	MagmaFid *f = g_memdup2(fid, sizeof *fid);
	g_queue_push_tail(&m->files, f);
	g_hash_table_add(m->queued, &f->ino);
}

static void send_data(Move *m, guint64 offset, guint64 size, GBytes *data)
{
	struct magma_req_move_data q = { .fid = m->file, .move = m->what.id, .sequence = ++m->sequence, .offset = offset, .size = size };

	if (data)
		q.data.len = g_bytes_get_size(data);
	move_send(m, MAGMA_OP_move_data, &q, data, move_patience(m));
}

static void data_read(void *user, int error, GBytes *data)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = move_redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	m->sending = FALSE;
	if (error) {
		move_start_over(m, g_strerror(error));
	} else if (!g_bytes_get_size(data)) {
		m->file_at = m->file_size;
		move_advance(m);
	} else {
		guint64 at = m->file_at;
		m->file_at += g_bytes_get_size(data);
		send_data(m, at, m->file_size, data);
	}
	core_leave(sl->v);
}

static void data_found(void *user, int error, guint64 off)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = move_redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	if (error && error != ENXIO) {
		m->sending = FALSE;
		move_start_over(m, g_strerror(error));
	} else if (error || off >= m->file_size) {   /* nothing but a hole up to the end */
		m->sending = FALSE;
		m->file_at = m->file_size;
		move_advance(m);
	} else {
		m->file_at = off;
		store_content_read(sl->store, &m->file, off, MIN(MAGMA_DATA_MAX, m->file_size - off), data_read, move_ticket(m));
	}
	core_leave(sl->v);
}

static void file_stat(void *user, int error, const StoreContentStat *st)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = move_redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	if (error) {
		m->sending = FALSE;
		move_start_over(m, g_strerror(error));
	} else {
		m->file_at = 0;
		m->file_size = st->exists ? st->size : 0;
		send_data(m, 0, G_MAXUINT64, NULL);  /* begin: what is there goes */
	}
	core_leave(sl->v);
}

/* One step of the file in work. FALSE: none in work and none waits. */
gboolean move_copy_contents(Move *m)
{
	if (m->sending)
		return TRUE;
	if (!m->file.ino) {
		MagmaFid *f = g_queue_pop_head(&m->files);
		if (!f)
			return FALSE;
		m->file = *f;
		g_hash_table_remove(m->queued, &f->ino);
		g_free(f);
		m->sending = TRUE;
		store_content_stat(m->sl->store, &m->file, file_stat, move_ticket(m));
		return TRUE;
	}
	if (m->file_at < m->file_size) {
		m->sending = TRUE;
		store_content_seek(m->sl->store, &m->file, m->file_at, SEEK_DATA, data_found, move_ticket(m));
		return TRUE;
	}
	send_data(m, m->file_size, m->file_size, NULL);   /* end: this long, and on disk */
	m->file.ino = 0;
	return TRUE;
}
