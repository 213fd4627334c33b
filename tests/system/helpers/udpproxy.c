/* udpproxy [OPTION...] LISTEN=TARGET...   a bad network for datagrams: each pair ADDR:PORT=ADDR:PORT (IPv4) listens at LISTEN and hands on to TARGET, and
 *                                         what comes back to the sender. Decisions follow from the seed, a process with one thread makes them in turn.
 *   -s SEED  -l LOSS  -d DUP  -r REORDER (in thousandths, each way)   -t DELAY_MS  -j JITTER_MS (added, evenly from 0)  -w REORDER_MS (what a reordered one
 *   waits longer, default 20)
 * It begins calm (everything is handed on at once) and says "ready"; SIGUSR2 turns the faults on, and off again. SIGUSR1, and SIGTERM before it ends, print
 * what happened: "received N passed N lost N duplicated N delayed N reordered N overflow N flows N". reordered counts datagrams that left behind a
 * younger one of their flow, whatever made them; overflow, those dropped because MAX_HELD bytes were waiting. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PAIRS = 32, MAX_FLOWS = 200, MAX_PACKET = 65536, MAX_HELD = 32 << 20, MAX_WAITING = 1 << 16, PER_TURN = 64, SOCKET_BUF = 4 << 20 };

typedef struct { int fd; struct sockaddr_in listen, target; } Pair;
/* One sender at one pair. Each way has numbers, to see who overtook whom. */
typedef struct { int fd, pair; struct sockaddr_in from; int64_t used; uint64_t in[2], out[2]; unsigned life; } Flow;
typedef struct { int64_t due; uint64_t order, number; int flow, back; unsigned life; size_t n; unsigned char *p; } Packet;

static Pair pairs[MAX_PAIRS];
static Flow flows[MAX_FLOWS];
static int pair_count, flow_count;
static Packet heap[MAX_WAITING];
static size_t waiting, held;
static uint64_t seed = 1, order;
static unsigned loss, dup_, reorder, delay_ms, jitter_ms, reorder_ms = 20;
static struct { unsigned long received, passed, lost, duplicated, delayed, reordered, overflow, flows; } did;
static volatile sig_atomic_t bad_now, show, stop;

static void on_signal(int sig)
{
	if (sig == SIGUSR2) bad_now = !bad_now;
	else if (sig == SIGUSR1) show = 1;
	else stop = 1;
}

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static unsigned rnd(unsigned below)
{
	uint64_t z = (seed += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return below ? (z ^ (z >> 31)) % below : 0;
}

static void print(void)
{
	printf("received %lu passed %lu lost %lu duplicated %lu delayed %lu reordered %lu overflow %lu flows %lu\n", did.received, did.passed, did.lost,
		did.duplicated, did.delayed, did.reordered, did.overflow, did.flows);
	fflush(stdout);
}

/* --- those that wait: a heap by time --- */

static int sooner(const Packet *a, const Packet *b) { return a->due != b->due ? a->due < b->due : a->order < b->order; }
static void swap(size_t a, size_t b) { Packet t = heap[a]; heap[a] = heap[b]; heap[b] = t; }

static void push(Packet p)
{
	size_t i = waiting++;
	heap[i] = p;
	for (; i && sooner(&heap[i], &heap[(i - 1) / 2]); i = (i - 1) / 2) swap(i, (i - 1) / 2);
}

static Packet pop(void)
{
	Packet top = heap[0];
	heap[0] = heap[--waiting];
	for (size_t i = 0, c; (c = 2 * i + 1) < waiting; i = c) {
		if (c + 1 < waiting && sooner(&heap[c + 1], &heap[c])) c++;
		if (!sooner(&heap[c], &heap[i])) break;
		swap(i, c);
	}
	return top;
}

/* --- flows --- */

static int udp_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = SOCKET_BUF;
	if (fd < 0) return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	return fd;
}

/* The flow of that sender; when all places are taken, that of the one that was silent for longest. */
static int flow_of(int pair, const struct sockaddr_in *from)
{
	int oldest = 0, i;
	for (i = 0; i < flow_count; i++) {
		Flow *f = &flows[i];
		if (f->pair == pair && f->from.sin_port == from->sin_port && f->from.sin_addr.s_addr == from->sin_addr.s_addr) return i;
		if (f->used < flows[oldest].used) oldest = i;
	}
	int fd = udp_socket();
	if (fd < 0 || connect(fd, (struct sockaddr *)&pairs[pair].target, sizeof pairs[pair].target) != 0) {
		if (fd >= 0) close(fd);
		return -1;
	}
	if (flow_count < MAX_FLOWS) i = flow_count++;
	else close(flows[i = oldest].fd);
	unsigned life = flows[i].life + 1;
	flows[i] = (Flow){ .fd = fd, .pair = pair, .from = *from, .life = life };
	did.flows++;
	return i;
}

static void hand_on(const Packet *p)
{
	Flow *f = &flows[p->flow];
	if (f->life != p->life) { did.lost++; return; }
	if (p->number < f->out[p->back]) did.reordered++;
	else f->out[p->back] = p->number;
	/* refused, or no room: as on a network, nobody is told */
	ssize_t n = p->back ? sendto(pairs[f->pair].fd, p->p, p->n, 0, (struct sockaddr *)&f->from, sizeof f->from) : send(f->fd, p->p, p->n, 0);
	if (n >= 0) did.passed++;
	else if (errno == ECONNREFUSED) did.passed += send(f->fd, p->p, p->n, 0) >= 0;
}

static void hold(Packet p, unsigned wait_us)
{
	if (!wait_us && !waiting) { hand_on(&p); return; }
	if (waiting == MAX_WAITING || held + p.n > MAX_HELD) { did.overflow++; return; }
	unsigned char *copy = malloc(p.n + 1);
	if (!copy) { did.overflow++; return; }
	p.p = memcpy(copy, p.p, p.n);
	p.due = now_us() + wait_us;
	p.order = order++;
	held += p.n;
	if (wait_us) did.delayed++;
	push(p);
}

static void decide(int flow, int back, unsigned char *buf, size_t n)
{
	Flow *f = &flows[flow];
	Packet p = { .flow = flow, .life = f->life, .back = back, .n = n, .p = buf, .number = ++f->in[back] };
	f->used = now_us();
	did.received++;
	if (!bad_now) { hold(p, 0); return; }
	if (rnd(1000) < loss) { did.lost++; return; }
	int copies = 1 + (rnd(1000) < dup_);
	if (copies > 1) did.duplicated++;
	while (copies--) {
		unsigned wait = delay_ms * 1000 + rnd(jitter_ms * 1000 + 1);
		if (rnd(1000) < reorder) wait += reorder_ms * 1000;
		hold(p, wait);
	}
}

static void take(int fd, int pair, int flow)
{
	static unsigned char buf[MAX_PACKET];
	for (int i = 0; i < PER_TURN; i++) {
		struct sockaddr_in from;
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len);
		if (n < 0 && errno == ECONNREFUSED) continue;
		if (n < 0) return;
		if (flow >= 0) decide(flow, 1, buf, n);
		else {
			int f = flow_of(pair, &from);
			if (f >= 0) decide(f, 0, buf, n);
		}
	}
}

static void turn(const sigset_t *outside)
{
	struct pollfd set[MAX_PAIRS + MAX_FLOWS];
	int n = 0, live = flow_count;
	for (int i = 0; i < pair_count; i++) set[n++] = (struct pollfd){ .fd = pairs[i].fd, .events = POLLIN };
	for (int i = 0; i < live; i++) set[n++] = (struct pollfd){ .fd = flows[i].fd, .events = POLLIN };
	int64_t left = waiting ? heap[0].due - now_us() : 0;
	if (left < 0) left = 0;
	struct timespec t = { .tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000 };
	int r = ppoll(set, n, waiting ? &t : NULL, outside);
	/* replies first: taking from a listener may give a flow's place to another */
	for (int i = 0; r > 0 && i < live; i++) if (set[pair_count + i].revents) take(flows[i].fd, flows[i].pair, i);
	for (int i = 0; r > 0 && i < pair_count; i++) if (set[i].revents) take(pairs[i].fd, i, -1);
	for (int64_t now = now_us(); waiting && heap[0].due <= now; ) {
		Packet p = pop();
		hand_on(&p);
		held -= p.n;
		free(p.p);
	}
	if (show) show = 0, print();
}

/* --- the command line --- */

static int address(const char *text, size_t n, struct sockaddr_in *a)
{
	char copy[64];
	if (n >= sizeof copy) return -1;
	memcpy(copy, text, n);
	copy[n] = 0;
	char *colon = strchr(copy, ':');
	if (!colon) return -1;
	*colon = 0;
	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(atoi(colon + 1)) };
	return inet_pton(AF_INET, copy, &a->sin_addr) == 1 ? 0 : -1;
}

static int add_pair(const char *text)
{
	const char *eq = strchr(text, '=');
	Pair *p = &pairs[pair_count];
	if (pair_count == MAX_PAIRS || !eq || address(text, eq - text, &p->listen) || address(eq + 1, strlen(eq + 1), &p->target)) {
		fprintf(stderr, "udpproxy: %s is not ADDR:PORT=ADDR:PORT\n", text);
		return -1;
	}
	p->fd = udp_socket();
	if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&p->listen, sizeof p->listen) != 0) { perror(text); return -1; }
	pair_count++;
	return 0;
}

int main(int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "s:l:d:r:t:j:w:")) != -1; ) {
		unsigned v = c == '?' ? 0 : strtoul(optarg, NULL, 0);
		switch (c) {
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'l': loss = v; break;
		case 'd': dup_ = v; break;
		case 'r': reorder = v; break;
		case 't': delay_ms = v; break;
		case 'j': jitter_ms = v; break;
		case 'w': reorder_ms = v; break;
		default: return 2;
		}
	}
	for (; optind < argc; optind++) if (add_pair(argv[optind]) != 0) return 1;
	if (!pair_count) { fprintf(stderr, "usage: udpproxy [-s SEED] [-l LOSS] [-d DUP] [-r REORDER] [-t MS] [-j MS] [-w MS] ADDR:PORT=ADDR:PORT...\n"); return 2; }
	/* signals come only while it waits */
	sigset_t block, outside;
	sigemptyset(&block);
	for (size_t i = 0; i < 4; i++) {
		int sig = (int[]){ SIGUSR1, SIGUSR2, SIGTERM, SIGINT }[i];
		sigaddset(&block, sig);
		sigaction(sig, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	}
	sigprocmask(SIG_BLOCK, &block, &outside);
	printf("ready\n");
	fflush(stdout);
	while (!stop) turn(&outside);
	print();
	return 0;
}
