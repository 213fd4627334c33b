/* consolenoise ADDR PORT WHAT [N]: what a console must bear.
 *   line     a line of a megabyte, then one of four without an end
 *   binary   a megabyte of random bytes
 *   half     half a command, then the connection is closed, or reset
 *   many     N connections at once, each with a line, held for a second
 *   silent   commands whose answers are never read
 * The other end may close the connection whenever it likes; only a refused first connection is a failure. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in to = { .sin_family = AF_INET };

static int dial(void)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);
	struct timeval t = { 3, 0 };
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	if (s >= 0 && connect(s, (struct sockaddr *)&to, sizeof to) == 0) return s;
	if (s >= 0) close(s);
	return -1;
}

static size_t push(int s, const void *p, size_t n)
{
	size_t done = 0;
	for (ssize_t w; done < n && (w = send(s, (const char *)p + done, n - done, MSG_NOSIGNAL)) > 0; ) done += w;
	return done;
}

static int line(size_t n, int end)
{
	char *buf = malloc(n + 2);
	memset(buf, 'A', n);
	memcpy(buf + n, "\r\n", 2);
	int s = dial();
	if (s < 0) return 1;
	push(s, buf, n + (end ? 2 : 0));
	recv(s, buf, 1000, 0);
	return close(s);
}

static int binary(void)
{
	char buf[1 << 16];
	int s = dial(), f = open("/dev/urandom", O_RDONLY);
	if (s < 0) return 1;
	for (int i = 0; i < 16 && read(f, buf, sizeof buf) == sizeof buf; i++) push(s, buf, sizeof buf);
	close(f);
	/* telnet options without an end */
	memset(buf, 255, 1000);
	buf[1] = (char)250;
	push(s, buf, 1000);
	return close(s);
}

static int half(int n)
{
	for (int i = 0; i < n; i++) {
		int s = dial();
		if (s < 0) return i == 0;
		push(s, "logi\r\nhel", i % 10);
		if (i & 1) setsockopt(s, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
		close(s);
	}
	return 0;
}

static int many(int n)
{
	int *s = calloc(n, sizeof *s), open_ = 0;
	struct rlimit r = { n + 50, n + 50 };
	setrlimit(RLIMIT_NOFILE, &r);
	for (int i = 0; i < n; i++)
		if ((s[i] = dial()) >= 0) {
			open_++;
			push(s[i], "help\r\n", 6);
		} else if (!i) return 1;
	sleep(1);
	for (int i = 0; i < n; i++) if (s[i] >= 0) close(s[i]);
	printf("%d of %d connected\n", open_, n);
	return 0;
}

static int silent(void)
{
	int s = dial();
	if (s < 0) return 1;
	for (int i = 0; i < 20000; i++) if (push(s, "help\r\n", 6) != 6) break;
	return close(s);
}

int main(int argc, char **argv)
{
	if (argc < 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: consolenoise ADDR PORT line|binary|half|many|silent [N]\n");
		return 2;
	}
	to.sin_port = htons(atoi(argv[2]));
	int n = argc > 4 ? atoi(argv[4]) : 100;
	if (!strcmp(argv[3], "line")) return line(1 << 20, 1) || line(4 << 20, 0);
	if (!strcmp(argv[3], "binary")) return binary();
	if (!strcmp(argv[3], "half")) return half(n);
	if (!strcmp(argv[3], "many")) return many(n);
	if (!strcmp(argv[3], "silent")) return silent();
	return 2;
}
