/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes that a traffic program moves over a connection: what it handed to the kernel and got from it, exactly. */
#ifndef NETLINE_TEST_MOVE_H
#define NETLINE_TEST_MOVE_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#define TO_END -1ll

struct moved {
	long long sent, received;
};

static char move_buffer[1 << 16];	/* nobody looks into it: threads share it */

static inline size_t move_piece(long long left)
{
	return left < 0 || left > (long long)sizeof(move_buffer) ? sizeof(move_buffer) : (size_t)left;
}

/*
 * Sends and receives at the same time, until both are done; TO_END receives until the peer has closed. Adds to *moved, also where it
 * fails. Returns 0 or negative errno; -EPIPE: the end came too early.
 */
static inline int move_bytes(int fd, long long send_left, long long receive_left, struct moved *moved)
{
	while (send_left || receive_left) {
		struct pollfd pollfd = { .fd = fd, .events = (send_left ? POLLOUT : 0) | (receive_left ? POLLIN : 0) };
		ssize_t n;

		if (poll(&pollfd, 1, -1) < 0 && errno != EINTR)
			return -errno;
		n = receive_left ? recv(fd, move_buffer, move_piece(receive_left), MSG_DONTWAIT) : 0;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (!n && receive_left > 0)
			return -EPIPE;
		if (!n)
			receive_left = 0;
		if (n > 0)
			moved->received += n;
		if (n > 0 && receive_left > 0)
			receive_left -= n;
		n = send_left ? send(fd, move_buffer, move_piece(send_left), MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n > 0)
			moved->sent += n, send_left -= n;
	}
	return 0;
}

/* Sends until the kernel takes no more. */
static inline int move_fill(int fd, struct moved *moved)
{
	ssize_t n;

	while ((n = send(fd, move_buffer, sizeof(move_buffer), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
		moved->sent += n;
	return errno == EAGAIN ? 0 : -errno;
}

static inline int print_moved(char *to, size_t size, const struct moved *moved)
{
	return snprintf(to, size, "\"sent\":%lld,\"received\":%lld", moved->sent, moved->received);
}
#endif
