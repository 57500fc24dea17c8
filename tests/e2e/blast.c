/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blast COUNT RATE: sends the IPv4 packets that stand on stdin in hex, one a line, by turns until COUNT are sent, RATE a second or as
 * fast as it can be (0). Prints how many ns it took.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/ip.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_PACKETS 65536
#define MAX_BYTES 128
#define BURST 100	/* between two looks at the clock */

static unsigned char packets[MAX_PACKETS][MAX_BYTES];
static unsigned lengths[MAX_PACKETS], n_packets;

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ul + ts.tv_nsec;
}

static void read_packets(void)
{
	char line[2 * MAX_BYTES + 2];

	for (; n_packets < MAX_PACKETS && fgets(line, sizeof(line), stdin); n_packets++)
		for (char *at = line; sscanf(at, "%2hhx", &packets[n_packets][lengths[n_packets]]) == 1; at += 2)
			lengths[n_packets]++;
	if (!n_packets)
		errx(1, "no packets");
}

static void send_one(int fd, unsigned index)
{
	struct sockaddr_in to = { .sin_family = AF_INET };

	memcpy(&to.sin_addr, packets[index] + offsetof(struct iphdr, daddr), sizeof(to.sin_addr));
	while (sendto(fd, packets[index], lengths[index], 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		if (errno != ENOBUFS && errno != EAGAIN)
			err(1, "sendto");
}

int main(int argc, char **argv)
{
	unsigned long count, rate, start;
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);

	if (argc != 3 || fd < 0)
		errx(1, "usage: blast COUNT RATE, as root");
	count = strtoul(argv[1], NULL, 10);
	rate = strtoul(argv[2], NULL, 10);
	read_packets();
	start = now();
	for (unsigned long i = 0; i < count; i++) {
		while (rate && i % BURST == 0 && (now() - start) / 1e9 * rate < i)
			;
		send_one(fd, i % n_packets);
	}
	printf("%lu\n", now() - start);
	return 0;
}
