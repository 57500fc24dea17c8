// SPDX-License-Identifier: BSD-2-Clause
/*
 * connect COUNT: opens COUNT TCP connections over loopback, as fast as one core can, and prints one JSON object: the time of
 * each of PARTS equal parts, and the CPU time of client and server together.
 *
 * The client runs on CPU 0, a server process on CPU 1. The server accepts and closes with SO_LINGER 0, so an RST ends each
 * connection and nothing stays in TIME_WAIT. The client keeps up to WINDOW connections open and waits for the RST of the
 * oldest, so every connection is accepted before it is closed. Destinations are several 127.x addresses: ports do not run out.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define WINDOW 64
#define ADDRESSES 8
#define PARTS 10

static void serve(int listener)
{
	end_with_parent();
	pin(1);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			die("accept");
		close(fd);	/* with the listener's linger 0: RST */
	}
}

static int listen_here(struct sockaddr_in *ret_address)
{
	const struct linger reset = { .l_onoff = 1 };
	socklen_t size = sizeof(*ret_address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_address = (struct sockaddr_in){ .sin_family = AF_INET };
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) ||
	    bind(fd, (struct sockaddr *)ret_address, size) || listen(fd, 4 * WINDOW) ||
	    getsockname(fd, (struct sockaddr *)ret_address, &size))
		die("listen");
	return fd;
}

static int open_one(struct sockaddr_in *address, unsigned i)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK + i % ADDRESSES);
	if (fd < 0)
		die("socket");
	if (!connect(fd, (struct sockaddr *)address, sizeof(*address)))
		return fd;
	if (errno != ECONNRESET)
		die("connect");
	close(fd);	/* the server was faster than our way out of the call */
	return -1;
}

static void close_one(int fd)
{
	char byte;

	if (fd < 0)
		return;
	if (recv(fd, &byte, 1, 0) >= 0 || errno != ECONNRESET)
		die("no reset");
	close(fd);
}

static pid_t start_server(struct sockaddr_in *ret_address)
{
	int listener = listen_here(ret_address);
	pid_t server = fork();

	if (server < 0)
		die("fork");
	if (!server)
		serve(listener);
	close(listener);
	return server;
}

static void run_client(struct sockaddr_in *address, unsigned count, uint64_t *ret_part_ns)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), now;
	int open[WINDOW];

	for (unsigned i = 0; i < count; i++) {
		if (i >= WINDOW)
			close_one(open[i % WINDOW]);
		open[i % WINDOW] = open_one(address, i);
		if ((i + 1) % (count / PARTS))
			continue;
		now = clock_ns(CLOCK_MONOTONIC);
		ret_part_ns[i / (count / PARTS)] = now - start;
		start = now;
	}
	for (unsigned i = count; i < count + WINDOW; i++)
		close_one(open[i % WINDOW]);
}

int main(int argc, char **argv)
{
	unsigned count = argc == 2 ? atoi(argv[1]) / PARTS * PARTS : 0;
	uint64_t part_ns[PARTS], total = 0;
	struct sockaddr_in address;
	pid_t server;

	if (count < WINDOW) {
		fprintf(stderr, "usage: connect COUNT (at least %d)\n", WINDOW);
		return 2;
	}
	end_with_parent();
	server = start_server(&address);
	pin(0);
	run_client(&address, count, part_ns);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	printf("{\"count\":%u,\"cpu_ns\":%llu,\"part_ns\":[", count,
	       (unsigned long long)(cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN)));
	for (int i = 0; i < PARTS; i++) {
		printf("%s%llu", i ? "," : "", (unsigned long long)part_ns[i]);
		total += part_ns[i];
	}
	printf("],\"wall_ns\":%llu}\n", (unsigned long long)total);
	return 0;
}
