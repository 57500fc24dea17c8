/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * file:PATH. A worker thread does all that may take time: it opens, writes, rotates. Whole lines only: what a full disk cuts is taken off
 * again. While the file cannot be written to, the queue keeps what it has room for, and each second is a new try.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../log.h"
#include "archive.h"
#include "output.h"
#include "write_all.h"

#define TRY_MS 1000
#define TIDY_SECONDS 10

struct file_writer {
	struct output *output;
	uv_work_t work, tidy;
	uv_timer_t second;

	struct output_spec spec, tidy_spec;	/* copies: settings may change, and workers outlive the output */

	/* of the worker, while one is busy */
	int fd;				/* -1: there is none */
	uint64_t period;		/* number of the rotate-time that the file was begun in */
	bool is_torn;			/* its last line, which could not be taken off */
	struct iovec iov[OUTPUT_BATCH_IOVS];
	unsigned n_iov;
	size_t bytes, written;
	int error;
	bool rotate, has_rotated;
	int tidy_error;
	bool has_compressed;		/* there may be more to do */

	bool rotate_asked, write_asked;	/* while the worker was busy */
	bool busy, tidying, has_more, told, is_closed;	/* has_more: that were rotated meanwhile */
	int tidy_told;
	unsigned seconds;
	bool timer_closed;
};

/* --- in the worker --- */

static uint64_t period_of(const struct output_spec *spec, time_t seconds)
{
	return spec->rotate_ns ? seconds / (spec->rotate_ns / 1000000000) : 0;
}

/* 1: the last byte is not a newline. */
static int ends_torn(int fd, off_t size)
{
	char last;

	if (!size)
		return 0;
	if (pread(fd, &last, 1, size - 1) != 1)
		return -errno;
	return last != '\n';
}

/* Not through a symbolic link, nothing but a file, and nobody else's. */
static int open_once(struct file_writer *writer)
{
	struct stat is;
	int fd = open(writer->spec.path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0640), err;

	if (fd < 0)
		return -errno;
	err = fstat(fd, &is) ? -errno : !S_ISREG(is.st_mode) ? -EINVAL : flock(fd, LOCK_EX | LOCK_NB) ? -errno : 0;
	if (!err)
		err = ends_torn(fd, is.st_size);
	if (err) {
		close(fd);
		return err;
	}
	writer->fd = fd;
	writer->is_torn = false;
	writer->period = period_of(&writer->spec, is.st_size ? is.st_mtim.tv_sec : time(NULL));
	return 0;
}

/* What a crash has left torn is put aside. */
static int open_file(struct file_writer *writer)
{
	int err = open_once(writer);

	if (err <= 0)
		return err;
	err = archive_put(&writer->spec);
	writer->has_rotated = !err;
	return err ?: open_once(writer);
}

static void close_file(struct file_writer *writer)
{
	if (writer->fd >= 0)
		close(writer->fd);
	writer->fd = -1;
}

/* Somebody has renamed or removed the file. */
static bool has_moved(const struct file_writer *writer, const struct stat *is)
{
	struct stat there;

	return stat(writer->spec.path, &there) || there.st_dev != is->st_dev || there.st_ino != is->st_ino;
}

static int put_aside(struct file_writer *writer)
{
	int err = archive_put(&writer->spec);

	if (err)
		return err;
	writer->has_rotated = true;
	close_file(writer);
	return open_file(writer);
}

static bool is_due(const struct file_writer *writer, off_t size)
{
	const struct output_spec *spec = &writer->spec;

	if (!size)
		return false;
	return writer->is_torn || writer->rotate || (spec->rotate_bytes && size + writer->bytes > spec->rotate_bytes) ||
	       period_of(spec, time(NULL)) != writer->period;
}

/* The file to write to: opened, and rotated if it is time. */
static int prepare(struct file_writer *writer, off_t *ret_size)
{
	struct stat is;
	int err = 0;

	if (writer->fd >= 0 && (fstat(writer->fd, &is) || has_moved(writer, &is)))
		close_file(writer);
	if (writer->fd < 0)
		err = open_file(writer);
	if (!err && fstat(writer->fd, &is))
		err = -errno;
	if (!err && is_due(writer, is.st_size)) {
		err = put_aside(writer);
		if (!err && fstat(writer->fd, &is))
			err = -errno;
	}
	if (err)
		return err;
	if (!is.st_size)
		writer->period = period_of(&writer->spec, time(NULL));
	writer->rotate = false;
	*ret_size = is.st_size;
	return 0;
}

/* Bytes of whole lines among the first `written` of the batch. */
static size_t whole_lines(const struct iovec *iov, size_t written)
{
	size_t at = 0, whole = 0;

	for (; at < written; at += iov->iov_len, iov++) {
		size_t n = written - at < iov->iov_len ? written - at : iov->iov_len;
		const char *newline = memrchr(iov->iov_base, '\n', n);

		if (newline)
			whole = at + (newline - (const char *)iov->iov_base) + 1;
	}
	return whole;
}

static void write_batch(uv_work_t *work)
{
	struct file_writer *writer = work->data;
	struct iovec pieces[OUTPUT_BATCH_IOVS];
	size_t written;
	off_t size;

	writer->written = 0;
	writer->error = prepare(writer, &size);
	if (writer->error || !writer->n_iov)
		return;
	memcpy(pieces, writer->iov, writer->n_iov * sizeof(pieces[0]));
	writer->error = write_all(writer->fd, pieces, writer->n_iov, &written);
	writer->written = writer->error ? whole_lines(writer->iov, written) : written;
	if (writer->written < written && ftruncate(writer->fd, size + writer->written))
		writer->is_torn = true;
}

static void tidy_up(uv_work_t *work)
{
	struct file_writer *writer = work->data;
	const struct output_spec *spec = &writer->tidy_spec;
	int done = spec->compress ? archive_compress(spec) : 0;

	writer->tidy_error = done < 0 ? done : 0;
	writer->has_compressed = done > 0;
	writer->tidy_error = archive_trim(spec) ?: writer->tidy_error;
}

/* --- on the loop --- */

static void let_go(struct file_writer *writer)
{
	if (!writer->timer_closed || writer->busy || writer->tidying)
		return;
	close_file(writer);
	free(writer);
}

static const char *reason_text(int error)
{
	switch (error) {
	case -ELOOP: return "it is a symbolic link, which netline does not follow";
	case -EINVAL: return "it is not a regular file";
	case -EWOULDBLOCK: return "another process writes to it";
	default: return strerror(-error);
	}
}

static enum lost_reason lost_reason_of(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG ? LOST_DISK_FULL : LOST_WRITE_ERROR;
}

static void after_tidy(uv_work_t *work, int status);

static void start_tidy(struct file_writer *writer)
{
	const struct output_spec *spec = &writer->output->spec;

	writer->has_more = writer->tidying;	/* again, after this */
	if (writer->tidying || writer->is_closed || !(spec->compress || spec->keep || spec->keep_bytes))
		return;
	writer->tidying = true;
	writer->tidy_spec = *spec;
	uv_queue_work(writer->output->loop, &writer->tidy, tidy_up, after_tidy);
}

static void after_tidy(uv_work_t *work, int status)
{
	struct file_writer *writer = work->data;

	(void)status;
	writer->tidying = false;
	if (writer->is_closed) {
		let_go(writer);
		return;
	}
	if (writer->tidy_error && writer->tidy_error != writer->tidy_told)
		log_error("%s: rotated files: %s", writer->output->name, strerror(-writer->tidy_error));
	writer->tidy_told = writer->tidy_error;
	if (writer->has_compressed || writer->has_more)
		start_tidy(writer);
}

static void after_write(uv_work_t *work, int status);

static void start_work(struct file_writer *writer, const struct iovec *batch, unsigned n, size_t bytes)
{
	if (n)
		memcpy(writer->iov, batch, n * sizeof(*batch));
	writer->n_iov = n;
	writer->bytes = bytes;
	if (writer->spec.rotate_ns != writer->output->spec.rotate_ns)	/* it has changed, and its periods have other numbers */
		writer->period = period_of(&writer->output->spec, time(NULL));
	writer->spec = writer->output->spec;
	writer->rotate = writer->rotate || writer->rotate_asked;
	writer->rotate_asked = false;
	writer->busy = true;
	uv_queue_work(writer->output->loop, &writer->work, write_batch, after_write);
}

static void file_write(struct output *output)
{
	struct file_writer *writer = output->writer;

	writer->write_asked = writer->busy;
	if (!writer->busy)
		start_work(writer, output->batch, output->n_batch, output->batch_bytes);
}

/* Without records: to see whether there is a file again, or to rotate. */
static void touch(struct file_writer *writer)
{
	if (!writer->busy)
		start_work(writer, NULL, 0, 0);
}

static void file_rotate(struct output *output)
{
	struct file_writer *writer = output->writer;

	writer->rotate_asked = true;
	touch(writer);
}

static void tell_error(struct file_writer *writer)
{
	if (!writer->told)
		log_error("%s: %s; netline tries each second, and counts what is lost", writer->output->name, reason_text(writer->error));
	writer->told = true;
}

static void tell_recovery(struct file_writer *writer)
{
	if (writer->told)
		log_notice("%s: written to again", writer->output->name);
	writer->told = false;
}

/* What was asked for meanwhile comes next; else the output goes on. */
static void go_on(struct file_writer *writer, bool wrote)
{
	struct output *output = writer->output;

	if (writer->write_asked)
		file_write(output);
	else if (wrote)
		output_written(output);
	else if (output->state == OUTPUT_RETRYING)
		output_opened(output);
	if (writer->rotate_asked)
		touch(writer);
}

static void after_write(uv_work_t *work, int status)
{
	struct file_writer *writer = work->data;

	(void)status;
	writer->busy = false;
	if (writer->is_closed) {
		let_go(writer);
		return;
	}
	if (writer->has_rotated)
		start_tidy(writer);
	writer->has_rotated = false;
	if (!writer->error) {
		tell_recovery(writer);
		go_on(writer, writer->n_iov > 0);
		return;
	}
	tell_error(writer);
	writer->write_asked = false;	/* the batch goes back */
	output_interrupted(writer->output, writer->written, writer->error, lost_reason_of(writer->error));
}

static void on_second(uv_timer_t *timer)
{
	struct file_writer *writer = timer->data;

	if (++writer->seconds % TIDY_SECONDS == 0)
		start_tidy(writer);
	if (writer->output->state != OUTPUT_RETRYING)
		return;
	if (output_idle(writer->output))
		touch(writer);
	else
		output_retry(writer->output);
}

static int file_open(struct output *output)
{
	struct file_writer *writer = calloc(1, sizeof(*writer));
	int err;

	if (!writer)
		return -ENOMEM;
	writer->output = output;
	writer->spec = output->spec;
	writer->fd = -1;
	err = open_file(writer);
	if (err) {
		log_error("%s: %s", output->name, reason_text(err));
		free(writer);
		return err;
	}
	output->writer = writer;
	writer->work.data = writer->tidy.data = writer->second.data = writer;
	uv_timer_init(output->loop, &writer->second);
	uv_timer_start(&writer->second, on_second, TRY_MS, TRY_MS);
	return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct file_writer *writer = handle->data;

	writer->timer_closed = true;
	let_go(writer);
}

static void file_close(struct output *output)
{
	struct file_writer *writer = output->writer;

	writer->is_closed = true;
	uv_close((uv_handle_t *)&writer->second, on_timer_closed);
}

const struct output_ops file_ops = { .open = file_open, .write = file_write, .rotate = file_rotate, .close = file_close,
				      .blocks = true };
