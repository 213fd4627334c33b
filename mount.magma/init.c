#include "config.h"
#include "mount.magma/init.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <unistd.h>
#include "mount.magma/log.h"

#define ANSWER_MAX 1024               /* fuse_out_header and fuse_init_out are 80 bytes */

/* Of what the kernel offers in its INIT: the flags to add to the answer. */
static guint32 flags_to_add(const struct fuse_buf *b)
{
	const struct fuse_in_header *h = b->mem;
	const struct fuse_init_in *in = (const void *)(h + 1);
	if (b->size < sizeof *h + offsetof(struct fuse_init_in, flags) + sizeof in->flags || h->opcode != FUSE_INIT)
		return 0;
	guint32 killpriv = in->flags & FUSE_HANDLE_KILLPRIV_V2 ? FUSE_HANDLE_KILLPRIV_V2 : FUSE_HANDLE_KILLPRIV;
	return in->flags & (FUSE_PARALLEL_DIROPS | killpriv);
}

static void add_flags(guint8 *answer, gsize n, guint32 flags)
{
	const struct fuse_out_header *h = (const void *)answer;
	struct fuse_init_out *out = (void *)(answer + sizeof *h);
	if (n >= sizeof *h + offsetof(struct fuse_init_out, flags) + sizeof out->flags && h->error == 0)
		out->flags |= flags;
}

/* libfuse writes its answer into a pipe that stands in for /dev/fuse meanwhile. */
void init_answer(Mount *m, const struct fuse_buf *request)
{
	struct fuse_session *se = m->se;
	_Alignas(8) guint8 answer[ANSWER_MAX];
	int fd = fuse_session_fd(se), fds[2];
	guint32 flags = flags_to_add(request);
	int device = flags ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (device < 0 || pipe2(fds, O_CLOEXEC | O_NONBLOCK)) {
		if (device >= 0)
			close(device);
		fuse_session_process_buf(se, request);
		return;
	}
	dup3(fds[1], fd, O_CLOEXEC);
	close(fds[1]);
	fuse_session_process_buf(se, request);
	dup3(device, fd, O_CLOEXEC);
	close(device);
	gssize n = read(fds[0], answer, sizeof answer);
	close(fds[0]);
	if (n <= 0)
		return;                   /* it had nothing to say: the kernel is too old for it, and the session ends */
	add_flags(answer, (gsize)n, flags);
	if (write(fd, answer, (gsize)n) != n)
		log_say("/dev/fuse: %s", g_strerror(errno));
	else
		m->killpriv_v2 = (flags & FUSE_HANDLE_KILLPRIV_V2) != 0;
}
