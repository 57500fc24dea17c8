/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../schema/control.h"
#include "../schema/tcp_connection.h"
#include "log.h"
#include "output/output.h"
#include "parse.h"
#include "probe.h"

#define BARE_SAMPLE 100

/*
 * One option. `parse` takes the argument (NULL if there is none), `one` each piece of a list; both return -EINVAL after they have told
 * what is wrong. Without them it sets a flag.
 */
struct option_row {
	const char *name;
	char letter;
	const char *argument;	/* NULL: takes none; [=N]: may take one */
	const char *help;
	int (*parse)(struct config *config, const char *argument);
	parse_one *one;
	enum filter filter;
	size_t flag;		/* offset of a bool in struct config */
	const char *letters, *in_full;	/* "-sp" and "--sport", if it is also typed with two letters, for which getopt has no name */
};

static int parse_direction(struct config *config, const char *argument)
{
	if (!strcmp(argument, "connect"))
		config->actions = 1 << ACTION_CONNECT;
	else if (!strcmp(argument, "accept"))
		config->actions = 1 << ACTION_ACCEPT;
	else {
		log_error("--direction %s: connect or accept", argument);
		return -EINVAL;
	}
	return 0;
}

static int parse_family(struct config *config, uint8_t family)
{
	if (config->filters & FILTER_FAMILY && config->families != FAMILY_BIT(family)) {
		log_error("--ipv4 and --ipv6 exclude each other: without both of them, both are shown");
		return -EINVAL;
	}
	config->families = FAMILY_BIT(family);
	return 0;
}

static int parse_ipv4(struct config *config, const char *argument)
{
	(void)argument;
	return parse_family(config, FAMILY_IPV4);
}

static int parse_ipv6(struct config *config, const char *argument)
{
	(void)argument;
	return parse_family(config, FAMILY_IPV6);
}

static int parse_cgroup_option(struct config *config, const char *argument)
{
	return parse_cgroup(argument, &config->cgroup);
}

/* A pinned map of type hash whose keys are ids of 64 bits. */
static int check_pinned_set(const char *option, const char *path)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	int fd = bpf_obj_get(path), err;

	if (fd < 0) {
		log_error("%s %s: %s; it wants the path of a pinned map", option, path, strerror(errno));
		return -EINVAL;
	}
	err = bpf_obj_get_info_by_fd(fd, &info, &size);
	close(fd);
	if (err || info.type != BPF_MAP_TYPE_HASH || info.key_size != sizeof(uint64_t)) {
		log_error("%s %s: not a map of type hash with keys of 8 bytes", option, path);
		return -EINVAL;
	}
	return 0;
}

static int parse_cgroup_map(struct config *config, const char *argument)
{
	config->cgroup_map = argument;
	return check_pinned_set("--cgroupmap", argument);
}

static int parse_mntns_map(struct config *config, const char *argument)
{
	config->mntns_map = argument;
	return check_pinned_set("--mntnsmap", argument);
}

static int parse_sample(struct config *config, const char *argument)
{
	uint64_t sample = BARE_SAMPLE;

	if (argument && parse_number("--sample", argument, 1, 1000000000, &sample))
		return -EINVAL;
	config->sample = sample;
	config->sample_is_bare = !argument;
	return 0;
}

static int parse_min_latency(struct config *config, const char *argument)
{
	return parse_number("--min-latency", argument, 1, 1000000000000, &config->min_latency_ns);
}

static int parse_netns(struct config *config, const char *argument)
{
	if (strcmp(argument, "all")) {
		log_error("--netns %s: all is what there is; without --netns, only packets of this network namespace", argument);
		return -EINVAL;
	}
	config->all_netns = true;
	return 0;
}

static int parse_no_clear(struct config *config, const char *argument)
{
	(void)config;
	(void)argument;
	log_notice("-C: nothing to do: records never clear the screen");
	return 0;
}

static int parse_way(struct config *config, const char *argument)
{
	for (enum probe_way way = WAY_FENTRY; way <= WAY_TRACEPOINT; way++) {
		if (!strcmp(argument, probe_ways[way])) {
			config->way = way;
			return 0;
		}
	}
	log_error("--attach %s: fentry, kprobe or tracepoint", argument);
	return -EINVAL;
}

static int parse_interval(struct config *config, const char *argument)
{
	if (if_nametoindex(argument)) {
		log_error("--interval %s: a number of seconds; for the NIC use --nic %s", argument, argument);
		return -EINVAL;
	}
	return parse_seconds("--interval", argument, &config->interval_ns);
}

static int parse_duration(struct config *config, const char *argument)
{
	return parse_seconds("--duration", argument, &config->duration_ns);
}

static int parse_count(struct config *config, const char *argument)
{
	return parse_number("--count", argument, 1, INT64_MAX, &config->count);
}

static int parse_ring_size(struct config *config, const char *argument)
{
	uint64_t bytes;
	int err = parse_size("--ring-size", argument, 4096, 1 << 30, &bytes);

	if (err)
		return err;
	if (bytes & (bytes - 1) || bytes % sysconf(_SC_PAGESIZE)) {
		log_error("--ring-size %s: a power of two of at least a page, such as 64K or 1M", argument);
		return -EINVAL;
	}
	config->ring_bytes = bytes;
	return 0;
}

static int parse_output(struct config *config, const char *argument)
{
	if (config->output) {
		log_error("--output %s: one output is all that this version writes to", argument);
		return -EINVAL;
	}
	config->output = argument;
	return output_check(argument);
}

static int parse_host(struct config *config, const char *argument)
{
	if (!*argument || strlen(argument) >= sizeof(config->host)) {
		log_error("--host: a name of 1 to %zu bytes", sizeof(config->host) - 1);
		return -EINVAL;
	}
	strcpy(config->host, argument);
	return 0;
}

static int parse_write(struct config *config, const char *argument)
{
	config->write_dir = argument;
	return 0;
}

static int parse_version(struct config *config, const char *argument)
{
	(void)argument;
	config->command = COMMAND_VERSION;
	return 0;
}

static int parse_help(struct config *config, const char *argument)
{
	(void)argument;
	config->command = COMMAND_HELP;
	return 0;
}

static const struct option_row option_rows[] = {
	{ "nic", 'n', "NAME[,...]", "only these NICs", .one = parse_one_nic, .filter = FILTER_NIC },
	{ "pid", 'p', "PID[,...]", "only connections of these processes", .one = parse_one_pid, .filter = FILTER_PID },
	{ "port", 'P', "PORT[,...]", "only connections with these local ports", .one = parse_one_port, .filter = FILTER_PORT },
	{ "direction", 'r', "connect|accept", "only connections that this host opened, or that it accepted", .parse = parse_direction, .filter = FILTER_DIRECTION },
	{ "ipv4", '4', NULL, "only IPv4 (v4-mapped addresses are IPv4)", .parse = parse_ipv4, .filter = FILTER_FAMILY },
	{ "ipv6", '6', NULL, "only IPv6", .parse = parse_ipv6, .filter = FILTER_FAMILY },
	{ "cgroup", 0, "PATH|ID", "only sockets of this cgroup (v2) and of those below it", .parse = parse_cgroup_option, .filter = FILTER_CGROUP },
	{ "cgroupmap", 0, "PATH", "only sockets of the cgroups (v2) whose ids are keys of this pinned hash map", .parse = parse_cgroup_map, .filter = FILTER_CGROUP_SET },
	{ "mntnsmap", 0, "PATH", "only sockets whose owner's mount namespace is a key of this pinned hash map", .parse = parse_mntns_map, .filter = FILTER_MNTNS_SET },
	{ "sport", 0, "PORT[,...]", "only packets from these ports", .one = parse_one_source_port, .filter = FILTER_SOURCE_PORT, .letters = "-sp", .in_full = "--sport" },
	{ "dport", 0, "PORT[,...]", "only packets to these ports", .one = parse_one_destination_port, .filter = FILTER_DESTINATION_PORT, .letters = "-dp", .in_full = "--dport" },
	{ "exclude-port", 0, "PORT[,...]", "no packets from or to these ports", .one = parse_one_excluded_port, .filter = FILTER_EXCLUDED_PORT },
	{ "sample", 's', "[=N]", "only one packet in N, at random (100 if N is not given)", .parse = parse_sample, .filter = FILTER_SAMPLE },
	{ "min-latency", 0, "NS", "only packets that took at least NS nanoseconds", .parse = parse_min_latency, .filter = FILTER_LATENCY },
	{ "summary", 0, NULL, "instead of a record for each packet, one per interval, NIC and stage of its way", .filter = FILTER_SUMMARY, .flag = offsetof(struct config, summary) },
	{ "netns", 0, "all", "packets of all network namespaces, not only of this one", .parse = parse_netns },
	{ "duplicates", 0, NULL, "tcp_inerrs: report ordinary duplicates and keepalives, too", .flag = offsetof(struct config, duplicates) },
	{ "interval", 'i', "SEC", "time between records of interval probes (default 1, fractions allowed)", .parse = parse_interval },
	{ "attach", 0, "fentry|kprobe|tracepoint", "attach to the kernel in this way only", .parse = parse_way },
	{ "output", 'o', "SPEC", "where records go: stdout[,agent=yes|no][,full=block|drop-oldest|drop-newest][,queue=SIZE][,probes=A+B]", .parse = parse_output },
	{ "label", 0, "KEY=VALUE", "put this label on every record (repeatable)", .parse = parse_label },
	{ "host", 0, "NAME", "host.name in the records (default: the host's name)", .parse = parse_host },
	{ "count", 0, "N", "end after N probe records", .parse = parse_count },
	{ "duration", 0, "SEC", "end after SEC seconds", .parse = parse_duration },
	{ "ring-size", 0, "SIZE", "ring buffer of each probe, a power of two (default 1M)", .parse = parse_ring_size },
	{ "noclear", 'C', NULL, "for habits from tcptop: does nothing", .parse = parse_no_clear },
	{ "json", 0, NULL, "with `list`: as JSON", .flag = offsetof(struct config, json) },
	{ "write", 0, "DIR", "with `schema`: write all schemas, templates and the field reference into DIR", .parse = parse_write },
	{ "quiet", 'q', NULL, "no notices on stderr", .flag = offsetof(struct config, quiet) },
	{ "verbose", 'v', NULL, "more about what is done, on stderr", .flag = offsetof(struct config, verbose) },
	{ "version", 'V', NULL, "print the version and end", .parse = parse_version },
	{ "help", 'h', NULL, "print this and end", .parse = parse_help },
};
#define FIRST_LONG 256	/* what getopt_long() returns for the first row */
#define N_OPTIONS (sizeof(option_rows) / sizeof(option_rows[0]))

/* For struct option. */
static int has_argument(const struct option_row *row)
{
	if (!row->argument)
		return no_argument;
	return row->argument[0] == '[' ? optional_argument : required_argument;
}

static void print_option(const struct option_row *row)
{
	char text[80], typed[5] = "   ";

	if (row->letters)
		snprintf(typed, sizeof(typed), "%s,", row->letters);
	else if (row->letter)
		snprintf(typed, sizeof(typed), "-%c,", row->letter);
	snprintf(text, sizeof(text), "%s --%s%s%s", typed, row->name, has_argument(row) == required_argument ? " " : "", row->argument ?: "");
	printf(strlen(text) > 34 ? "  %s\n" : "  %-35s", text);
	printf(strlen(text) > 34 ? "%37s%s\n" : "%s%s\n", "", row->help);
}

void config_help(void)
{
	printf("netline: the kernel's network stack as JSON Lines\n\n"
	       "  netline [OPTION...] [PROBE...]   stream records to stdout until Ctrl-C; without PROBE: the default set\n"
	       "  netline list [--json]            probes, how each attaches on this kernel, or why it cannot\n"
	       "  netline schema [RECORD]          the JSON Schema of a record type, or of all\n\nProbes:\n");
	for (unsigned i = 0; i < n_probes; i++)
		printf("  %-18s %s%s\n", probes[i]->name, probes[i]->summary, probes[i]->by_default ? "" : " (not in the default set)");
	printf("  %-18s every probe\n\nOptions:\n", "all");
	for (size_t i = 0; i < N_OPTIONS; i++)
		print_option(&option_rows[i]);
	printf("\nExit status: 0 done; 1 failed at run time; 2 wrong usage or unknown NIC; 3 cannot attach to the kernel.\n");
}

const char *config_filter_names(const struct config *config, unsigned filters, char ret_names[FILTER_NAMES_LEN])
{
	ret_names[0] = 0;
	for (unsigned bit = 0; bit < MAX_FILTERS; bit++) {
		size_t used = strlen(ret_names);

		if (filters & 1u << bit)
			snprintf(ret_names + used, FILTER_NAMES_LEN - used, "%s--%s", used ? ", " : "", config->filter_options[bit]);
	}
	return ret_names;
}

static int apply(struct config *config, const struct option_row *row, const char *argument)
{
	char option[32];
	int err = 0;

	snprintf(option, sizeof(option), "--%s", row->name);
	if (row->parse)
		err = row->parse(config, argument);
	else if (row->one)
		err = parse_list(option, argument, ',', config, row->one);
	else
		*(bool *)((char *)config + row->flag) = true;
	config->filters |= row->filter;
	if (row->filter)
		config->filter_options[__builtin_ctz(row->filter)] = row->name;
	return err;
}

/* getopt's complaint: `c` is ':' for a missing argument, else '?'. */
static int tell_bad_option(int c, const char *word)
{
	char option[3] = { '-', optopt, 0 };
	const char *name = optopt >= FIRST_LONG ? option_rows[optopt - FIRST_LONG].name : NULL;

	if (c == ':')
		log_error("%s%s: needs an argument; see netline --help", name ? "--" : "", name ?: option);
	else if (name)
		log_error("--%s: takes no argument; see netline --help", name);
	else
		log_error("%s: no such option; see netline --help", optopt ? option : word);
	return -EINVAL;
}

static int take_words(struct config *config, int n, char **words)
{
	if (n && (!strcmp(words[0], "list") || !strcmp(words[0], "schema")) && config->command == COMMAND_RUN) {
		config->command = words[0][0] == 'l' ? COMMAND_LIST : COMMAND_SCHEMA;
		words++;
		n--;
	}
	if (n > MAX_PROBES) {
		log_error("too many words: %s", words[MAX_PROBES]);
		return -EINVAL;
	}
	for (int i = 0; i < n; i++)
		config->words[config->n_words++] = words[i];
	return 0;
}

/* `--sample 100` leaves a word: an optional argument stands in the same one. */
static int check_sample(const struct config *config)
{
	for (unsigned i = 0; i < config->n_words && config->sample_is_bare; i++) {
		const char *word = config->words[i];

		if (word[0] && !word[strspn(word, "0123456789")]) {
			log_error("%s: no such probe; for one packet in %s use --sample=%s", word, word, word);
			return -EINVAL;
		}
	}
	return 0;
}

/* What an option says about the command and the options that it stands with. */
static int check_together(const struct config *config)
{
	char names[FILTER_NAMES_LEN];

	if (config->command == COMMAND_HELP || config->command == COMMAND_VERSION)
		return 0;
	if (config->filters && config->command != COMMAND_RUN) {
		log_error("%s: goes with a run only", config_filter_names(config, config->filters, names));
		return -EINVAL;
	}
	if (config->json && config->command != COMMAND_LIST) {
		log_error("--json goes with `netline list`: records are JSON already");
		return -EINVAL;
	}
	if (config->write_dir && config->command != COMMAND_SCHEMA) {
		log_error("--write goes with `netline schema`");
		return -EINVAL;
	}
	if (config->command == COMMAND_LIST && config->n_words) {
		log_error("list: takes no %s", config->words[0]);
		return -EINVAL;
	}
	if (config->command == COMMAND_SCHEMA && config->n_words > 1) {
		log_error("schema: one record type at a time, or none for all");
		return -EINVAL;
	}
	if (config->min_latency_ns && config->summary) {
		log_error("--min-latency goes with a record for each packet, not with --summary");
		return -EINVAL;
	}
	return check_sample(config);
}

static void defaults(struct config *config)
{
	memset(config, 0, sizeof(*config));
	config->families = FAMILY_BIT(FAMILY_IPV4) | FAMILY_BIT(FAMILY_IPV6);
	config->actions = 1 << ACTION_CONNECT | 1 << ACTION_ACCEPT;
	config->sample = 1;
	config->interval_ns = 1000000000;
	config->ring_bytes = 1 << 20;
	if (gethostname(config->host, sizeof(config->host) - 1) || !config->host[0])
		strcpy(config->host, "localhost");
}

/* Only the option that is next is spelled out: further on, -sp may be an argument, or follow `--`. */
static int next_option(int argc, char **argv, const char *shorts, const struct option *longs)
{
	int next = optind;

	while (next < argc && (argv[next][0] != '-' || !argv[next][1]))	/* a word, which getopt passes over */
		next++;
	for (size_t i = 0; i < N_OPTIONS && next < argc; i++)
		if (option_rows[i].letters && !strcmp(argv[next], option_rows[i].letters))
			argv[next] = (char *)option_rows[i].in_full;
	return getopt_long(argc, argv, shorts, longs, NULL);
}

static int parse_all(struct config *config, int argc, char **argv)
{
	struct option longs[N_OPTIONS + 1] = { 0 };
	char shorts[3 * N_OPTIONS + 2] = ":", *letter = shorts + 1;
	int c, index;

	for (size_t i = 0; i < N_OPTIONS; i++) {
		int has_arg = has_argument(&option_rows[i]);

		longs[i] = (struct option){ .name = option_rows[i].name, .has_arg = has_arg, .val = FIRST_LONG + i };
		if (option_rows[i].letter)
			letter += sprintf(letter, "%c%.*s", option_rows[i].letter, has_arg, "::");
	}
	while ((c = next_option(argc, argv, shorts, longs)) != -1) {
		if (c == ':' || c == '?')
			return tell_bad_option(c, argv[optind - 1]);
		for (index = 0; index < (int)N_OPTIONS; index++)
			if (c == FIRST_LONG + index || c == option_rows[index].letter)
				break;
		if (apply(config, &option_rows[index], optarg))
			return -EINVAL;
	}
	if (take_words(config, argc - optind, argv + optind))
		return -EINVAL;
	log_set_level(config->quiet ? LOG_LEVEL_ERROR : config->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_NOTICE);
	return check_together(config);
}

/* On a copy, in which options are spelled out and put before the words. */
int config_parse(struct config *config, int argc, char **argv)
{
	char **copy = calloc(argc + 1, sizeof(*copy));
	int err = -ENOMEM;

	defaults(config);
	if (copy) {
		memcpy(copy, argv, argc * sizeof(*copy));
		err = parse_all(config, argc, copy);
	}
	free(copy);
	return err;
}

void config_release(struct config *config)
{
	for (unsigned i = 0; i < config->n_nics; i++)
		free(config->nics[i]);
	for (unsigned i = 0; i < config->n_labels; i++)
		free((char *)config->labels[i].key);	/* key and value are one allocation */
}
