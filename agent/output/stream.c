/* SPDX-License-Identifier: BSD-2-Clause */
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "write_all.h"

static void on_event(uv_poll_t *poll, int status, int events);

/* Errors and the end of the peer are told of whatever is asked for; libuv wants something asked for, and urgent data does not exist here. */
static void listen_for(struct stream *stream, bool room)
{
	if (stream->waits_for_room == room)
		return;
	stream->waits_for_room = room;
	uv_poll_start(&stream->poll, room ? UV_WRITABLE : UV_PRIORITIZED, on_event);
}

/* The peer has closed its end. That it has shut down writing says nothing: it may read on. */
static int peer_error(const struct stream *stream)
{
	struct pollfd pollfd = { .fd = stream->fd };
	int error = 0;
	socklen_t size = sizeof(error);

	if (poll(&pollfd, 1, 0) <= 0 || !(pollfd.revents & (POLLHUP | POLLERR)))
		return 0;
	getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error ? -error : -EPIPE;
}

static void advance(struct stream *stream, size_t n)
{
	stream->written += n;
	stream->progress_ms = uv_now(stream->output->loop);
	stream->next += iov_skip(stream->pieces + stream->next, stream->n_pieces - stream->next, n);
}

/* As much as there is room for; a negative errno. */
static int send_pieces(struct stream *stream)
{
	while (stream->next < stream->n_pieces) {
		struct msghdr message = { .msg_iov = stream->pieces + stream->next, .msg_iovlen = stream->n_pieces - stream->next };
		ssize_t n = sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		advance(stream, n);
	}
	return 0;
}

/* One batch at most in each turn of the loop, so that a fast reader does not keep it. */
static void on_event(uv_poll_t *poll, int status, int events)
{
	struct stream *stream = poll->data;
	int err = peer_error(stream) ?: status < 0 ? status : 0;

	(void)events;
	if (!err && stream->next == stream->n_pieces) {
		listen_for(stream, false);
		return;
	}
	err = err ?: send_pieces(stream);
	if (err)
		stream->on_gone(stream, err);
	else if (stream->next == stream->n_pieces)
		output_written(stream->output);
}

int stream_open(struct stream *stream, struct output *output, int fd)
{
	int err = uv_poll_init(output->loop, &stream->poll, fd);

	if (err) {
		close(fd);
		return err;
	}
	stream->output = output;
	stream->fd = fd;
	stream->poll.data = stream;
	stream->next = stream->n_pieces = 0;
	stream->waits_for_room = true;
	listen_for(stream, false);
	return 0;
}

void stream_write(struct stream *stream)
{
	const struct output *output = stream->output;

	for (unsigned i = 0; i < output->n_batch; i++)
		stream->pieces[i] = output->batch[i];
	stream->next = 0;
	stream->n_pieces = output->n_batch;
	stream->written = 0;
	stream->progress_ms = uv_now(output->loop);
	listen_for(stream, true);
}

static void after_close(uv_handle_t *handle)
{
	struct stream *stream = handle->data;

	close(stream->fd);
	stream->on_closed(stream);
}

void stream_close(struct stream *stream)
{
	uv_close((uv_handle_t *)&stream->poll, after_close);
}
