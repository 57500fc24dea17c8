/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../schema/control.h"
#include "../schema/tcp_connection.h"
#include "log.h"
#include "options.h"
#include "probe.h"

#define FIRST_LONG 256	/* what getopt_long() returns for the first row */

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

static void print_setting(const struct spec_setting *setting)
{
	char text[80];

	snprintf(text, sizeof(text), "%s=%s", setting->name, setting->value);
	printf(strlen(text) > 34 ? "  %s\n" : "  %-35s", text);
	printf(strlen(text) > 34 ? "%37s%s\n" : "%s%s\n", "", setting->meaning);
}

void config_help(void)
{
	printf("netline: the kernel's network stack as JSON Lines\n\n"
	       "  netline [OPTION...] [PROBE...]   stream records to stdout until Ctrl-C; without PROBE: the default set\n"
	       "  netline list [--json]            probes, how each attaches on this kernel, or why it cannot\n"
	       "  netline schema [RECORD]          the JSON Schema of a record type, or of all\n"
	       "  netline --config FILE [--check]  run from a configuration file, or only say what is wrong with it\n\nProbes:\n");
	for (unsigned i = 0; i < n_probes; i++)
		printf("  %-18s %s%s\n", probes[i]->name, probes[i]->summary, probes[i]->by_default ? "" : " (not in the default set)");
	printf("  %-18s every probe\n\nOptions:\n", "all");
	for (unsigned i = 0; i < n_options; i++)
		print_option(&option_rows[i]);
	printf("\nSettings of an output, after its name: -o file:/var/log/netline/netline.jsonl,rotate-size=100M,keep=10\n");
	for (unsigned i = 0; i < n_spec_settings; i++)
		print_setting(&spec_settings[i]);
	printf("\nExit status: 0 done; 1 failed at run time; 2 wrong usage, wrong configuration or unknown NIC; 3 cannot attach to the kernel.\n");
}

const char *config_filter_names(const struct probe_config *config, unsigned filters, char ret_names[FILTER_NAMES_LEN])
{
	ret_names[0] = 0;
	for (unsigned bit = 0; bit < MAX_FILTERS; bit++) {
		size_t used = strlen(ret_names);

		if (filters & 1u << bit)
			snprintf(ret_names + used, FILTER_NAMES_LEN - used, "%s--%s", used ? ", " : "", config->filter_options[bit]);
	}
	return ret_names;
}

const char *config_option_place(const struct config *config, const char *probe, const char *option, char ret_place[OPTION_PLACE_LEN])
{
	if (config->file && !(config->given & 1ull << (option_find(option) - option_rows)))
		snprintf(ret_place, OPTION_PLACE_LEN, "%.300s: %s: %s", config->file, probe, option);
	else
		snprintf(ret_place, OPTION_PLACE_LEN, "--%s", option);
	return ret_place;
}

/* An option of the command line. */
static int apply(struct config *config, unsigned row, const char *argument)
{
	const struct option_row *option = &option_rows[row];
	char where[32];

	snprintf(where, sizeof(where), "--%s", option->name);
	config->given |= 1ull << row;
	return option_apply(option, option->scope == OF_PROBE ? (void *)&config->all : config, where, argument);
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
	for (unsigned i = 0; i < config->n_words && config->all.sample_is_bare; i++) {
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
	char names[FILTER_NAMES_LEN], where[OPTION_PLACE_LEN];

	if (config->command == COMMAND_HELP || config->command == COMMAND_VERSION)
		return 0;
	if (config->all.filters && config->command != COMMAND_RUN && config->command != COMMAND_CHECK) {
		log_error("%s: goes with a run only", config_filter_names(&config->all, config->all.filters, names));
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
	if (config->command == COMMAND_CHECK && !config->file) {
		log_error("--check: which file? netline --config FILE --check");
		return -EINVAL;
	}
	for (unsigned i = 0; i < n_probes; i++) {
		if (config->probes[i].min_latency_ns && config->probes[i].summary) {
			log_error("%s goes with a record for each packet, not with --summary", config_option_place(config, probes[i]->name, "min-latency", where));
			return -EINVAL;
		}
	}
	return check_sample(config);
}

int config_check_output(const struct config *config, const char *where, const struct output_spec *spec)
{
	char name[SPEC_NAME_LEN];

	for (unsigned i = 0; i < config->n_outputs; i++) {
		if (config->outputs[i].kind == spec->kind && !strcmp(config->outputs[i].path, spec->path)) {
			log_error("%s %s: it is there twice", where, spec_name(spec, name));
			return -EINVAL;
		}
	}
	return 0;
}

static void defaults(struct config *config)
{
	memset(config, 0, sizeof(*config));
	config->all.families = FAMILY_BIT(FAMILY_IPV4) | FAMILY_BIT(FAMILY_IPV6);
	config->all.actions = 1 << ACTION_CONNECT | 1 << ACTION_ACCEPT;
	config->all.sample = 1;
	config->all.interval_ns = 1000000000;
	config->all.ring_bytes = 1 << 20;
	if (gethostname(config->host, sizeof(config->host) - 1) || !config->host[0])
		strcpy(config->host, "localhost");
}

/* Only the option that is next is spelled out: further on, -sp may be an argument, or follow `--`. */
static int next_option(int argc, char **argv, const char *shorts, const struct option *longs)
{
	int next = optind;

	while (next < argc && (argv[next][0] != '-' || !argv[next][1]))	/* a word, which getopt passes over */
		next++;
	for (unsigned i = 0; i < n_options && next < argc; i++)
		if (option_rows[i].letters && !strcmp(argv[next], option_rows[i].letters))
			argv[next] = (char *)option_rows[i].in_full;
	return getopt_long(argc, argv, shorts, longs, NULL);
}

static int parse_line(struct config *config, int argc, char **argv)
{
	struct option longs[MAX_OPTIONS + 1] = { 0 };
	char shorts[3 * MAX_OPTIONS + 2] = ":", *letter = shorts + 1;
	unsigned index;
	int c;

	for (unsigned i = 0; i < n_options; i++) {
		int has_arg = has_argument(&option_rows[i]);

		longs[i] = (struct option){ .name = option_rows[i].name, .has_arg = has_arg, .val = FIRST_LONG + i };
		if (option_rows[i].letter)
			letter += sprintf(letter, "%c%.*s", option_rows[i].letter, has_arg, "::");
	}
	while ((c = next_option(argc, argv, shorts, longs)) != -1) {
		if (c == ':' || c == '?')
			return tell_bad_option(c, argv[optind - 1]);
		for (index = 0; index < n_options; index++)
			if (c == (int)(FIRST_LONG + index) || c == option_rows[index].letter)
				break;
		if (apply(config, index, optarg))
			return -EINVAL;
	}
	if (take_words(config, argc - optind, argv + optind))
		return -EINVAL;
	return 0;
}

/* First the command line, then the file, of which what the command line has said is passed over. */
static int parse_all(struct config *config, int argc, char **argv)
{
	if (parse_line(config, argc, argv))
		return -EINVAL;
	for (unsigned i = 0; i < n_probes; i++)
		config->probes[i] = config->all;
	if (config->file && config_read_file(config, config->file))
		return -EINVAL;
	if (!config->n_outputs)
		spec_begin("--output", "stdout", &config->outputs[config->n_outputs++]);
	log_set_level(config->quiet ? LOG_LEVEL_ERROR : config->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_NOTICE);
	return check_together(config);
}

/* On a copy, in which options are spelled out and put before the words. */
int config_parse(struct config *config, int argc, char **argv)
{
	char **copy = calloc(argc + 1, sizeof(*copy));
	int err = -ENOMEM;

	defaults(config);
	config->argc = argc;
	config->argv = argv;
	optind = 0;	/* from the start, each time */
	if (copy) {
		memcpy(copy, argv, argc * sizeof(*copy));
		err = parse_all(config, argc, copy);
	}
	free(copy);
	return err;
}

void config_release(struct config *config)
{
	for (unsigned i = 0; i < config->n_labels; i++)
		free((char *)config->labels[i].key);	/* key and value are one allocation */
}
