/* SPDX-License-Identifier: BSD-2-Clause */
#include "write_all.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

int write_all(int fd, struct iovec *iov, unsigned n_iov, size_t *ret_written)
{
	struct iovec *at = iov, *end = iov + n_iov;

	*ret_written = 0;
	while (at < end) {
		ssize_t n = writev(fd, at, end - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {	/* it came to us non-blocking, and is left so */
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
			continue;
		}
		if (n < 0)
			return -errno;
		*ret_written += n;
		for (; at < end && (size_t)n >= at->iov_len; at++)
			n -= at->iov_len;
		if (at < end) {
			at->iov_base = (char *)at->iov_base + n;
			at->iov_len -= n;
		}
	}
	return 0;
}
