/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where records go, as the user says it: KIND[:PATH][,NAME=VALUE...] on the command line, or an object of `outputs` in the configuration
 * file. One table of settings; parsing, help and the configuration's schema come from it.
 */
#ifndef NETLINE_SPEC_H
#define NETLINE_SPEC_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

enum spec_kind { SPEC_STDOUT, SPEC_FILE, SPEC_UNIX, SPEC_UNIX_CONNECT, SPEC_KINDS };
enum full_policy { FULL_BLOCK, FULL_DROP_OLDEST, FULL_DROP_NEWEST };

#define SPEC_MAX_PATH 1024

struct output_spec {
	enum spec_kind kind;
	enum full_policy full;
	bool agent_records;		/* agent_probe and agent_status too; agent_lost always goes */
	bool compress;
	uint64_t queue_bytes;
	uint64_t rotate_bytes, rotate_ns, keep, keep_bytes;	/* 0: no limit */
	mode_t mode;
	gid_t group;			/* -1: that of the process */
	char probes[256];		/* names separated by '+'; empty: all */
	char path[SPEC_MAX_PATH];
};

/*
 * All return -EINVAL after telling on stderr; `where` begins the message: "--output", or the place in a file; for spec_set()
 * with the setting in it.
 */
int spec_parse(const char *where, const char *text, struct output_spec *ret_spec);
int spec_begin(const char *where, const char *kind_and_path, struct output_spec *ret_spec);	/* defaults of the kind */
int spec_set(const char *where, struct output_spec *spec, const char *name, const char *value);

/* "file:/var/log/x": how messages and agent_status call it. */
#define SPEC_NAME_LEN 112
const char *spec_name(const struct output_spec *spec, char ret_name[SPEC_NAME_LEN]);
bool spec_wants_probe(const struct output_spec *spec, const char *probe);

/* For help and the configuration's schema. */
struct spec_setting {
	const char *name, *value, *meaning;
	unsigned kinds;			/* bits of enum spec_kind */
	int (*set)(const char *where, struct output_spec *spec, const char *value);
};
extern const struct spec_setting spec_settings[];
extern const unsigned n_spec_settings;
extern const char *const spec_kinds[SPEC_KINDS];
#endif
