/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What traffic.c's connections say to each other: so many bytes each way at once, and one of several ends. Whatever the end, each side
 * has received all that the other has sent. Functions return 0 or negative errno.
 */
#ifndef NETLINE_TEST_EXCHANGE_H
#define NETLINE_TEST_EXCHANGE_H

#include "move.h"

#include <stdlib.h>

enum ending { CLIENT_CLOSES, SERVER_CLOSES, HALF_CLOSE, RESET, ENDINGS };

struct request {	/* the first bytes */
	unsigned int up, down, ending;
};

/* Most are short. */
static inline unsigned int exchange_size(unsigned int *seed, int max_bytes)
{
	unsigned int limit = max_bytes >> (rand_r(seed) % 16);

	return rand_r(seed) % (limit + 1);
}

static inline int exchange_as_client(int fd, int number, int max_bytes, struct moved *moved)
{
	unsigned int seed = number + 1;
	struct request request = { exchange_size(&seed, max_bytes), exchange_size(&seed, max_bytes), number % ENDINGS };
	struct linger linger = { .l_onoff = 1 };
	int err;

	if (send(fd, &request, sizeof(request), MSG_NOSIGNAL) != sizeof(request))
		return -EIO;
	moved->sent += sizeof(request);
	/* The last byte says that all has arrived: from then on a reset takes nothing away. */
	err = move_bytes(fd, request.up, request.down + 1ll, moved);
	if (!err && request.ending == HALF_CLOSE && shutdown(fd, SHUT_WR))
		err = -errno;
	if (!err && (request.ending == SERVER_CLOSES || request.ending == HALF_CLOSE))
		err = move_bytes(fd, 0, TO_END, moved);
	if (!err && request.ending == RESET && setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)))
		err = -errno;
	return err;
}

static inline int exchange_as_server(int fd, struct moved *moved)
{
	struct request request;
	int err;

	if (recv(fd, &request, sizeof(request), MSG_WAITALL) != sizeof(request))
		return -EIO;
	moved->received += sizeof(request);
	err = move_bytes(fd, request.down, request.up, moved);
	if (!err)
		err = move_bytes(fd, 1, 0, moved);
	if (err || request.ending == SERVER_CLOSES)
		return err;
	err = move_bytes(fd, 0, TO_END, moved);
	if (!err && request.ending == HALF_CLOSE)
		err = move_bytes(fd, 1, 0, moved);
	return err == -ECONNRESET && request.ending == RESET ? 0 : err;
}
#endif
