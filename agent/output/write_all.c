/* SPDX-License-Identifier: BSD-2-Clause */
#include "write_all.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

unsigned iov_skip(struct iovec *iov, unsigned n_iov, size_t bytes)
{
	unsigned i = 0;

	for (; i < n_iov && bytes >= iov[i].iov_len; i++)
		bytes -= iov[i].iov_len;
	if (i < n_iov) {
		iov[i].iov_base = (char *)iov[i].iov_base + bytes;
		iov[i].iov_len -= bytes;
	}
	return i;
}

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
		at += iov_skip(at, end - at, n);
	}
	return 0;
}
