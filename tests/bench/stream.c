// SPDX-License-Identifier: BSD-2-Clause
/*
 * stream COUNT UP DOWN: COUNT times over one connection on loopback the client sends UP bytes and waits for DOWN bytes, which the
 * server sends when it has all of them. Prints one JSON object: the time of each of PARTS equal parts, and the CPU time of client and
 * server together. Both run on CPU 0: waking another one varies more than what is measured.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PARTS 10

static char buffer[1 << 17];

static size_t piece(uint64_t left)
{
	return left < sizeof(buffer) ? left : sizeof(buffer);
}

static void send_all(int fd, uint64_t left)
{
	while (left) {
		ssize_t n = send(fd, buffer, piece(left), MSG_NOSIGNAL);

		if (n < 0)
			die("send");
		left -= n;
	}
}

/* False: the peer has closed. */
static bool receive_all(int fd, uint64_t left)
{
	while (left) {
		ssize_t n = recv(fd, buffer, piece(left), 0);

		if (n < 0)
			die("recv");
		if (!n)
			return false;
		left -= n;
	}
	return true;
}

static void serve(int listener, uint64_t up, uint64_t down)
{
	int fd, one = 1;

	end_with_parent();
	fd = accept(listener, NULL, NULL);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("accept");
	while (receive_all(fd, up))
		send_all(fd, down);
	exit(0);
}

static int connect_to_server(uint64_t up, uint64_t down)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (listener < 0 || fd < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &size))
		die("listen");
	pin(0);
	if (!fork()) {
		close(fd);
		serve(listener, up, down);
	}
	if (connect(fd, (struct sockaddr *)&address, size) || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("connect");
	return fd;
}

int main(int argc, char **argv)
{
	unsigned count = argc == 4 ? atoi(argv[1]) / PARTS * PARTS : 0;
	uint64_t start, up, down;
	int fd;

	if (!count) {
		fprintf(stderr, "usage: stream COUNT UP DOWN, COUNT being at least %d\n", PARTS);
		return 2;
	}
	up = strtoull(argv[2], NULL, 10);
	down = strtoull(argv[3], NULL, 10);
	end_with_parent();
	fd = connect_to_server(up, down);
	printf("{\"count\":%u,\"part_ns\":[", count);
	start = clock_ns(CLOCK_MONOTONIC);
	for (unsigned i = 1; i <= count; i++) {
		send_all(fd, up);
		if (!receive_all(fd, down))
			die("the server has ended");
		if (i % (count / PARTS))
			continue;
		printf("%s%llu", i == count / PARTS ? "" : ",", (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - start));
		start = clock_ns(CLOCK_MONOTONIC);
	}
	close(fd);
	wait(NULL);
	printf("],\"cpu_ns\":%llu}\n", (unsigned long long)(cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN)));
	return 0;
}
