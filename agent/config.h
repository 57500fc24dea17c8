/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the user asked for: on the command line, and in a configuration file, which has the same options under the same names. The command
 * line wins.
 */
#ifndef NETLINE_CONFIG_H
#define NETLINE_CONFIG_H

#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../schema/agent_probe.h"
#include "encode.h"
#include "output/spec.h"

#define NETLINE_VERSION "0.1.0"
#define MAX_LIST 64
#define MAX_PROBES 16
#define MAX_OUTPUTS 16
#define MAX_OPTIONS 64

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

/* What one probe is asked to do. Compared as memory: no pointers but to constants. */
struct probe_config {
	unsigned filters;		/* enum filter bits that were given */
	const char *filter_options[MAX_FILTERS];	/* by bit: the option that gave it */

	char nics[MAX_LIST][IF_NAMESIZE];
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
	char cgroup_map[256], mntns_map[256];	/* paths of pinned sets; empty: none */
	bool duplicates;
	enum probe_way way;		/* WAY_NONE: the best that there is */
	uint64_t interval_ns;
	uint32_t ring_bytes;
};

enum command { COMMAND_RUN, COMMAND_LIST, COMMAND_SCHEMA, COMMAND_CHECK, COMMAND_HELP, COMMAND_VERSION };

struct config {
	enum command command;
	const char *words[MAX_PROBES];	/* what stands after the options: probes, or the record of `schema` */
	unsigned n_words;
	const char *file;		/* --config */
	int argc;
	char **argv;			/* to read it again */
	uint64_t given;			/* options of the command line, by row */

	struct probe_config all;	/* what was said of all probes */
	struct probe_config probes[MAX_PROBES];	/* in the order of probes[] */
	uint32_t listed;		/* bits of the probes that the file names; 0: none of them */

	struct output_spec outputs[MAX_OUTPUTS];
	unsigned n_outputs;
	uint64_t duration_ns;		/* 0: until stopped */
	uint64_t count;			/* 0: no limit */
	struct label labels[MAX_LIST];
	unsigned n_labels, label_bytes;
	char host[256];
	char user[64];			/* empty: whoever started it */
	bool quiet, verbose, json, community_id;
	const char *write_dir;		/* schema --write */
};

/*
 * Fills `config` from the command line and the file that it names; texts stay in argv, or are freed by config_release().
 * -EINVAL: wrong, told on stderr with what to do.
 */
int config_parse(struct config *config, int argc, char **argv);
void config_release(struct config *config);
void config_help(void);

/* config_file.c: takes over what the file says, but for options that the command line gave. Tells of each mistake; -EINVAL if there is one. */
int config_read_file(struct config *config, const char *path);

/* The JSON Schema of the file. */
int config_write_schema(FILE *file);

/* Two outputs may not share a place; stdout is one. */
int config_check_output(const struct config *config, const char *where, const struct output_spec *spec);

/* Where an option of the probe was said, to begin a message with: "--nic", or "FILE: nic_throughput: nic". */
#define OPTION_PLACE_LEN 512
const char *config_option_place(const struct config *config, const char *probe, const char *option, char ret_place[OPTION_PLACE_LEN]);

/* Options of these filter bits as the user knows them: "--pid, --port". */
#define FILTER_NAMES_LEN 160
const char *config_filter_names(const struct probe_config *config, unsigned filters, char ret_names[FILTER_NAMES_LEN]);
#endif
