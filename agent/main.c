/* SPDX-License-Identifier: BSD-2-Clause */
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "choose.h"
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

static int run(struct config *config)
{
	struct choice choice;

	return choose_probes(config, &choice) ? EXIT_USAGE : agent_run(config, &choice);
}

static int check(const struct config *config)
{
	struct choice choice;

	if (choose_probes(config, &choice))
		return EXIT_USAGE;
	log_notice("%s: nothing is wrong with it", config->file);
	return EXIT_DONE;
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
		bool fits = !probe_choose(&run, probes[i], config_of(config, probes[i]));

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
	case COMMAND_CHECK:
		code = check(&config);
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
