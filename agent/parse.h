/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arguments of options. All return 0, or -EINVAL after telling on stderr what is wrong and what was expected. `where` begins the message: the option, or the
 * place in the configuration file.
 */
#ifndef NETLINE_PARSE_H
#define NETLINE_PARSE_H

#include "config.h"

int parse_number(const char *where, const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);
int parse_size(const char *where, const char *text, uint64_t min, uint64_t max, uint64_t *ret_bytes);	/* suffixes K, M, G */
int parse_seconds(const char *where, const char *text, uint64_t *ret_ns);	/* 0.01 to 86400, fractions allowed */
int parse_time(const char *where, const char *text, uint64_t min_ns, uint64_t *ret_ns);	/* whole seconds; suffixes s, m, h, d */
int parse_text(const char *where, const char *text, char *ret_text, size_t room);		/* not empty */
int parse_cgroup(const char *where, const char *text, uint64_t *ret_id);				/* a folder of cgroup v2, or the id itself */
int parse_label(const char *where, const char *text, struct config *config);

/* One piece of a list, for struct probe_config. */
int parse_one_nic(void *config, const char *where, const char *text);
int parse_one_pid(void *config, const char *where, const char *text);
int parse_one_port(void *config, const char *where, const char *text);
int parse_one_source_port(void *config, const char *where, const char *text);
int parse_one_destination_port(void *config, const char *where, const char *text);
int parse_one_excluded_port(void *config, const char *where, const char *text);
#endif
