/* dgram ADDR PORT COUNT SEED random   sends COUNT datagrams of random bytes to ADDR:PORT
 * dgram ADDR PORT COUNT SEED forged   first listens (raw socket, root) to what others send to ADDR:PORT until it has seen 50 datagrams or 5 s went by, then
 *                                     sends COUNT of them again: as they were, cut, lengthened, with bits turned, from their sender's address or another
 * Prints how many were sent, and answered (random only). IPv4. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 50, SAMPLE_MAX = 3000, HEADERS = sizeof(struct iphdr) + sizeof(struct udphdr) };

typedef struct { struct in_addr from; uint16_t port; int len; unsigned char data[SAMPLE_MAX]; } Sample;
static Sample samples[SAMPLES];

static uint64_t rnd(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void scribble(unsigned char *p, int n, uint64_t *seed)
{
	for (int i = 0; i < n; i++) p[i] = (unsigned char)rnd(seed);
}

static int listen_for(struct sockaddr_in to)
{
	int s = socket(AF_INET, SOCK_RAW, IPPROTO_UDP), n = 0;
	if (s < 0) { perror("raw socket"); return -1; }
	unsigned char buf[70000];
	for (time_t end = time(NULL) + 5; n < SAMPLES && time(NULL) < end; ) {
		struct pollfd p = { .fd = s, .events = POLLIN };
		if (poll(&p, 1, 200) <= 0) continue;
		ssize_t len = recv(s, buf, sizeof buf, 0);
		const struct iphdr *ip = (const struct iphdr *)buf;
		if (len < (ssize_t)HEADERS || ip->daddr != to.sin_addr.s_addr) continue;
		const struct udphdr *udp = (const struct udphdr *)(buf + ip->ihl * 4);
		int body = (int)len - ip->ihl * 4 - (int)sizeof *udp;
		if (udp->dest != to.sin_port || body <= 0) continue;
		Sample *m = &samples[n++];
		m->from.s_addr = ip->saddr;
		m->port = udp->source;
		m->len = body < SAMPLE_MAX ? body : SAMPLE_MAX;
		memcpy(m->data, (const unsigned char *)(udp + 1), m->len);
	}
	close(s);
	return n;
}

static int forged(struct sockaddr_in to, long count, uint64_t seed)
{
	int n = listen_for(to), s = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (n < 0 || s < 0) return 1;
	if (!n) { printf("nothing to forge was seen\n"); return 1; }
	static unsigned char pkt[HEADERS + SAMPLE_MAX + 64];
	long sent = 0;
	for (long i = 0; i < count; i++) {
		const Sample *m = &samples[rnd(&seed) % n];
		unsigned char *body = pkt + HEADERS;
		int len = m->len;
		memcpy(body, m->data, len);
		switch (rnd(&seed) % 5) {
		case 0: break;
		case 1: len = rnd(&seed) % (len + 1); break;
		case 2: scribble(body + len, 64, &seed); len += 1 + rnd(&seed) % 64; break;
		case 3: for (int k = rnd(&seed) % 8; k >= 0 && len; k--) body[rnd(&seed) % len] ^= 1u << (rnd(&seed) & 7); break;
		case 4: if (len > 16) scribble(body + 16, len - 16, &seed); break;
		}
		struct iphdr *ip = (struct iphdr *)pkt;
		*ip = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .saddr = m->from.s_addr, .daddr = to.sin_addr.s_addr,
			.tot_len = htons(HEADERS + len) };
		struct udphdr *udp = (struct udphdr *)(ip + 1);
		*udp = (struct udphdr){ .source = rnd(&seed) & 1 ? m->port : htons(1024 + rnd(&seed) % 60000), .dest = to.sin_port, .len = htons(sizeof *udp + len) };
		if (sendto(s, pkt, HEADERS + len, 0, (struct sockaddr *)&to, sizeof to) > 0) sent++;
	}
	printf("%ld sent, made from %d real ones\n", sent, n);
	return 0;
}

static int noise(struct sockaddr_in to, long count, uint64_t seed)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	long sent = 0, answers = 0;
	unsigned char buf[2000];
	for (long i = 0; i < count; i++) {
		int len = rnd(&seed) % 3 ? rnd(&seed) % 100 : rnd(&seed) % 1500;
		scribble(buf, len, &seed);
		/* what looks like a message of known kind gets further in than what does not */
		if (len && rnd(&seed) % 2) buf[0] = rnd(&seed) % 16;
		if (sendto(s, buf, len, 0, (struct sockaddr *)&to, sizeof to) >= 0) sent++;
		while (recv(s, buf, sizeof buf, MSG_DONTWAIT) >= 0) answers++;
	}
	usleep(200000);
	while (recv(s, buf, sizeof buf, MSG_DONTWAIT) >= 0) answers++;
	printf("%ld sent, %ld answered\n", sent, answers);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	if (argc != 6 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: dgram ADDR PORT COUNT SEED random|forged\n");
		return 2;
	}
	to.sin_port = htons(atoi(argv[2]));
	long count = atol(argv[3]);
	uint64_t seed = strtoull(argv[4], NULL, 0);
	return strcmp(argv[5], "forged") ? noise(to, count, seed) : forged(to, count, seed);
}
