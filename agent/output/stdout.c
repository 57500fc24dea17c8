/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes to the inherited stdout. O_NONBLOCK is never set on it, because the shell and others share its file description:
 * a worker thread does blocking writes, so that a slow reader fills our queue and not the event loop.
 */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../log.h"
#include "write_all.h"

struct stdout_writer {
	uv_work_t work;
	uv_poll_t reader;	/* on `epoll`, which tells when the reading end of a pipe is gone */
	int epoll;
	struct output *output;
	struct iovec iov[OUTPUT_BATCH_IOVS];
	unsigned n_iov;
	size_t written;
	int error;
	bool busy, gone, closed;
};

static void write_batch(uv_work_t *work)
{
	struct stdout_writer *writer = work->data;

	writer->error = write_all(STDOUT_FILENO, writer->iov, writer->n_iov, &writer->written);
}

static void end_output(struct output *output, size_t written, int error)
{
	output_closed(output, written, error, error == -ENOSPC ? LOST_DISK_FULL : LOST_WRITE_ERROR);
}

static void after_write(uv_work_t *work, int status)
{
	struct stdout_writer *writer = work->data;

	(void)status;
	writer->busy = false;
	if (writer->closed)
		free(writer);
	else if (writer->error || writer->gone)
		end_output(writer->output, writer->written, writer->error ?: -EPIPE);
	else
		output_written(writer->output);
}

static void stdout_write(struct output *output)
{
	struct stdout_writer *writer = output->writer;

	for (unsigned i = 0; i < output->n_batch; i++)
		writer->iov[i] = output->batch[i];
	writer->n_iov = output->n_batch;
	writer->busy = true;
	uv_queue_work(output->loop, &writer->work, write_batch, after_write);
}

static void reader_gone(uv_poll_t *handle, int status, int events)
{
	struct stdout_writer *writer = handle->data;

	(void)status;
	(void)events;
	uv_poll_stop(handle);
	writer->gone = true;
	if (!writer->busy)	/* else when the write is done */
		end_output(writer->output, 0, -EPIPE);
}

/* An epoll of our own: uv_poll_init() would set O_NONBLOCK on stdout itself. Files cannot be watched, and need not be. */
static int watch_reader(struct stdout_writer *writer, uv_loop_t *loop)
{
	struct epoll_event only_errors = { .events = 0 };
	int err;

	writer->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (writer->epoll < 0)
		return -errno;
	if (epoll_ctl(writer->epoll, EPOLL_CTL_ADD, STDOUT_FILENO, &only_errors) && errno != EPERM)
		return -errno;
	err = uv_poll_init(loop, &writer->reader, writer->epoll);
	if (err)
		return err;
	writer->reader.data = writer;
	return uv_poll_start(&writer->reader, UV_READABLE, reader_gone);
}

static int stdout_open(struct output *output)
{
	struct stdout_writer *writer = calloc(1, sizeof(*writer));
	int err;

	if (!writer)
		return -ENOMEM;
	writer->output = output;
	writer->work.data = writer;
	err = watch_reader(writer, output->loop);
	if (err) {
		log_error("stdout: %s", err == -EBADF ? "it is closed, so there is nowhere to write records" : strerror(-err));
		if (writer->epoll >= 0)
			close(writer->epoll);
		free(writer);
		return err;
	}
	if (log_is_journal(STDOUT_FILENO))
		log_notice("stdout is the journal, which drops lines beyond its rate limit (10,000 in 30 s) and does not say which: `-o file:PATH` keeps them");
	output->writer = writer;
	return 0;
}

static void reader_closed(uv_handle_t *handle)
{
	struct stdout_writer *writer = handle->data;

	close(writer->epoll);
	if (!writer->busy)
		free(writer);
}

/* A write that hangs in the kernel is left alone; the process ends around it. */
static void stdout_close(struct output *output)
{
	struct stdout_writer *writer = output->writer;

	writer->closed = true;
	uv_close((uv_handle_t *)&writer->reader, reader_closed);
}

const struct output_ops stdout_ops = {
	.open = stdout_open,
	.write = stdout_write,
	.close = stdout_close,
	.blocks = true,
};
