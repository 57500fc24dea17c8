/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the user asked for, and the one table of options from which parsing and --help come.
 */
#ifndef NETLINE_CONFIG_H
#define NETLINE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../schema/agent_probe.h"
#include "encode.h"

#define NETLINE_VERSION "0.1.0"
#define MAX_LIST 64
#define MAX_PROBES 16

/* Filters: a probe says which of them it can apply. */
enum filter {
	FILTER_NIC = 1 << 0,
	FILTER_PID = 1 << 1,
	FILTER_PORT = 1 << 2,
	FILTER_DIRECTION = 1 << 3,
	FILTER_FAMILY = 1 << 4,
	FILTER_CGROUP = 1 << 5,
	FILTER_CGROUP_SET = 1 << 6,
	FILTER_MNTNS_SET = 1 << 7,
	FILTER_SOURCE_PORT = 1 << 8,
	FILTER_DESTINATION_PORT = 1 << 9,
	FILTER_EXCLUDED_PORT = 1 << 10,
	FILTER_SAMPLE = 1 << 11,
	FILTER_LATENCY = 1 << 12,
	FILTER_SUMMARY = 1 << 13,	/* none, but a probe has it or not as well */
};

#define MAX_FILTERS 14

enum command { COMMAND_RUN, COMMAND_LIST, COMMAND_SCHEMA, COMMAND_HELP, COMMAND_VERSION };

struct config {
	enum command command;
	const char *words[MAX_PROBES];	/* what stands after the options: probes, or the record of `schema` */
	unsigned n_words;
	unsigned filters;		/* enum filter bits that were given */
	const char *filter_options[MAX_FILTERS];	/* by bit: the option that gave it */

	char *nics[MAX_LIST];
	unsigned n_nics;
	uint32_t pids[MAX_LIST];
	unsigned n_pids;
	uint16_t ports[MAX_LIST];
	unsigned n_ports;
	uint16_t source_ports[MAX_LIST], destination_ports[MAX_LIST], excluded_ports[MAX_LIST];	/* of the packet */
	unsigned n_source_ports, n_destination_ports, n_excluded_ports;
	uint32_t sample;		/* one packet in so many; 1: all */
	bool sample_is_bare;		/* --sample without =N */
	uint64_t min_latency_ns;	/* 0: any */
	bool summary;
	bool all_netns;
	uint8_t families;		/* FAMILY_BIT()s */
	uint8_t actions;		/* bits of enum connection_action */
	uint64_t cgroup;		/* id */
	const char *cgroup_map, *mntns_map;	/* paths of pinned sets */
	bool duplicates;
	enum probe_way way;		/* WAY_NONE: the best that there is */

	uint64_t interval_ns;
	uint64_t duration_ns;		/* 0: until stopped */
	uint64_t count;			/* 0: no limit */
	uint32_t ring_bytes;
	const char *output;		/* SPEC */
	struct label labels[MAX_LIST];
	unsigned n_labels, label_bytes;
	char host[256];
	bool quiet, verbose, json;
	const char *write_dir;		/* schema --write */
};

/*
 * Fills `config` from the command line; texts stay in argv, or are freed by config_release().
 * -EINVAL: wrong usage, told on stderr with what to do.
 */
int config_parse(struct config *config, int argc, char **argv);
void config_release(struct config *config);
void config_help(void);

/* Options of these filter bits as the user knows them: "--pid, --port". */
#define FILTER_NAMES_LEN 160
const char *config_filter_names(const struct config *config, unsigned filters, char ret_names[FILTER_NAMES_LEN]);
#endif
