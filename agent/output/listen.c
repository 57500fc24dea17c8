/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unix:PATH: we listen, and each of up to 16 readers gets whole records from the next one on. A place for a reader is an output of its
 * own, with a queue and counters of its own, unix:PATH#1 to #16; whoever comes next takes the first that is vacant, and the counters
 * go on. A reader that takes nothing for 30 s, although there is something, is cut off.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../log.h"
#include "stream.h"

#define MAX_READERS 16
#define STALL_MS 30000
#define LOOK_MS 1000

struct reader {
	struct stream stream;		/* .output is the reader's */
	struct listener *listener;
	bool connected, is_closing;
};

struct listener {
	struct output *output;
	uv_poll_t poll;
	uv_timer_t look;
	int fd;
	dev_t device;
	ino_t inode;			/* of the socket, to remove no other's */
	struct reader *readers[MAX_READERS];
	unsigned handles;
	bool is_closed;
};

static void let_go(struct listener *listener)
{
	if (--listener->handles || !listener->is_closed)
		return;
	for (unsigned i = 0; i < MAX_READERS; i++)
		free(listener->readers[i]);
	free(listener);
}

/* --- readers --- */

static void on_stream_closed(struct stream *stream)
{
	struct reader *reader = (struct reader *)stream;

	reader->is_closing = false;
	let_go(reader->listener);
}

static void reader_close(struct output *output)
{
	struct reader *reader = output->writer;

	if (!reader->connected)
		return;
	reader->connected = false;
	reader->is_closing = true;
	output->is_vacant = true;
	stream_close(&reader->stream);
}

static void on_gone(struct stream *stream, int error)
{
	output_closed(stream->output, stream->next < stream->n_pieces ? stream->written : 0, error, LOST_NO_READER);
}

static void reader_write(struct output *output)
{
	struct reader *reader = output->writer;

	stream_write(&reader->stream);
}

static const struct output_ops reader_ops = { .write = reader_write, .close = reader_close };

/* A place that is vacant, perhaps a new one; NULL: there is none. */
static struct reader *find_place(struct listener *listener)
{
	struct output *output;
	unsigned i = 0;

	while (i < MAX_READERS && listener->readers[i] && (listener->readers[i]->connected || listener->readers[i]->is_closing))
		i++;
	if (i == MAX_READERS || listener->readers[i])
		return i == MAX_READERS ? NULL : listener->readers[i];
	output = calloc(1, sizeof(*output));
	listener->readers[i] = calloc(1, sizeof(*listener->readers[i]));
	if (!output || !listener->readers[i]) {
		free(output);
		free(listener->readers[i]);
		listener->readers[i] = NULL;
		return NULL;
	}
	*output = (struct output){ .ops = &reader_ops, .spec = listener->output->spec, .state = OUTPUT_CLOSED, .is_vacant = true,
				   .loop = listener->output->loop,
				   .listener = listener->output, .drop_reason = LOST_QUEUE_FULL, .writer = listener->readers[i] };
	snprintf(output->name, sizeof(output->name), "%.*s#%u", (int)sizeof(output->name) - 4, listener->output->name, i + 1);
	listener->readers[i]->listener = listener;
	listener->readers[i]->stream.output = output;
	listener->readers[i]->stream.on_gone = on_gone;
	listener->readers[i]->stream.on_closed = on_stream_closed;
	listener->output->on_reader(listener->output, output, listener->output->context);
	return listener->readers[i];
}

/* The mode of the socket is what keeps others out; where the file system or a later chmod does not, this does. */
static bool may_read(const struct listener *listener, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	gid_t groups[256];
	socklen_t groups_size = sizeof(groups);
	gid_t group = listener->output->spec.group;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return false;
	if (!peer.uid || peer.uid == geteuid())
		return true;
	if (group == (gid_t)-1)
		return false;
	if (peer.gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_size))
		return false;
	for (unsigned i = 0; i < groups_size / sizeof(gid_t); i++)
		if (groups[i] == group)
			return true;
	return false;
}

static void take_reader(struct listener *listener, int fd)
{
	bool allowed = may_read(listener, fd);
	struct reader *reader = allowed ? find_place(listener) : NULL;

	if (!reader) {
		log_notice("%s: a reader was refused: %s", listener->output->name,
			   allowed ? "there are 16 already" : "it is neither root, nor netline's user, nor in the socket's group");
		close(fd);
		return;
	}
	if (stream_open(&reader->stream, reader->stream.output, fd))
		return;
	listener->handles++;
	reader->connected = true;
	reader->stream.output->is_vacant = false;
	output_opened(reader->stream.output);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;
	int fd;

	(void)status;
	(void)events;
	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		take_reader(listener, fd);
}

static void on_look(uv_timer_t *timer)
{
	struct listener *listener = timer->data;

	for (unsigned i = 0; i < MAX_READERS; i++) {
		struct reader *reader = listener->readers[i];

		if (!reader || !reader->connected || !reader->stream.output->n_writing ||
		    uv_now(timer->loop) - reader->stream.progress_ms < STALL_MS)
			continue;
		log_notice("%s: has read nothing for %d s: cut off", reader->stream.output->name, STALL_MS / 1000);
		on_gone(&reader->stream, -ETIMEDOUT);
	}
}

/* --- the socket --- */

/* Nobody listens behind a path that refuses a connection; whatever else is there is left alone. */
static int remove_stale(const struct sockaddr_un *address)
{
	struct stat is;
	int fd, err;

	if (lstat(address->sun_path, &is))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(is.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;
	close(fd);
	if (err != -ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(address->sun_path) ? -errno : 0;
}

static int set_group(const struct output_spec *spec)
{
	if (spec->group != (gid_t)-1 && lchown(spec->path, -1, spec->group))
		return -errno;
	return chmod(spec->path, spec->mode) ? -errno : 0;
}

static const char *reason_text(int error)
{
	switch (error) {
	case -EADDRINUSE: return "somebody listens there already";
	case -EEXIST: return "there is something that is no socket";
	case -EPERM: return "netline's user may not give the socket to that group, of which it is no member";
	default: return strerror(-error);
	}
}

/* A listening socket at the path, or a negative errno. It is nobody's until its group and mode are set. */
static int bind_socket(struct listener *listener)
{
	const struct output_spec *spec = &listener->output->spec;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat is;
	int fd, err;

	strcpy(address.sun_path, spec->path);
	err = remove_stale(&address);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	if (!err && (err = set_group(spec) ?: lstat(spec->path, &is) || listen(fd, MAX_READERS) ? -errno : 0))
		unlink(spec->path);
	if (err) {
		close(fd);
		return err;
	}
	listener->device = is.st_dev;
	listener->inode = is.st_ino;
	return fd;
}

static int listen_open(struct output *output)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int err;

	if (!listener)
		return -ENOMEM;
	listener->output = output;
	listener->fd = bind_socket(listener);
	err = listener->fd < 0 ? listener->fd : uv_poll_init(output->loop, &listener->poll, listener->fd);
	if (err) {
		log_error("%s: %s", output->name, reason_text(err));
		if (listener->fd >= 0)
			close(listener->fd);
		free(listener);
		return err;
	}
	uv_timer_init(output->loop, &listener->look);
	listener->poll.data = listener->look.data = listener;
	listener->handles = 2;
	uv_poll_start(&listener->poll, UV_READABLE, on_connection);
	uv_timer_start(&listener->look, on_look, LOOK_MS, LOOK_MS);
	output->writer = listener;
	output->is_vacant = true;	/* its readers take the records */
	return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
	let_go(handle->data);
}

/* Its readers are outputs of their own, and closed as such, before. */
static void listen_close(struct output *output)
{
	struct listener *listener = output->writer;
	struct stat is;

	if (!lstat(output->spec.path, &is) && is.st_dev == listener->device && is.st_ino == listener->inode)
		unlink(output->spec.path);
	listener->is_closed = true;
	uv_close((uv_handle_t *)&listener->look, on_handle_closed);
	uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
	close(listener->fd);
}

static void listen_changed(struct output *output)
{
	int err = set_group(&output->spec);

	if (err)
		log_error("%s: group and mode: %s", output->name, reason_text(err));
}

static void no_write(struct output *output)
{
	(void)output;
}

const struct output_ops listen_ops = { .open = listen_open, .write = no_write, .close = listen_close,
					.changed = listen_changed };
