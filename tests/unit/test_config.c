/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line: what lands in struct config, and what is refused with one line that names the option. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "../../agent/config.h"
#include "../../agent/probe.h"
#include "../../schema/control.h"
#include "../../schema/tcp_connection.h"
#include "capture.h"

#define MAX_ARGS 200

/* A command line that was cut at its spaces; '' is an empty argument. */
struct command_line {
	char *copy, *argv[MAX_ARGS];
	int argc;
};

static void command_line_init(struct command_line *line, const char *text)
{
	char *rest;

	*line = (struct command_line){ .copy = strdup(text), .argv = { "netline" }, .argc = 1 };
	assert_non_null(line->copy);
	rest = line->copy;
	for (char *word; (word = strsep(&rest, " "));) {
		assert_true(line->argc < MAX_ARGS - 1);
		if (!strcmp(word, "''"))
			*word = 0;
		else if (!*word)
			continue;
		line->argv[line->argc++] = word;
	}
}

static int parse(struct config *config, struct command_line *line)
{
	optind = 0;	/* getopt: from the start */
	return config_parse(config, line->argc, line->argv);
}

/* --- accepted --- */

static char *add(char *at, const char *name, const char *value)
{
	return at + sprintf(at, "%s%s=%s", at[-1] ? " " : "", name, value);
}

static char *add_number(char *at, const char *name, uint64_t value, uint64_t normal)
{
	char text[24];

	sprintf(text, "%" PRIu64, value);
	return value == normal ? at : add(at, name, text);
}

/* A default stdout is not mentioned. */
static char *describe_output(char *at, const struct output_spec *spec)
{
	static const char *const policies[] = { "block", "drop-oldest", "drop-newest" };
	char name[SPEC_NAME_LEN];
	struct output_spec normal;

	assert_int_equal(spec_begin("", "stdout", &normal), 0);
	if (!memcmp(spec, &normal, sizeof(normal)))
		return at;
	at = add(at, "output", spec_name(spec, name));
	if (spec->full != (spec->kind == SPEC_STDOUT ? FULL_BLOCK : spec->kind == SPEC_FILE ? FULL_DROP_NEWEST : FULL_DROP_OLDEST))
		at = add(at, "full", policies[spec->full]);
	at = add_number(at, "agent", spec->agent_records, spec->kind != SPEC_STDOUT);
	at = add_number(at, "queue", spec->queue_bytes, spec->kind == SPEC_STDOUT ? 4 << 20 : 16 << 20);
	at = add_number(at, "rotate-size", spec->rotate_bytes, 0);
	at = add_number(at, "rotate-time", spec->rotate_ns, 0);
	at = add_number(at, "keep", spec->keep, 0);
	at = add_number(at, "keep-size", spec->keep_bytes, 0);
	at = add_number(at, "compress", spec->compress, 0);
	at = add_number(at, "mode", spec->mode, 0660);
	at = add_number(at, "group", spec->group, (gid_t)-1);
	return *spec->probes ? add(at, "probes", spec->probes) : at;
}

/* What differs from the defaults, as one text. */
static const char *describe(const struct config *config)
{
	static const char *const commands[] = { "run", "list", "schema", "check", "help", "version" };
	static char text[16384];
	const struct probe_config *all = &config->all;
	char *at = text + 1, names[FILTER_NAMES_LEN], host[256];

	*at = 0;
	if (config->command != COMMAND_RUN)
		at = add(at, "command", commands[config->command]);
	for (unsigned i = 0; i < config->n_words; i++)
		at = add(at, "word", config->words[i]);
	if (all->filters)
		at = add(at, "filters", config_filter_names(all, all->filters, names));
	for (unsigned i = 0; i < all->n_nics; i++)
		at = add(at, "nic", all->nics[i]);
	for (unsigned i = 0; i < all->n_pids; i++)
		at = add_number(at, "pid", all->pids[i], UINT64_MAX);
	for (unsigned i = 0; i < all->n_ports; i++)
		at = add_number(at, "port", all->ports[i], UINT64_MAX);
	for (unsigned i = 0; i < all->n_source_ports; i++)
		at = add_number(at, "sport", all->source_ports[i], UINT64_MAX);
	for (unsigned i = 0; i < all->n_destination_ports; i++)
		at = add_number(at, "dport", all->destination_ports[i], UINT64_MAX);
	for (unsigned i = 0; i < all->n_excluded_ports; i++)
		at = add_number(at, "excluded", all->excluded_ports[i], UINT64_MAX);
	at = add_number(at, "sample", all->sample, 1);
	at = add_number(at, "latency", all->min_latency_ns, 0);
	at = add_number(at, "summary", all->summary, 0);
	at = add_number(at, "all_netns", all->all_netns, 0);
	at = add_number(at, "families", all->families, FAMILY_BIT(FAMILY_IPV4) | FAMILY_BIT(FAMILY_IPV6));
	at = add_number(at, "actions", all->actions, 1 << ACTION_CONNECT | 1 << ACTION_ACCEPT);
	at = add_number(at, "cgroup", all->cgroup, 0);
	if (all->cgroup_map[0])
		at = add(at, "cgroupmap", all->cgroup_map);
	if (all->mntns_map[0])
		at = add(at, "mntnsmap", all->mntns_map);
	at = add_number(at, "duplicates", all->duplicates, 0);
	if (all->way)
		at = add(at, "way", probe_ways[all->way]);
	at = add_number(at, "interval", all->interval_ns, 1000000000);
	at = add_number(at, "duration", config->duration_ns, 0);
	at = add_number(at, "count", config->count, 0);
	at = add_number(at, "ring", all->ring_bytes, 1 << 20);
	for (unsigned i = 0; i < config->n_outputs; i++)
		at = describe_output(at, &config->outputs[i]);
	for (unsigned i = 0; i < config->n_labels; i++)
		at = add(add(at, "label", config->labels[i].key), "value", config->labels[i].value);
	gethostname(host, sizeof(host));
	if (strcmp(host, config->host))
		at = add(at, "host", config->host);
	at = add_number(at, "quiet", config->quiet, 0);
	at = add_number(at, "verbose", config->verbose, 0);
	at = add_number(at, "json", config->json, 0);
	at = add_number(at, "community-id", config->community_id, 0);
	if (config->user[0])
		at = add(at, "user", config->user);
	if (config->file)
		at = add(at, "file", config->file);
	if (config->write_dir)
		at = add(at, "write", config->write_dir);
	return text + 1;
}

static const struct {
	const char *line, *config;
} accepted[] = {
	{ "", "" },
	{ "nic_throughput", "word=nic_throughput" },
	{ "nic_throughput tcp_connection", "word=nic_throughput word=tcp_connection" },
	{ "no_such_probe", "word=no_such_probe" },	/* names are looked up later */
	{ "all -q", "word=all quiet=1" },
	{ "-", "word=-" },

	{ "--nic eth0", "filters=--nic nic=eth0" },
	{ "--nic=eth0,lo", "filters=--nic nic=eth0 nic=lo" },
	{ "-n eth0 -nlo -n a,b", "filters=--nic nic=eth0 nic=lo nic=a nic=b" },
	{ "-n fifteen_letters", "filters=--nic nic=fifteen_letters" },
	{ "--pid 1,4194304", "filters=--pid pid=1 pid=4194304" },
	{ "-p 42", "filters=--pid pid=42" },
	{ "--port 1,65535", "filters=--port port=1 port=65535" },
	{ "-P443", "filters=--port port=443" },
	{ "--direction connect", "filters=--direction actions=1" },
	{ "-r accept", "filters=--direction actions=2" },
	{ "-r accept -r connect", "filters=--direction actions=1" },
	{ "--ipv4", "filters=--ipv4 families=1" },
	{ "-4", "filters=--ipv4 families=1" },
	{ "-44", "filters=--ipv4 families=1" },
	{ "--ipv6", "filters=--ipv6 families=2" },
	{ "-6", "filters=--ipv6 families=2" },
	{ "--cgroup 4711", "filters=--cgroup cgroup=4711" },
	{ "--cgroup 18446744073709551615", "filters=--cgroup cgroup=18446744073709551615" },
	{ "--sport 1,65535", "filters=--sport sport=1 sport=65535" },
	{ "-sp 80", "filters=--sport sport=80" },
	{ "--dport 1,65535", "filters=--dport dport=1 dport=65535" },
	{ "-dp 80,443 -sp 1 -dp 22", "filters=--sport, --dport sport=1 dport=80 dport=443 dport=22" },
	{ "tcp_bytes -sp 1 - all -q -dp 2 list", "word=tcp_bytes word=- word=all word=list filters=--sport, --dport sport=1 dport=2 quiet=1" },
	{ "--host -sp -o stdout -qi 2 -dp 3", "filters=--dport dport=3 interval=2000000000 host=-sp quiet=1" },
	{ "-sp 1 -- -sp -dp", "word=-sp word=-dp filters=--sport sport=1" },
	{ "--exclude-port 22,65535 --exclude-port 1", "filters=--exclude-port excluded=22 excluded=65535 excluded=1" },
	{ "--sample", "filters=--sample sample=100" },
	{ "-s", "filters=--sample sample=100" },
	{ "-qs tcp_bytes", "word=tcp_bytes filters=--sample sample=100 quiet=1" },
	{ "-s100 -s2", "filters=--sample sample=2" },
	{ "--sample=1", "filters=--sample" },
	{ "--sample=1000000000", "filters=--sample sample=1000000000" },
	{ "-s2 100", "word=100 filters=--sample sample=2" },	/* what else it could be is told later */
	{ "-s 100x", "word=100x filters=--sample sample=100" },
	{ "-s ''", "word= filters=--sample sample=100" },
	{ "-s -s7 100", "word=100 filters=--sample sample=7" },
	{ "--min-latency 1", "filters=--min-latency latency=1" },
	{ "--min-latency=1000000000000", "filters=--min-latency latency=1000000000000" },
	{ "--summary", "filters=--summary summary=1" },
	{ "--cgroupmap /sys/fs/bpf/a --mntnsmap b", "filters=--cgroupmap, --mntnsmap cgroupmap=/sys/fs/bpf/a mntnsmap=b" },	/* looked at later */
	{ "--netns all", "all_netns=1" },
	{ "--duplicates", "duplicates=1" },
	{ "--noclear", "" },
	{ "-C", "" },
	{ "-n lo -p 1 -P 2 -r accept -4 --cgroup 3",
	  "filters=--nic, --pid, --port, --direction, --ipv4, --cgroup nic=lo pid=1 port=2 families=1 actions=2 cgroup=3" },

	{ "--interval 2", "interval=2000000000" },
	{ "-i 0.5", "interval=500000000" },
	{ "-i.25", "interval=250000000" },
	{ "-i 1", "" },
	{ "--duration 86400", "duration=86400000000000" },
	{ "--count 1", "count=1" },
	{ "--count 9223372036854775807", "count=9223372036854775807" },
	{ "--ring-size 64K", "ring=65536" },
	{ "--ring-size 1g", "ring=1073741824" },
	{ "--ring-size 1048576", "" },
	{ "--attach fentry", "way=fentry" },
	{ "--attach kprobe", "way=kprobe" },
	{ "--attach=tracepoint", "way=tracepoint" },

	{ "--output stdout", "" },
	{ "-o stdout,agent=yes,full=drop-oldest,queue=128K", "output=stdout full=drop-oldest agent=1 queue=131072" },
	{ "-ostdout,agent=no,full=drop-newest,queue=1G", "output=stdout full=drop-newest queue=1073741824" },
	{ "-o stdout,full=block,probes=nic_throughput+tcp_connection", "output=stdout probes=nic_throughput+tcp_connection" },
	{ "-o file:x", "output=file:x" },
	{ "-o file:x,rotate-size=1M,rotate-time=1h,keep=1,keep-size=1G,compress",
	  "output=file:x rotate-size=1048576 rotate-time=3600000000000 keep=1 keep-size=1073741824 compress=1" },
	{ "-o file:x,rotate-time=2d,compress=no -o file:y,rotate-time=90,compress=yes,agent=no",
	  "output=file:x rotate-time=172800000000000 output=file:y agent=0 rotate-time=90000000000 compress=1" },
	{ "-o file:a:b=c", "output=file:a:b=c" },
	{ "-o unix:/run/x,mode=0600,group=root -o unix-connect:/run/x", "output=unix:/run/x mode=384 group=0 output=unix-connect:/run/x" },
	{ "-o stdout -o unix:x,full=block", "output=unix:x full=block" },
	{ "--community-id", "community-id=1" },
	{ "--user root", "user=root" },
	{ "--label a=b", "label=a value=b" },
	{ "--label a=b --label c==d=", "label=a value=b label=c value==d=" },
	{ "--label a=1 --label ab=1", "label=a value=1 label=ab value=1" },
	{ "--host web-01", "host=web-01" },

	{ "list", "command=list" },
	{ "list --json", "command=list json=1" },
	{ "--json list", "command=list json=1" },
	{ "schema", "command=schema" },
	{ "schema tcp_connection", "command=schema word=tcp_connection" },
	{ "schema --write dir", "command=schema write=dir" },
	{ "nic_throughput list", "word=nic_throughput word=list" },
	{ "--help", "command=help" },
	{ "-h", "command=help" },
	{ "-h list", "command=help word=list" },
	{ "--version", "command=version" },
	{ "-V --json", "command=version json=1" },
	{ "--quiet", "quiet=1" },
	{ "--verbose", "verbose=1" },
	{ "-v", "verbose=1" },

	{ "-qv4", "filters=--ipv4 families=1 quiet=1 verbose=1" },	/* bundled */
	{ "-qneth0", "filters=--nic nic=eth0 quiet=1" },
	{ "-qi 2 tcp_connection", "word=tcp_connection interval=2000000000 quiet=1" },
	{ "tcp_connection -q nic_throughput -4", "word=tcp_connection word=nic_throughput filters=--ipv4 families=1 quiet=1" },
	{ "-q -- -n", "word=-n quiet=1" },
	{ "--inter 2", "interval=2000000000" },				/* no other option begins so */
};

static void test_accepted(void **state)
{
	struct command_line line;
	struct config config;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(accepted); i++) {
		command_line_init(&line, accepted[i].line);
		require(!parse(&config, &line), "%s: refused", accepted[i].line);
		require(!strcmp(describe(&config), accepted[i].config), "%s: %s, not %s", accepted[i].line, describe(&config), accepted[i].config);
		config_release(&config);
		free(line.copy);
	}
}

static bool is_accepted(const char *option)
{
	size_t len = strlen(option);

	if (!strcmp(option, "-c") || !strcmp(option, "--config") || !strcmp(option, "--check"))	/* need a file: test_config_file.c */
		return true;
	for (size_t i = 0; i < COUNT_OF(accepted); i++)
		for (const char *at = accepted[i].line; (at = strstr(at, option)); at++)
			if ((at == accepted[i].line || at[-1] == ' ') && (len == 2 || strchr(" =", at[len])))
				return true;
	return false;
}

/* Every option that --help names stands in the table above, long and short. */
static void test_every_option(void **state)
{
	static struct capture capture;
	char *rest, *line, option[4] = "-", name[32];
	unsigned n = 0;

	(void)state;
	capture_begin(&capture, STDOUT_FILENO);
	config_help();
	rest = (char *)capture_end(&capture);
	rest = strstr(rest, "Options:\n");
	assert_non_null(rest);
	while ((line = strsep(&rest, "\n"))) {
		if (sscanf(line, "  -%2[^-, ], --%31[a-z0-9-]", option + 1, name) == 2) {
			require(is_accepted(option), "%s is not tested", option);
		} else if (sscanf(line, "      --%31[a-z0-9-]", name) != 1) {
			continue;
		}
		memmove(name + 2, name, sizeof(name) - 2);
		memcpy(name, "--", 2);
		require(is_accepted(name), "%s is not tested", name);
		n++;
	}
	assert_true(n > 22);
}

/* There is room for the names of all filters. */
static void test_filter_names(void **state)
{
	struct probe_config config = {
		.filter_options = { "nic", "pid", "port", "direction", "ipv4", "cgroup", "cgroupmap", "mntnsmap", "sport", "dport",
				    "exclude-port", "sample", "min-latency", "summary" },
	};
	char names[FILTER_NAMES_LEN];

	(void)state;
	assert_string_equal(config_filter_names(&config, (1 << MAX_FILTERS) - 1, names),
			    "--nic, --pid, --port, --direction, --ipv4, --cgroup, --cgroupmap, --mntnsmap, --sport, --dport, "
			    "--exclude-port, --sample, --min-latency, --summary");
}

/* A cgroup's id is the inode number of its folder. */
static void check_folder(const char *folder)
{
	struct command_line line;
	struct config config;
	struct stat stat_;
	char text[128];

	snprintf(text, sizeof(text), "--cgroup %s", folder);
	command_line_init(&line, text);
	assert_int_equal(stat(folder, &stat_), 0);
	assert_int_equal(parse(&config, &line), 0);
	assert_int_equal(config.all.cgroup, stat_.st_ino);
	config_release(&config);
	free(line.copy);
}

static void test_cgroup_folder(void **state)
{
	(void)state;
	if (!access("/sys/fs/cgroup/cgroup.controllers", F_OK))
		check_folder("/sys/fs/cgroup");
	else if (!access("/sys/fs/cgroup/unified/cgroup.controllers", F_OK))
		check_folder("/sys/fs/cgroup/unified");
	else
		skip();
}

/* --- refused --- */

static void check_refused(const char *text, const char *about)
{
	static struct capture capture;
	struct command_line line;
	struct config config;
	int err;

	command_line_init(&line, text);
	capture_begin(&capture, STDERR_FILENO);
	err = parse(&config, &line);
	capture_end(&capture);
	require(err == -EINVAL, "%s: %d", text, err);
	check_one_line(capture.text, about);
	config_release(&config);
	free(line.copy);
}

static void test_refused(void **state)
{
	static const struct {
		const char *line, *about;
	} refused[] = {
		{ "--unheard", "--unheard" }, { "-z", "-z" }, { "-qz", "-z:" }, { "-q --unheard=1", "--unheard=1" },
		{ "tcp_connection --unheard", "--unheard" }, { "--p 1", "--p" }, { "--quiet=1", "--quiet: takes no argument" }, { "--json=yes list", "--json: takes no" },
		{ "--nic", "--nic: needs an argument" }, { "-n", "-n: needs" }, { "-qn", "-n: needs an argument" }, { "--nic=", "--nic" }, { "--nic ''", "--nic" },
		{ "--nic eth0,,lo", "--nic" }, { "--nic eth0,", "--nic" }, { "--nic ,eth0", "--nic" }, { "-n sixteen_letters_", "--nic" },
		{ "--pid", "--pid" }, { "--pid ''", "--pid" }, { "--pid 0", "--pid" }, { "--pid -1", "--pid" }, { "--pid 4194305", "--pid" },
		{ "--pid 1,x", "--pid" }, { "--pid 1x", "--pid" }, { "--pid 1,", "--pid" }, { "--pid +1", "--pid" }, { "-p 1.5", "--pid" },
		{ "--pid 18446744073709551617", "--pid" }, { "--pid 4294967297", "--pid" },
		{ "--port 0", "--port" }, { "--port 65536", "--port" }, { "--port 65537", "--port" }, { "--port http", "--port" },
		{ "-P 0x50", "--port" }, { "-P 80,80,x", "--port" },
		{ "--sport", "--sport: needs an argument" }, { "-sp", "--sport: needs" }, { "-q -dp", "--dport: needs" }, { "-dp80", "-d: no such" },
		{ "-sp 0", "--sport 0" }, { "--sport 80,", "--sport" }, { "-dp 65536", "--dport 65536" }, { "-dp http", "--dport http" },
		{ "--dport ''", "--dport" }, { "--exclude-port", "--exclude-port" }, { "--exclude-port 1,0", "--exclude-port 0" },
		{ "--sample=0", "--sample 0" }, { "--sample=", "--sample" }, { "--sample=1000000001", "--sample 1000000001" }, { "-s1x", "--sample 1x" },
		{ "-sq", "--sample q" }, { "-sp80", "--sample p80" }, { "--sample=18446744073709551617", "--sample" },
		{ "-s 100", "100: no such probe; for one packet in 100 use --sample=100" }, { "--sample 7", "7: no such probe; for one packet in 7 use --sample=7" },
		{ "tcp_bytes -q -s tcp_inerrs 9", "--sample=9" }, { "-s7 -s 100", "--sample=100" },
		{ "--min-latency 0", "--min-latency 0" }, { "--min-latency 1000000000001", "--min-latency" }, { "--min-latency 1ms", "--min-latency 1ms" },
		{ "--min-latency", "--min-latency" }, { "--summary --min-latency 1", "--min-latency goes with a record for each packet, not with --summary" },
		{ "--summary=1", "--summary: takes no" }, { "--netns", "--netns" }, { "--netns ''", "--netns" }, { "--netns 1", "--netns 1: all" },
		{ "list -sp 1 --sample --summary", "--sport, --sample, --summary: goes with a run only" },
		{ "--direction both", "--direction" }, { "-r ''", "--direction" }, { "-r CONNECT", "--direction" },
		{ "--ipv4 --ipv6", "--ipv6" }, { "-64", "--ipv4" },
		{ "--cgroup 0", "--cgroup" }, { "--cgroup ''", "--cgroup" }, { "--cgroup /tmp", "--cgroup" },
		{ "--cgroupmap ''", "--cgroupmap" }, { "--mntnsmap ''", "--mntnsmap" },
		{ "--cgroup /no/such/folder", "--cgroup" }, { "--cgroup 18446744073709551616", "--cgroup" }, { "--cgroup -5", "--cgroup" },
		{ "--interval 0", "--interval" }, { "--interval 0.009", "--interval" }, { "--interval x", "--interval" },
		{ "--interval 86401", "--interval" }, { "--interval ''", "--interval" }, { "-i 1s", "--interval" }, { "-i -1", "--interval" },
		{ "--interval lo", "--nic lo" },
		{ "--duration 0", "--duration" }, { "--duration 1e3", "--duration" }, { "--duration .", "--duration" },
		{ "--count 0", "--count" }, { "--count 9223372036854775808", "--count" }, { "--count many", "--count" },
		{ "--ring-size 0", "--ring-size" }, { "--ring-size 2048", "--ring-size" }, { "--ring-size 12K", "--ring-size" },
		{ "--ring-size 2G", "--ring-size" }, { "--ring-size 64KB", "--ring-size" }, { "--ring-size K", "--ring-size" },
		{ "--attach ''", "--attach" }, { "--attach uprobe", "--attach" }, { "--attach none", "--attach" },
		{ "--output ''", "--output" }, { "-o stdout -o stdout", "--output stdout: it is there twice" }, { "-o file:x -o file:x,keep=1", "--output file:x: it is there twice" },
		{ "-o x.jsonl", "for a file use file:x.jsonl" }, { "-o ./x", "for a file use file:./x" }, { "-o -", "use stdout" }, { "-o File:x", "no such output" },
		{ "-o file:", "--output file: needs a path" }, { "-o unix", "needs a path: unix:PATH" }, { "-o stdout:x", "--output stdout" },
		{ "-o file:x,mode=0600", "--output: mode: file has no such setting" }, { "-o stdout,keep=1", "--output: keep: stdout has no such setting" },
		{ "-o file:x,keep=0", "--output: keep 0" }, { "-o file:x,rotate-size=1K", "--output: rotate-size 1K" }, { "-o file:x,compress=maybe", "compress" },
		{ "-o file:x,rotate-time=0", "rotate-time 0" }, { "-o file:x,rotate-time=1w", "rotate-time 1w" }, { "-o file:x,rotate-time=367d", "rotate-time" },
		{ "-o file:x,rotate-time=99999999999999999999", "rotate-time" }, { "-o file:x,rotate-time=1hh", "rotate-time" },
		{ "-o unix:x,mode=0888", "mode" }, { "-o unix:x,mode=-1", "mode" }, { "-o unix:x,mode=", "mode" }, { "-o unix:x,mode=0001", "mode" },
		{ "-o unix:x,group=no_such_group", "no such group" }, { "--user no_such_user", "no such user" }, { "--user ''", "--user" },
		{ "--config", "--config: needs" }, { "-c /no/such/file", "/no/such/file" }, { "-c /tmp", "/tmp" }, { "-c a -c b", "--config b: one file" },
		{ "--check", "--check: which file?" },
		{ "-o unix:01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789", "longer than 107 bytes" },
		{ "-o stdout,", "--output" }, { "-o stdout,agent", "--output" }, { "-o stdout,agent=maybe", "--output" },
		{ "-o stdout,full=never", "--output" }, { "-o stdout,full=", "--output" }, { "-o stdout,queue=1K", "--output" },
		{ "-o stdout,queue=2G", "--output" }, { "-o stdout,queue", "--output" }, { "-o stdout,probes=", "--output" },
		{ "-o stdout,probes=tcp_connection+", "--output" }, { "-o stdout,probes=unheard", "unheard" }, { "-o stdout,unheard=1", "unheard" },
		{ "--label a", "--label" }, { "--label a=", "--label" }, { "--label =b", "--label" }, { "--label ''", "--label" },
		{ "--label a=1 --label a=2", "--label" }, { "--label a.b=1", "--label" },
		{ "--host ''", "--host" },
		{ "--json", "--json" }, { "--json tcp_connection", "--json" }, { "--json schema", "--json" },
		{ "--write dir", "--write" }, { "--write dir list", "--write" },
		{ "list -n lo", "--nic" }, { "--ipv6 -p 1 schema", "--pid, --ipv6" },
		{ "list tcp_connection", "tcp_connection" }, { "schema a b", "schema" },
		{ "--help --unheard", "--unheard" },
		{ "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 seventeenth", "seventeenth" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(refused); i++)
		check_refused(refused[i].line, refused[i].about);
}

/* The unknown letter stands before a known one: getopt has not moved on to the next word yet. */
static void test_refused_in_bundle(void **state)
{
	(void)state;
	check_refused("-zq", "-z: no such option");
	check_refused("-q -qzq tcp_connection", "-z: no such option");
}

/* Lists of up to 64, labels of up to 512 bytes, names of up to 255. */
static void test_lengths(void **state)
{
	static const char *const lists[] = { "--nic", "--pid", "--port", "--sport", "--dport", "--exclude-port" };
	static char text[65536];
	struct command_line line;
	struct config config;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(lists); i++) {
		sprintf(text, "%s 1", lists[i]);
		for (unsigned n = 2; n <= MAX_LIST; n++)
			sprintf(text + strlen(text), ",%u", n);
		command_line_init(&line, text);
		assert_int_equal(parse(&config, &line), 0);
		assert_int_equal(config.all.n_nics + config.all.n_pids + config.all.n_ports + config.all.n_source_ports + config.all.n_destination_ports +
				 config.all.n_excluded_ports, MAX_LIST);
		config_release(&config);
		free(line.copy);
		strcat(text, ",65");
		check_refused(text, lists[i]);
	}
	*text = 0;
	for (unsigned n = 0; n < MAX_LIST; n++)
		sprintf(text + strlen(text), " --label k%02u=%020u", n, n);
	command_line_init(&line, text);
	assert_int_equal(parse(&config, &line), 0);
	assert_int_equal(config.n_labels, MAX_LIST);
	config_release(&config);
	free(line.copy);
	strcat(text, " --label one=more");
	check_refused(text, "--label");
	sprintf(text, "--label k=%02048u", 1);
	check_refused(text, "--label");
	sprintf(text, "--host %0256u", 1);
	check_refused(text, "--host");
	sprintf(text, "--output stdout,probes=%0512u", 1);
	check_refused(text, "--output");
	sprintf(text, "--output stdout,probes=%0300u", 1);
	check_refused(text, "--output");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_every_option),
		cmocka_unit_test(test_filter_names),
		cmocka_unit_test(test_cgroup_folder),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_in_bundle),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
