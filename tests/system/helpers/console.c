/* console ADDR PORT SECRET COMMAND...   a telnet client for scripts: logs in (unless SECRET is -), gives the commands one after the other, each when the
 * prompt is there, and prints the answers. Exit code 0: all answered; 1: the connection ended or 10 s went by without a prompt. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IAC = 255, WILL = 251, SB = 250, SE = 240, WAIT_MS = 10000 };

static int sock;
static char *text;
static size_t len;

/* Adds what came to text, telnet's own bytes taken out. */
static void take(const unsigned char *p, size_t n)
{
	static int state;
	text = realloc(text, len + n + 1);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = p[i];
		switch (state) {
		case 0: if (c == IAC) state = 1; else if (c != '\r' && c) text[len++] = c; break;
		case 1: state = c >= WILL && c < IAC ? 2 : c == SB ? 3 : 0; break;
		case 2: state = 0; break;
		case 3: if (c == SE) state = 0; break;
		}
	}
	text[len] = 0;
}

static int at_prompt(void)
{
	const char *line = len ? memrchr(text, '\n', len) : NULL;
	line = line ? line + 1 : text;
	return len > 2 && !strncmp(line, "MAGMA [", 7) && !strcmp(text + len - 2, "> ");
}
static int at_question(void)
{
	return len > 2 && !strcmp(text + len - 2, ": ");
}

/* Waits until one of the two is there; 0 if the connection ended or the time is up. */
static int wait_until(int (*a)(void), int (*b)(void))
{
	unsigned char buf[65536];
	while (!a() && !(b && b())) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		if (poll(&p, 1, WAIT_MS) <= 0) return 0;
		ssize_t n = recv(sock, buf, sizeof buf, 0);
		if (n <= 0) return 0;
		take(buf, n);
	}
	return 1;
}

static void say(const char *line)
{
	char buf[5000];
	int n = snprintf(buf, sizeof buf, "%s\r\n", line);
	if (send(sock, buf, n, MSG_NOSIGNAL) < 0) perror("send");
	len = 0;
	if (text) *text = 0;
}

/* Prints the answer without the prompt, and without the echo if there is one. */
static void show(const char *cmd)
{
	char *end = at_prompt() ? memrchr(text, '\n', len) : NULL, *p = text ? text : (char *)"";
	if (end) end[1] = 0;
	else if (at_prompt()) *text = 0;
	size_t n = strlen(cmd);
	if (n && !strncmp(p, cmd, n) && p[n] == '\n') p += n + 1;
	fputs(p, stdout);
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: console ADDR PORT SECRET COMMAND...\n");
		return 2;
	}
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
	if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) return 2;
	sock = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(sock, (struct sockaddr *)&to, sizeof to) != 0) {
		printf("connect: %s\n", strerror(errno));
		return 1;
	}
	if (!wait_until(at_prompt, NULL)) return printf("no prompt\n"), 1;
	if (!strcmp(argv[3], "-")) show("");
	else {
		say("login");
		if (!wait_until(at_question, NULL)) return printf("login asks for no secret\n"), 1;
		say(argv[3]);
		if (!wait_until(at_prompt, NULL)) return printf("no prompt after login\n"), 1;
		if (strcasestr(text, "fail") || strcasestr(text, "denied") || strcasestr(text, "wrong")) {
			show("");
			return 1;
		}
	}
	for (int i = 4; i < argc; i++) {
		say(argv[i]);
		int there = wait_until(at_prompt, NULL);
		show(argv[i]);
		if (!there) return i + 1 < argc || (strncmp(argv[i], "quit", 4) && strncmp(argv[i], "exit", 4) && strncmp(argv[i], "shutdown", 8));
	}
	return 0;
}
