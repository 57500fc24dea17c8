// SPDX-License-Identifier: BSD-2-Clause
/*
 * flood COUNT: sends COUNT small UDP packets over loopback from CPU 0 and prints one JSON object. Nobody reads the receiving
 * socket: its queue is full after the first few, so a packet costs little but the way through the stack.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define BATCH 64

int main(int argc, char **argv)
{
	unsigned count = argc == 2 ? atoi(argv[1]) : 0;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int receiver = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0), few = 2048;
	char payload[64] = "";
	struct iovec iov = { .iov_base = payload, .iov_len = sizeof(payload) };
	struct mmsghdr batch[BATCH] = { 0 };
	uint64_t start, sent = 0;

	if (!count) {
		fprintf(stderr, "usage: flood COUNT\n");
		return 2;
	}
	end_with_parent();
	if (receiver < 0 || sender < 0 || setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few)) ||
	    bind(receiver, (struct sockaddr *)&address, size) || getsockname(receiver, (struct sockaddr *)&address, &size) ||
	    connect(sender, (struct sockaddr *)&address, size))
		die("sockets");
	for (unsigned i = 0; i < BATCH; i++)
		batch[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	pin(0);
	start = clock_ns(CLOCK_MONOTONIC);
	while (sent < count) {
		int n = sendmmsg(sender, batch, BATCH, 0);

		if (n < 0)
			die("sendmmsg");
		sent += n;
	}
	printf("{\"count\":%llu,\"wall_ns\":%llu}\n", (unsigned long long)sent, (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - start));
	return 0;
}
