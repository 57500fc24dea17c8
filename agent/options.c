/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../schema/control.h"
#include "../schema/tcp_connection.h"
#include "log.h"
#include "parse.h"
#include "user.h"

#define BARE_SAMPLE 100

/* --- of a probe --- */

static int parse_direction(void *to, const char *where, const char *argument)
{
	struct probe_config *config = to;

	if (!strcmp(argument, "connect"))
		config->actions = 1 << ACTION_CONNECT;
	else if (!strcmp(argument, "accept"))
		config->actions = 1 << ACTION_ACCEPT;
	else {
		log_error("%s %s: connect or accept", where, argument);
		return -EINVAL;
	}
	return 0;
}

static int parse_family(struct probe_config *config, uint8_t family)
{
	if (config->filters & FILTER_FAMILY && config->families != FAMILY_BIT(family)) {
		log_error("--ipv4 and --ipv6 exclude each other: without both of them, both are shown");
		return -EINVAL;
	}
	config->families = FAMILY_BIT(family);
	return 0;
}

static int parse_ipv4(void *to, const char *where, const char *argument)
{
	(void)where;
	(void)argument;
	return parse_family(to, FAMILY_IPV4);
}

static int parse_ipv6(void *to, const char *where, const char *argument)
{
	(void)where;
	(void)argument;
	return parse_family(to, FAMILY_IPV6);
}

static int parse_cgroup_option(void *to, const char *where, const char *argument)
{
	return parse_cgroup(where, argument, &((struct probe_config *)to)->cgroup);
}

static int parse_cgroup_map(void *to, const char *where, const char *argument)
{
	struct probe_config *config = to;

	return parse_text(where, argument, config->cgroup_map, sizeof(config->cgroup_map));
}

static int parse_mntns_map(void *to, const char *where, const char *argument)
{
	struct probe_config *config = to;

	return parse_text(where, argument, config->mntns_map, sizeof(config->mntns_map));
}

static int parse_sample(void *to, const char *where, const char *argument)
{
	struct probe_config *config = to;
	uint64_t sample = BARE_SAMPLE;

	if (argument && parse_number(where, argument, 1, 1000000000, &sample))
		return -EINVAL;
	config->sample = sample;
	config->sample_is_bare = !argument;
	return 0;
}

static int parse_min_latency(void *to, const char *where, const char *argument)
{
	return parse_number(where, argument, 1, 1000000000000, &((struct probe_config *)to)->min_latency_ns);
}

static int parse_netns(void *to, const char *where, const char *argument)
{
	if (strcmp(argument, "all")) {
		log_error("%s %s: all is what there is; without it, only packets of this network namespace", where, argument);
		return -EINVAL;
	}
	((struct probe_config *)to)->all_netns = true;
	return 0;
}

static int parse_way(void *to, const char *where, const char *argument)
{
	for (enum probe_way way = WAY_FENTRY; way <= WAY_TRACEPOINT; way++) {
		if (!strcmp(argument, probe_ways[way])) {
			((struct probe_config *)to)->way = way;
			return 0;
		}
	}
	log_error("%s %s: fentry, kprobe or tracepoint", where, argument);
	return -EINVAL;
}

static int parse_interval(void *to, const char *where, const char *argument)
{
	if (if_nametoindex(argument)) {
		log_error("%s %s: a number of seconds; for the NIC use --nic %s", where, argument, argument);
		return -EINVAL;
	}
	return parse_seconds(where, argument, &((struct probe_config *)to)->interval_ns);
}

static int parse_ring_size(void *to, const char *where, const char *argument)
{
	uint64_t bytes;
	int err = parse_size(where, argument, 4096, 1 << 30, &bytes);

	if (err)
		return err;
	if (bytes & (bytes - 1) || bytes % sysconf(_SC_PAGESIZE)) {
		log_error("%s %s: a power of two of at least a page, such as 64K or 1M", where, argument);
		return -EINVAL;
	}
	((struct probe_config *)to)->ring_bytes = bytes;
	return 0;
}

/* --- of the run --- */

static int parse_no_clear(void *to, const char *where, const char *argument)
{
	(void)to;
	(void)where;
	(void)argument;
	log_notice("-C: nothing to do: records never clear the screen");
	return 0;
}

static int parse_duration(void *to, const char *where, const char *argument)
{
	return parse_seconds(where, argument, &((struct config *)to)->duration_ns);
}

static int parse_count(void *to, const char *where, const char *argument)
{
	return parse_number(where, argument, 1, INT64_MAX, &((struct config *)to)->count);
}

static int parse_output(void *to, const char *where, const char *argument)
{
	struct config *config = to;
	struct output_spec *spec = &config->outputs[config->n_outputs];

	if (config->n_outputs == MAX_OUTPUTS) {
		log_error("%s: at most %d of them", where, MAX_OUTPUTS);
		return -EINVAL;
	}
	if (spec_parse(where, argument, spec) || config_check_output(config, where, spec))
		return -EINVAL;
	config->n_outputs++;
	return 0;
}

static int parse_label_option(void *to, const char *where, const char *argument)
{
	return parse_label(where, argument, to);
}

static int parse_host(void *to, const char *where, const char *argument)
{
	struct config *config = to;

	return parse_text(where, argument, config->host, sizeof(config->host));
}

static int parse_user(void *to, const char *where, const char *argument)
{
	struct config *config = to;

	return user_check(where, argument) ?: parse_text(where, argument, config->user, sizeof(config->user));
}

/* --- of the command --- */

static int parse_file(void *to, const char *where, const char *argument)
{
	struct config *config = to;

	if (config->file) {
		log_error("%s %s: one file", where, argument);
		return -EINVAL;
	}
	config->file = argument;
	return 0;
}

static int parse_write(void *to, const char *where, const char *argument)
{
	(void)where;
	((struct config *)to)->write_dir = argument;
	return 0;
}

static int parse_check(void *to, const char *where, const char *argument)
{
	(void)where;
	(void)argument;
	((struct config *)to)->command = COMMAND_CHECK;
	return 0;
}

static int parse_version(void *to, const char *where, const char *argument)
{
	(void)where;
	(void)argument;
	((struct config *)to)->command = COMMAND_VERSION;
	return 0;
}

static int parse_help(void *to, const char *where, const char *argument)
{
	(void)where;
	(void)argument;
	((struct config *)to)->command = COMMAND_HELP;
	return 0;
}

const struct option_row option_rows[] = {
	{ "nic", 'n', "NAME[,...]", "only these NICs", OF_PROBE, TYPE_TEXTS, .parse = parse_one_nic, .filter = FILTER_NIC, .offer = OFFER_NICS,
	  .more = "Of netline's own network namespace." },
	{ "pid", 'p', "PID[,...]", "only connections of these processes", OF_PROBE, TYPE_INTEGERS, .parse = parse_one_pid, .filter = FILTER_PID, .offer = OFFER_PIDS,
	  .more = "It is the owner that counts: the process that connected or accepted." },
	{ "port", 'P', "PORT[,...]", "only connections with these local ports", OF_PROBE, TYPE_INTEGERS, .parse = parse_one_port, .filter = FILTER_PORT },
	{ "direction", 'r', "connect|accept", "only connections that this host opened, or that it accepted", OF_PROBE, TYPE_TEXT, .parse = parse_direction, .filter = FILTER_DIRECTION },
	{ "ipv4", '4', NULL, "only IPv4 (v4-mapped addresses are IPv4)", OF_PROBE, TYPE_FLAG, .parse = parse_ipv4, .filter = FILTER_FAMILY },
	{ "ipv6", '6', NULL, "only IPv6", OF_PROBE, TYPE_FLAG, .parse = parse_ipv6, .filter = FILTER_FAMILY },
	{ "cgroup", 0, "PATH|ID", "only sockets of this cgroup (v2) and of those below it", OF_PROBE, TYPE_TEXT, .parse = parse_cgroup_option, .filter = FILTER_CGROUP, .offer = OFFER_CGROUPS,
	  .more = "PATH is a folder below the mount point of cgroup v2, ID its number." },
	{ "cgroupmap", 0, "PATH", "only sockets of the cgroups (v2) whose ids are keys of this pinned hash map", OF_PROBE, TYPE_TEXT, .parse = parse_cgroup_map, .filter = FILTER_CGROUP_SET, .offer = OFFER_FILES,
	  .more = "The keys have 8 bytes, as in the maps of bcc's tools. The map must be readable and writable for netline's user, and may change while netline runs: "
	  "`bpftool map create /sys/fs/bpf/web type hash key 8 value 8 entries 64 name web` makes one." },
	{ "mntnsmap", 0, "PATH", "only sockets whose owner's mount namespace is a key of this pinned hash map", OF_PROBE, TYPE_TEXT, .parse = parse_mntns_map, .filter = FILTER_MNTNS_SET, .offer = OFFER_FILES,
	  .more = "That is the mount namespace that the owner was in when it connected or accepted. The map is one as for `--cgroupmap`." },
	{ "sport", 0, "PORT[,...]", "only packets from these ports", OF_PROBE, TYPE_INTEGERS, .parse = parse_one_source_port, .filter = FILTER_SOURCE_PORT, .letters = "-sp", .in_full = "--sport" },
	{ "dport", 0, "PORT[,...]", "only packets to these ports", OF_PROBE, TYPE_INTEGERS, .parse = parse_one_destination_port, .filter = FILTER_DESTINATION_PORT, .letters = "-dp", .in_full = "--dport" },
	{ "exclude-port", 0, "PORT[,...]", "no packets from or to these ports", OF_PROBE, TYPE_INTEGERS, .parse = parse_one_excluded_port, .filter = FILTER_EXCLUDED_PORT },
	{ "sample", 's', "[=N]", "only one packet in N, at random (100 if N is not given)", OF_PROBE, TYPE_INTEGER, .parse = parse_sample, .filter = FILTER_SAMPLE,
	  .more = "N stands in the same word." },
	{ "min-latency", 0, "NS", "only packets that took at least NS nanoseconds", OF_PROBE, TYPE_INTEGER, .parse = parse_min_latency, .filter = FILTER_LATENCY,
	  .more = "Not together with `--summary`." },
	{ "summary", 0, NULL, "instead of a record for each packet, one per interval, NIC and stage of its way", OF_PROBE, TYPE_FLAG, .filter = FILTER_SUMMARY, .flag = offsetof(struct probe_config, summary),
	  .more = "These are the records of type delay_analysis_summary, with histograms that are made in the kernel." },
	{ "netns", 0, "all", "packets of all network namespaces, not only of this one", OF_PROBE, TYPE_TEXT, .parse = parse_netns,
	  .more = "Of all that a process is in or that ip-netns(8) has named, also of those that are made later." },
	{ "duplicates", 0, NULL, "tcp_inerrs: report ordinary duplicates and keepalives, too", OF_PROBE, TYPE_FLAG, .flag = offsetof(struct probe_config, duplicates),
	  .more = "That is data that was received before, late ACKs and keepalives: the reason `old_data`." },
	{ "interval", 'i', "SEC", "time between records of interval probes (default 1, fractions allowed)", OF_PROBE, TYPE_NUMBER, .parse = parse_interval,
	  .more = "From 0.01 to 86400." },
	{ "attach", 0, "fentry|kprobe|tracepoint", "attach to the kernel in this way only", OF_PROBE, TYPE_TEXT, .parse = parse_way,
	  .more = "Without it, the best way that this kernel offers: `netline list` tells it." },
	{ "output", 'o', "SPEC", "where to: stdout, file:PATH, unix:PATH (readers connect) or unix-connect:PATH, with settings, see below (repeatable)", OF_AGENT, TYPE_TEXTS, .parse = parse_output, .offer = OFFER_OUTPUTS,
	  .more = "See OUTPUTS. Without it, or outputs in the configuration file: stdout." },
	{ "config", 'c', "FILE", "options, probes and outputs from this file as well; SIGHUP reads it again", OF_COMMAND, TYPE_TEXT, .parse = parse_file, .offer = OFFER_FILES,
	  .more = "See CONFIGURATION FILE. The command line wins." },
	{ "check", 0, NULL, "with --config: tell what is wrong with the file, and end", OF_COMMAND, TYPE_FLAG, .parse = parse_check,
	  .more = "It tells each mistake with its place, and what was expected there. Needs no permission." },
	{ "label", 0, "KEY=VALUE", "put this label on every record (repeatable)", OF_AGENT, TYPE_LABELS, .parse = parse_label_option },
	{ "host", 0, "NAME", "host.name in the records (default: the host's name)", OF_AGENT, TYPE_TEXT, .parse = parse_host },
	{ "community-id", 0, NULL, "network.community_id (v1) in the records", OF_AGENT, TYPE_FLAG, .flag = offsetof(struct config, community_id),
	  .more = "The text that Zeek, Suricata and Elasticsearch have for the same flow, with seed 0." },
	{ "count", 0, "N", "end after N probe records", OF_AGENT, TYPE_INTEGER, .parse = parse_count },
	{ "duration", 0, "SEC", "end after SEC seconds", OF_AGENT, TYPE_NUMBER, .parse = parse_duration },
	{ "user", 0, "NAME", "become this user once the probes are attached", OF_AGENT, TYPE_TEXT, .parse = parse_user, .offer = OFFER_USERS,
	  .more = "It keeps CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN and cannot get more; files and sockets are that user's. See CAPABILITIES." },
	{ "ring-size", 0, "SIZE", "ring buffer of each probe, a power of two (default 1M)", OF_PROBE, TYPE_TEXT, .parse = parse_ring_size,
	  .more = "At least a page; suffixes K, M and G. What does not fit there while netline is held up is counted as lost, reason `ring_full`." },
	{ "noclear", 'C', NULL, "for habits from tcptop: does nothing", OF_COMMAND, TYPE_FLAG, .parse = parse_no_clear },
	{ "json", 0, NULL, "with `list`: as JSON", OF_COMMAND, TYPE_FLAG, .flag = offsetof(struct config, json) },
	{ "write", 0, "DIR", "with `schema`: write all schemas, templates and the field reference into DIR", OF_COMMAND, TYPE_TEXT, .parse = parse_write, .offer = OFFER_FOLDERS },
	{ "quiet", 'q', NULL, "no notices on stderr", OF_AGENT, TYPE_FLAG, .flag = offsetof(struct config, quiet) },
	{ "verbose", 'v', NULL, "more about what is done, on stderr", OF_AGENT, TYPE_FLAG, .flag = offsetof(struct config, verbose) },
	{ "version", 'V', NULL, "print the version and end", OF_COMMAND, TYPE_FLAG, .parse = parse_version },
	{ "help", 'h', NULL, "print this and end", OF_COMMAND, TYPE_FLAG, .parse = parse_help },
};
const unsigned n_options = sizeof(option_rows) / sizeof(option_rows[0]);
_Static_assert(sizeof(option_rows) / sizeof(option_rows[0]) <= MAX_OPTIONS, "bits of config.given");

const struct option_row *option_find(const char *name)
{
	for (unsigned i = 0; i < n_options; i++)
		if (!strcmp(option_rows[i].name, name))
			return &option_rows[i];
	return NULL;
}

bool option_is_list(const struct option_row *row)
{
	return row->scope == OF_PROBE && (row->type == TYPE_TEXTS || row->type == TYPE_INTEGERS);
}

bool option_is_one_of(const struct option_row *row)
{
	return row->argument && islower((unsigned char)row->argument[0]);
}

int option_apply_one(const struct option_row *row, void *config, const char *where, const char *value)
{
	struct probe_config *probe = config;
	int err = 0;

	if (row->parse)
		err = row->parse(config, where, value);
	else
		*(bool *)((char *)config + row->flag) = true;
	if (row->filter) {
		probe->filters |= row->filter;
		probe->filter_options[__builtin_ctz(row->filter)] = row->name;
	}
	return err;
}

int option_apply(const struct option_row *row, void *config, const char *where, const char *argument)
{
	char *copy, *rest, *piece;
	int err = 0;

	if (!option_is_list(row))
		return option_apply_one(row, config, where, argument);
	copy = rest = strdup(argument);
	if (!copy)
		return -ENOMEM;
	while (!err && (piece = strsep(&rest, ",")))
		err = option_apply_one(row, config, where, piece);
	free(copy);
	return err;
}
