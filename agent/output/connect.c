/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unix-connect:PATH: a shipper listens, and we connect, again and again when it is away. A record that was cut when the connection
 * ended is sent again, whole, on the next one: nothing is doubled for a reader that drops what has no end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../log.h"
#include "stream.h"

#define FIRST_WAIT_MS 100
#define LONGEST_WAIT_MS 5000

struct connector {
	struct stream stream;
	struct output *output;
	uv_timer_t again;
	uint64_t wait_ms;
	bool connected, told, is_closed;	/* told: that it is away */
	unsigned handles;			/* that are still to close */
};

static void on_again(uv_timer_t *timer);

/* What is in the queue stays there. */
static void come_back(struct connector *connector, size_t written, int error)
{
	struct output *output = connector->output;

	if (!connector->told)
		log_notice("%s: %s; records queue up until it is back", output->name, error == -ENOENT ? "there is no socket" : strerror(-error));
	connector->told = true;
	uv_timer_start(&connector->again, on_again, connector->wait_ms, 0);
	connector->wait_ms = 2 * connector->wait_ms < LONGEST_WAIT_MS ? 2 * connector->wait_ms : LONGEST_WAIT_MS;
	output_interrupted(output, written, error, LOST_NO_READER);
}

static void let_go(struct connector *connector)
{
	if (!--connector->handles && connector->is_closed)
		free(connector);
}

static void on_stream_closed(struct stream *stream)
{
	let_go((struct connector *)stream);
}

static void on_gone(struct stream *stream, int error)
{
	struct connector *connector = (struct connector *)stream;
	size_t written = stream->next < stream->n_pieces ? stream->written : 0;

	connector->connected = false;
	stream_close(stream);
	come_back(connector, written, error);
}

/* A negative errno. */
static int try_connect(struct connector *connector)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	strcpy(address.sun_path, connector->output->spec.path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		err = -errno;
		close(fd);
		return err;
	}
	err = stream_open(&connector->stream, connector->output, fd);
	if (err)
		return err;
	connector->handles++;
	connector->connected = true;
	return 0;
}

static void on_again(uv_timer_t *timer)
{
	struct connector *connector = timer->data;
	int err = connector->handles > 1 ? -EAGAIN : try_connect(connector);	/* the last stream's handle is still closing */

	if (err) {
		come_back(connector, 0, err);
		return;
	}
	if (connector->told)
		log_notice("%s: connected", connector->output->name);
	connector->told = false;
	output_opened(connector->output);
}

static void connect_write(struct output *output)
{
	struct connector *connector = output->writer;

	connector->wait_ms = FIRST_WAIT_MS;
	stream_write(&connector->stream);
}

/* Whoever is not there yet may come. */
static int connect_open(struct output *output)
{
	struct connector *connector = calloc(1, sizeof(*connector));

	if (!connector)
		return -ENOMEM;
	connector->output = output;
	connector->wait_ms = FIRST_WAIT_MS;
	connector->stream.on_gone = on_gone;
	connector->stream.on_closed = on_stream_closed;
	uv_timer_init(output->loop, &connector->again);
	connector->again.data = connector;
	connector->handles = 1;
	output->writer = connector;
	output->state = OUTPUT_RETRYING;
	output->drop_reason = LOST_NO_READER;
	uv_timer_start(&connector->again, on_again, 0, 0);
	return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	let_go(handle->data);
}

static void connect_close(struct output *output)
{
	struct connector *connector = output->writer;

	connector->is_closed = true;
	if (connector->connected)
		stream_close(&connector->stream);
	uv_close((uv_handle_t *)&connector->again, on_timer_closed);
}

const struct output_ops connect_ops = { .open = connect_open, .write = connect_write, .close = connect_close };
