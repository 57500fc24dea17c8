/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The writing end of a connected stream socket, on the loop's thread. A socket takes a part of a record where it has no room for
 * the whole: the rest is kept, and goes first when there is room again. What the peer sends is never read.
 */
#ifndef NETLINE_STREAM_H
#define NETLINE_STREAM_H

#include "output.h"

struct stream {
	struct output *output;
	int fd;
	uv_poll_t poll;
	struct iovec pieces[OUTPUT_BATCH_IOVS];
	unsigned next, n_pieces;	/* next == n_pieces: nothing to write */
	size_t written;			/* of the batch */
	uint64_t progress_ms;		/* uv_now() of the last byte that the socket took, or of the batch */
	bool waits_for_room;
	void (*on_gone)(struct stream *stream, int error);	/* the peer has left, or cannot be written to: a negative errno */
	void (*on_closed)(struct stream *stream);
};

int stream_open(struct stream *stream, struct output *output, int fd);	/* takes `fd`; a negative libuv error */
void stream_write(struct stream *stream);	/* the output's batch */
void stream_close(struct stream *stream);	/* on_closed() follows from the loop */
#endif
