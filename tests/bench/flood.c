// SPDX-License-Identifier: BSD-2-Clause
/*
 * flood COUNT [tcp]: sends COUNT small UDP packets over loopback from CPU 0 and prints one JSON object. Nobody reads the receiving
 * socket: its queue is full after the first few, so a packet costs little but the way through the stack. With `tcp`: TCP packets of
 * one flow with a wrong checksum instead.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define BATCH 64

static struct sockaddr_in address = { .sin_family = AF_INET };

static int udp_sender(void)
{
	int receiver = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0), few = 2048;
	socklen_t size = sizeof(address);

	if (receiver < 0 || sender < 0 || setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few)) ||
	    bind(receiver, (struct sockaddr *)&address, size) || getsockname(receiver, (struct sockaddr *)&address, &size) ||
	    connect(sender, (struct sockaddr *)&address, size))
		die("sockets");
	return sender;
}

/* The kernel fills in what is 0 of the IP header. */
static int tcp_sender(char *ret_packet)
{
	static const unsigned char packet[64] = { 0x45, 0, 0, 64, [8] = 64, 6, [12] = 127, 0, 0, 1, 127, 0, 0, 1, 0x10, 1, 0x10, 2, [32] = 0x50, 0x10, [36] = 1 };
	int sender = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);

	memcpy(ret_packet, packet, sizeof(packet));
	if (sender < 0 || connect(sender, (struct sockaddr *)&address, sizeof(address)))
		die("raw socket");
	return sender;
}

int main(int argc, char **argv)
{
	unsigned count = argc >= 2 ? atoi(argv[1]) : 0;
	int sender;
	char payload[64] = "";
	struct iovec iov = { .iov_base = payload, .iov_len = sizeof(payload) };
	struct mmsghdr batch[BATCH] = { 0 };
	uint64_t start, sent = 0;

	if (!count) {
		fprintf(stderr, "usage: flood COUNT [tcp]\n");
		return 2;
	}
	end_with_parent();
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sender = argc > 2 ? tcp_sender(payload) : udp_sender();
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
