/* SPDX-License-Identifier: BSD-2-Clause */
/* What the agent writes to stdout or stderr, taken between capture_begin() and capture_end(). */
#ifndef NETLINE_CAPTURE_H
#define NETLINE_CAPTURE_H

#include <stdio.h>

#include "unit.h"

struct capture {
	int fd, saved, file;
	char text[16384];
};

static inline void capture_begin(struct capture *capture, int fd)
{
	fflush(NULL);
	capture->fd = fd;
	capture->saved = dup(fd);
	capture->file = memfd_create("capture", MFD_CLOEXEC);
	assert_true(capture->saved >= 0 && capture->file >= 0);
	assert_int_equal(dup2(capture->file, fd), fd);
}

static inline const char *capture_end(struct capture *capture)
{
	ssize_t n;

	fflush(NULL);
	dup2(capture->saved, capture->fd);
	close(capture->saved);
	n = pread(capture->file, capture->text, sizeof(capture->text) - 1, 0);
	close(capture->file);
	assert_true(n >= 0);
	capture->text[n] = 0;
	return capture->text;
}

/* One line of the log that names what is wrong. */
static inline void check_one_line(const char *text, const char *about)
{
	const char *end = strchr(text, '\n');

	require(end && !end[1], "%s: not one line: %s", about, text);
	require(!strncmp(text, "netline: ", 9), "no prefix: %s", text);
	require(strstr(text, about), "%s is not named: %s", about, text);
}
#endif
