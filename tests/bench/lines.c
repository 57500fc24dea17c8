// SPDX-License-Identifier: BSD-2-Clause
/*
 * lines write FILE BYTES [SOCKET]: what writing costs without anything else. Writes the lines of FILE, read into memory before, to stdout or,
 * as a client, to SOCKET: as many whole lines by each write(2) as BYTES have room for, at least one.
 * lines read [SOCKET]: the sink. Reads stdin, or as a server what one client of SOCKET sends, to its end, and counts lines.
 * Each prints one JSON object at its end, the writer on stderr. Clocks: CLOCK_REALTIME, as in the time stamps of files.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define ROOM (1 << 20)

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die(path);
	return fd;
}

static int accept_one(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd;

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 1))
		die(path);
	puts("{\"listens\":true}");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		die("accept");
	return fd;
}

static unsigned long long count_lines(const char *at, size_t size)
{
	const char *end = at + size;
	unsigned long long lines = 0;

	while (at < end && (at = memchr(at, '\n', end - at))) {
		at++;
		lines++;
	}
	return lines;
}

static int read_lines(const char *path)
{
	int fd = path ? accept_one(path) : STDIN_FILENO;
	char *room = malloc(ROOM);
	unsigned long long bytes = 0, lines = 0, end = 0;
	ssize_t n;

	while ((n = read(fd, room, ROOM)) > 0) {
		end = clock_ns(CLOCK_REALTIME);
		bytes += n;
		lines += count_lines(room, n);
	}
	if (n < 0)
		die("read");
	printf("{\"lines\":%llu,\"bytes\":%llu,\"end_ns\":%llu}\n", lines, bytes, end);
	return 0;
}

/* Each page is there before the clock runs. */
static const char *load(const char *path, size_t *ret_size)
{
	struct stat is;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *data;

	if (fd < 0 || fstat(fd, &is))
		die(path);
	data = mmap(NULL, is.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (data == MAP_FAILED)
		die("mmap");
	*ret_size = is.st_size;
	return data;
}

/* The end of the lines that go into one write. */
static const char *batch_end(const char *at, const char *end, size_t bytes)
{
	const char *line = (const char *)memchr(at, '\n', end - at) + 1;

	if ((size_t)(end - at) <= bytes)
		return end;
	if ((size_t)(line - at) >= bytes)
		return line;
	return (const char *)memrchr(at, '\n', bytes) + 1;
}

static void write_whole(int fd, const char *at, size_t size)
{
	while (size) {
		ssize_t n = write(fd, at, size);

		if (n < 0)
			die("write");
		at += n;
		size -= n;
	}
}

static int write_lines(const char *file, size_t bytes, const char *path)
{
	size_t size;
	const char *data = load(file, &size), *end = data + size;
	int fd = path ? connect_to(path) : STDOUT_FILENO;
	uint64_t start = clock_ns(CLOCK_REALTIME), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	for (const char *at = data, *next; at < end; at = next) {
		next = batch_end(at, end, bytes);
		write_whole(fd, at, next - at);
	}
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	fprintf(stderr, "{\"lines\":%llu,\"cpu_ns\":%llu,\"start_ns\":%llu,\"end_ns\":%llu}\n", count_lines(data, size), (unsigned long long)cpu,
		(unsigned long long)start, (unsigned long long)clock_ns(CLOCK_REALTIME));
	return 0;
}

int main(int argc, char **argv)
{
	end_with_parent();
	if ((argc == 2 || argc == 3) && !strcmp(argv[1], "read"))
		return read_lines(argv[2]);
	if ((argc == 4 || argc == 5) && !strcmp(argv[1], "write"))
		return write_lines(argv[2], strtoull(argv[3], NULL, 10), argv[4]);
	fprintf(stderr, "usage: lines write FILE BYTES [SOCKET] | lines read [SOCKET]\n");
	return 2;
}
