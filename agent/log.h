/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages to stderr, one line each; stdout carries records only.
 * Notices are silenced by --quiet, debug lines shown by --verbose, errors always shown. The journal gets them with their priority,
 * and without the name, which it adds itself.
 */
#ifndef NETLINE_LOG_H
#define NETLINE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_NOTICE, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
/* Whether this file descriptor is what systemd has connected to the journal. */
bool log_is_journal(int fd);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#endif
