#include "mount.magma/device.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "mount.magma/init.h"

#define MAX_REQUESTS_PER_TURN 64      /* about a millisecond of work; then the sessions get their turn */
#define MAX_FREE_BUFFERS 24           /* of 1 MiB each: a dozen writers and readers without malloc */

typedef struct Buffer Buffer;
struct Buffer {
	struct fuse_buf fuse;         /* libfuse allocates mem at its first use, of the size it needs */
	Device *device;               /* NULL: gone before the last reference to the bytes */
	Buffer *next, **link;         /* while lent out: list of d->lent */
};

struct Device {
	GSource source;               /* first: is the GSource */
	Mount *m;
	gpointer tag;
	Buffer *current;              /* of the request being handled */
	Buffer *free;
	guint nfree;
	Buffer *lent;
	gboolean ready;
	void (*on_ready)(Mount *m);
	void (*on_end)(Mount *m);
};

static void buffer_free(Buffer *b)
{
	free(b->fuse.mem);
	g_free(b);
}

static Buffer *buffer_get(Device *d)
{
	Buffer *b = d->free;
	if (!b)
		return g_new0(Buffer, 1);
	d->free = b->next;
	d->nfree--;
	return b;
}

static void buffer_put(Device *d, Buffer *b)
{
	if (d->nfree >= MAX_FREE_BUFFERS) {
		buffer_free(b);
		return;
	}
	b->next = d->free;
	d->free = b;
	d->nfree++;
}

static void buffer_returned(gpointer data)
{
	Buffer *b = data;
	if (!b->device) {
		buffer_free(b);
		return;
	}
	*b->link = b->next;
	if (b->next)
		b->next->link = b->link;
	buffer_put(b->device, b);
}

GBytes *device_take(Device *d, const void *p, gsize n)
{
	Buffer *b = g_steal_pointer(&d->current);
	b->device = d;
	b->next = d->lent;
	b->link = &d->lent;
	if (b->next)
		b->next->link = &b->next;
	d->lent = b;
	return g_bytes_new_with_free_func(p, n, buffer_returned, b);
}

/* FALSE: nothing more to read now, or the connection is over. */
static gboolean handle_one(Device *d)
{
	struct fuse_session *se = d->m->se;
	Buffer *b = d->current ? d->current : (d->current = buffer_get(d));
	int n = fuse_session_receive_buf(se, &b->fuse);
	if (n == -EINTR)
		return TRUE;
	if (n == -EAGAIN)
		return FALSE;
	if (n <= 0) {
		d->on_end(d->m);
		return FALSE;
	}
	if (d->ready) {
		fuse_session_process_buf(se, &b->fuse);
		return TRUE;
	}
	init_answer(d->m, &b->fuse);
	/* INIT settled how large requests may be: its buffer may be too small for them */
	d->ready = TRUE;
	buffer_free(g_steal_pointer(&d->current));
	d->on_ready(d->m);
	return TRUE;
}

static gboolean device_dispatch(GSource *source, GSourceFunc fn, gpointer user)
{
	Device *d = (Device *)source;
	/* With one request under way there is rarely a second one behind it: one poll is cheaper than a read in vain and then the poll. */
	for (guint i = 0; i < MAX_REQUESTS_PER_TURN && !d->m->ending; i++)
		if (!handle_one(d) || d->m->requests.length <= 1)
			break;
	return G_SOURCE_CONTINUE;
}

static gboolean device_check(GSource *source)
{
	return g_source_query_unix_fd(source, ((Device *)source)->tag) != 0;
}

static GSourceFuncs device_funcs = { .check = device_check, .dispatch = device_dispatch };

Device *device_new(Mount *m, void (*on_ready)(Mount *m), void (*on_end)(Mount *m))
{
	Device *d = (Device *)g_source_new(&device_funcs, sizeof(Device));
	d->m = m;
	d->on_ready = on_ready;
	d->on_end = on_end;
	int fd = fuse_session_fd(m->se);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	d->tag = g_source_add_unix_fd(&d->source, fd, G_IO_IN | G_IO_ERR | G_IO_HUP);
	/* nobody runs the context from inside; but GLib takes the descriptor of a source that may not recurse out of its poll and back at each
	 * dispatch, which is two writes to an eventfd and another turn of the loop */
	g_source_set_can_recurse(&d->source, TRUE);
	g_source_attach(&d->source, m->ctx);
	return d;
}

void device_free(Device *d)
{
	if (!d)
		return;
	for (Buffer *b = d->lent; b; b = b->next)
		b->device = NULL;
	for (Buffer *b = d->free, *next; b; b = next) {
		next = b->next;
		buffer_free(b);
	}
	if (d->current)
		buffer_free(d->current);
	g_source_destroy(&d->source);
	g_source_unref(&d->source);
}
