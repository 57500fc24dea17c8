/* SPDX-License-Identifier: BSD-2-Clause */
/* Arguments of options. All return 0, or -EINVAL after telling on stderr what is wrong and what was expected. */
#ifndef NETLINE_PARSE_H
#define NETLINE_PARSE_H

#include "config.h"

int parse_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);
int parse_size(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *ret_bytes);	/* suffixes K, M, G */
int parse_seconds(const char *option, const char *text, uint64_t *ret_ns);	/* 0.01 to 86400, fractions allowed */
int parse_cgroup(const char *text, uint64_t *ret_id);				/* a folder of cgroup v2, or the id itself */
int parse_label(struct config *config, const char *text);

/* Cuts `text` at `separator` and gives each piece to `one`; empty pieces are errors. */
typedef int parse_one(const char *option, const char *text, struct config *config);
int parse_list(const char *option, const char *text, char separator, struct config *config, parse_one *one);
parse_one parse_one_nic, parse_one_pid, parse_one_port, parse_one_source_port, parse_one_destination_port, parse_one_excluded_port;
#endif
