/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pingpong IP TURNS BYTES: a request and a response of so many bytes by turns, over one connection of this process with itself: each
 * is a packet of its own, and is read before the next. Prints how many ns it took.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_BYTES 65536

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ul + ts.tv_nsec;
}

static void move(int from, int to, size_t size)
{
	static char data[MAX_BYTES];

	if (send(from, data, size, MSG_NOSIGNAL) != (ssize_t)size || recv(to, data, size, MSG_WAITALL) != (ssize_t)size)
		err(1, "a turn");
}

static void join(const char *ip, int *ret_client, int *ret_server)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	socklen_t len = sizeof(address);
	int family = strchr(ip, ':') ? AF_INET6 : AF_INET, one = 1, listener = socket(family, SOCK_STREAM, 0);

	address.sin6_family = family;
	if (inet_pton(family, ip, family == AF_INET6 ? (void *)&address.sin6_addr : &v4->sin_addr) != 1)
		errx(1, "%s is no address", ip);
	*ret_client = socket(family, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 1) || getsockname(listener, (struct sockaddr *)&address, &len) ||
	    connect(*ret_client, (struct sockaddr *)&address, len) || (*ret_server = accept(listener, NULL, NULL)) < 0 ||
	    setsockopt(*ret_client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) || setsockopt(*ret_server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		err(1, "cannot connect");
	close(listener);
}

int main(int argc, char **argv)
{
	unsigned long turns, size, start;
	int client, server;

	if (argc != 4 || (size = strtoul(argv[3], NULL, 10)) == 0 || size > MAX_BYTES)
		errx(1, "usage: pingpong IP TURNS BYTES");
	turns = strtoul(argv[2], NULL, 10);
	join(argv[1], &client, &server);
	start = now();
	for (unsigned long i = 0; i < turns; i++) {
		move(client, server, size);
		move(server, client, size);
	}
	printf("%lu\n", now() - start);
	return 0;
}
