/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocking writes, for workers. */
#ifndef NETLINE_WRITE_ALL_H
#define NETLINE_WRITE_ALL_H

#include <stddef.h>
#include <sys/uio.h>

/* Writes all pieces, which it uses up; a negative errno. `ret_written`: bytes, also after an error. */
int write_all(int fd, struct iovec *iov, unsigned n, size_t *ret_written);
/* What is left after so many bytes: the number of pieces that are behind; the next is shortened. */
unsigned iov_skip(struct iovec *iov, unsigned n_iov, size_t bytes);
#endif
