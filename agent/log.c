/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum log_level shown = LOG_LEVEL_NOTICE;

void log_set_level(enum log_level level)
{
	shown = level;
}

/* See "Environment variables set or propagated" in systemd.exec(5). */
bool log_is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat is;
	char its[64];

	if (!stream || fstat(fd, &is))
		return false;
	snprintf(its, sizeof(its), "%ju:%ju", (uintmax_t)is.st_dev, (uintmax_t)is.st_ino);
	return !strcmp(stream, its);
}

/* One write(2) a line, so that lines of several writers do not mix. */
void log_write(enum log_level level, const char *format, ...)
{
	static const char *const priorities[] = { [LOG_LEVEL_ERROR] = "<3>", [LOG_LEVEL_NOTICE] = "<5>", [LOG_LEVEL_DEBUG] = "<7>" };
	char line[1024];
	va_list args;
	int head, len;

	if (level > shown)
		return;
	head = snprintf(line, sizeof(line), "%s", log_is_journal(STDERR_FILENO) ? priorities[level] : "netline: ");
	va_start(args, format);
	len = vsnprintf(line + head, sizeof(line) - head - 1, format, args);
	va_end(args);
	if (len < 0)
		return;
	for (char *at = line + head; *at; at++)	/* what a user typed must not make a second line */
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	len = head + len > (int)sizeof(line) - 2 ? (int)sizeof(line) - 2 : head + len;
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return;	/* stderr is gone: there is nobody left to tell */
}
