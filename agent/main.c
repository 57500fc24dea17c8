/* SPDX-License-Identifier: BSD-2-Clause */
#include <bpf/libbpf.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "kern.h"
#include "log.h"
#include "probe.h"
#include "schema.h"

#define LOG_TAIL 2000	/* of what the verifier says: its reasons are at the end */

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	char *text, *line, *rest;
	int len;

	if (level == LIBBPF_DEBUG)
		return 0;
	len = vasprintf(&text, format, args);
	if (len < 0)
		return 0;
	rest = len > LOG_TAIL ? text + len - LOG_TAIL : text;
	while ((line = strsep(&rest, "\n")))
		if (*line)
			log_debug("%s", line);
	free(text);
	return 0;
}

/* A file that is opened later must not become stdin, stdout or stderr. False: there is no stdout. */
static bool standard_files(void)
{
	bool have_stdout = fcntl(STDOUT_FILENO, F_GETFD) >= 0;

	while (true) {
		int fd = open("/dev/null", O_RDWR);

		if (fd < 0 || fd > STDERR_FILENO) {
			if (fd >= 0)
				close(fd);
			return have_stdout;
		}
	}
}

static int tell_stdout(void)
{
	log_error("stdout: %s", strerror(errno));
	return EXIT_FAILED;
}

static int flush_stdout(void)
{
	return fflush(stdout) ? tell_stdout() : EXIT_DONE;
}

#define PROBE_NAMES_LEN 512
static const char *probe_names(const struct probe *const *some, unsigned n, char ret_names[PROBE_NAMES_LEN])
{
	ret_names[0] = 0;
	for (unsigned i = 0; i < n; i++) {
		size_t used = strlen(ret_names);

		snprintf(ret_names + used, PROBE_NAMES_LEN - used, "%s%s", used ? ", " : "", some[i]->name);
	}
	return ret_names;
}

static void hint_word(const char *word)
{
	char names[PROBE_NAMES_LEN];

	if (word[0] && strspn(word, "0123456789") == strlen(word))
		log_error("%s is no probe: for a process use --pid %s, for a port --port %s, for the interval --interval %s", word, word,
			  word, word);
	else if (if_nametoindex(word))
		log_error("%s is no probe: for a NIC use --nic %s", word, word);
	else
		log_error("%s is no probe; there are %s and all", word, probe_names(probes, n_probes, names));
}

static int choose_named(const struct config *config, const struct probe **chosen, unsigned *n)
{
	char filter_names[FILTER_NAMES_LEN];

	for (unsigned i = 0; i < config->n_words; i++) {
		bool all = !strcmp(config->words[i], "all"), found = all;

		for (unsigned j = 0; j < n_probes; j++) {
			bool again = false;

			if (!all && strcmp(probes[j]->name, config->words[i]))
				continue;
			found = true;
			for (unsigned k = 0; k < *n; k++)
				again = again || chosen[k] == probes[j];
			if (!again)
				chosen[(*n)++] = probes[j];
		}
		if (!found) {
			hint_word(config->words[i]);
			return -EINVAL;
		}
	}
	for (unsigned i = 0; i < *n; i++) {
		unsigned not = config->filters & ~chosen[i]->filters;

		if (not) {
			log_error("%s cannot apply %s", chosen[i]->name, config_filter_names(config, not, filter_names));
			return -EINVAL;
		}
	}
	return 0;
}

/* The default set, without the probes that cannot apply every filter: the user reads which ones run. */
static void tell_shrunk(const struct config *config, const struct probe *const *chosen, unsigned n)
{
	char names[PROBE_NAMES_LEN], filter_names[FILTER_NAMES_LEN];
	unsigned all = 0;

	for (unsigned i = 0; i < n_probes; i++)
		all += probes[i]->by_default;
	if (n < all)
		log_notice("only %s: no other probe of the default set can apply %s", probe_names(chosen, n, names),
			   config_filter_names(config, config->filters, filter_names));
}

/* The probes in the default set, or outside of it, that can apply every filter. */
static unsigned choose_able(const struct config *config, bool by_default, const struct probe **chosen)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_probes; i++)
		if (probes[i]->by_default == by_default && !(config->filters & ~probes[i]->filters))
			chosen[n++] = probes[i];
	return n;
}

/* The default set shrinks to the probes that can apply every filter. */
static int choose_default(const struct config *config, const struct probe **chosen, unsigned *n)
{
	char names[PROBE_NAMES_LEN], filter_names[FILTER_NAMES_LEN];
	const struct probe *others[MAX_PROBES];
	unsigned n_others;

	*n = choose_able(config, true, chosen);
	if (*n)
		return 0;
	config_filter_names(config, config->filters, filter_names);
	n_others = choose_able(config, false, others);
	if (n_others)
		log_error("no probe of the default set can apply %s; %s can: name %s", filter_names, probe_names(others, n_others, names),
			  n_others > 1 ? "them" : "it");
	else
		log_error("no probe can apply all of %s", filter_names);
	return -EINVAL;
}

static int run(const struct config *config)
{
	const struct probe *chosen[MAX_PROBES];
	unsigned n = 0;
	int err;

	err = config->n_words ? choose_named(config, chosen, &n) : choose_default(config, chosen, &n);
	for (unsigned i = 0; i < n && !err; i++)
		if (chosen[i]->check)
			err = chosen[i]->check(config);
	if (!err && !config->n_words)
		tell_shrunk(config, chosen, n);
	return err ? EXIT_USAGE : agent_run(config, chosen, n, config->n_words > 0);
}

static json_t *split_hooks(char *hooks)
{
	json_t *array = json_array();
	char *hook;

	while ((hook = strsep(&hooks, ",")))
		json_array_append_new(array, json_string(hook));
	return array;
}

static int list(const struct config *config)
{
	json_t *all = json_array();
	int code = EXIT_DONE;

	for (unsigned i = 0; i < n_probes; i++) {
		struct probe_run run;
		bool fits = !probe_choose(&run, probes[i], config);

		if (!config->json)
			printf("%-18s %-11s %s\n", probes[i]->name, fits ? probe_ways[run.way->kind] : "unavailable",
			       fits ? run.hooks : run.reason);
		else if (fits)
			json_array_append_new(all, json_pack("{ss ss so}", "name", probes[i]->name, "way", probe_ways[run.way->kind],
							     "hooks", split_hooks(run.hooks)));
		else
			json_array_append_new(all, json_pack("{ss ss}", "name", probes[i]->name, "unavailable", run.reason));
		probe_free(&run);
	}
	if (config->json && (json_dumpf(all, stdout, JSON_INDENT(2)) || putchar('\n') == EOF))
		code = EXIT_FAILED;
	json_decref(all);
	kern_release();
	return code ?: flush_stdout();
}

static int print_one_schema(const char *name, const struct record *const *records, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(records[i]->name, name))
			return schema_print(records[i], stdout);
	return -ENOENT;
}

static int schema(const struct config *config)
{
	const struct record *records[MAX_RECORDS];
	unsigned n = agent_record_types(records);
	int err;

	if (config->write_dir) {
		err = schema_write_all(config->write_dir, records, n);
		if (err)
			log_error("schema --write %s: %s", config->write_dir, strerror(-err));
		return err ? EXIT_FAILED : EXIT_DONE;
	}
	if (!config->n_words)
		err = schema_print_all(records, n, stdout);
	else
		err = print_one_schema(config->words[0], records, n);
	if (err == -ENOENT) {
		log_error("schema %s: no such record; `netline schema | jq keys` names them", config->words[0]);
		return EXIT_USAGE;
	}
	return err ? tell_stdout() : flush_stdout();
}

int main(int argc, char **argv)
{
	struct config config;
	bool have_stdout = standard_files();
	int code = EXIT_USAGE;

	libbpf_set_print(print_libbpf);
	if (config_parse(&config, argc, argv))
		goto out;
	if (!have_stdout) {
		log_error("stdout is closed: there is nowhere to write to");
		code = EXIT_FAILED;
		goto out;
	}
	switch (config.command) {
	case COMMAND_RUN:
		code = run(&config);
		break;
	case COMMAND_LIST:
		code = list(&config);
		break;
	case COMMAND_SCHEMA:
		code = schema(&config);
		break;
	case COMMAND_HELP:
		config_help();
		code = flush_stdout();
		break;
	case COMMAND_VERSION:
		printf("netline %s\n", NETLINE_VERSION);
		code = flush_stdout();
	}
out:
	config_release(&config);
	return code;
}
