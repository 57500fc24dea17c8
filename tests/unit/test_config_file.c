/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration file: what lands in struct config, what the command line overrides, and one line for each mistake. */
#include <errno.h>
#include <stdio.h>

#include "../../agent/config.h"
#include "../../agent/choose.h"
#include "capture.h"

#define FILE_NAME "test_config_file.json"

static void write_file(const char *text)
{
	FILE *file = fopen(FILE_NAME, "w");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
	assert_int_equal(fclose(file), 0);
}

static int parse(struct config *config, const char *text, int argc, char **argv)
{
	write_file(text);
	return config_parse(config, argc, argv);
}

static int parse_plain(struct config *config, const char *text)
{
	char *argv[] = { "netline", "-c", FILE_NAME, NULL };

	return parse(config, text, 3, argv);
}

static const struct probe_config *of(const struct config *config, const char *name)
{
	return config_of(config, probe_find(name));
}

/* What all probes are asked, and one of them more. */
static void test_probes(void **state)
{
	struct config config;

	(void)state;
	assert_int_equal(parse_plain(&config, "{ \"interval\": 5, \"port\": 80, \"probes\": { \"tcp_bytes\": { \"interval\": 0.5, \"pid\": [1, 2] }, "
						"\"tcp_connection\": {}, \"delay_analysis_in\": { \"summary\": true, \"sample\": true } } }"), 0);
	assert_int_equal(of(&config, "tcp_bytes")->interval_ns, 500000000);
	assert_int_equal(of(&config, "tcp_bytes")->n_pids, 2);
	assert_int_equal(of(&config, "tcp_bytes")->pids[1], 2);
	assert_int_equal(of(&config, "tcp_bytes")->filters, FILTER_PID | FILTER_PORT);
	assert_int_equal(of(&config, "tcp_connection")->interval_ns, 5000000000);
	assert_int_equal(of(&config, "tcp_connection")->n_ports, 1);
	assert_int_equal(of(&config, "tcp_connection")->filters, FILTER_PORT);
	assert_int_equal(of(&config, "delay_analysis_in")->sample, 100);
	assert_true(of(&config, "delay_analysis_in")->summary);
	assert_int_equal(__builtin_popcount(config.listed), 3);
	assert_int_equal(config.n_outputs, 1);
	assert_int_equal(config.outputs[0].kind, SPEC_STDOUT);
	config_release(&config);
}

static void test_outputs(void **state)
{
	struct config config;

	(void)state;
	assert_int_equal(parse_plain(&config, "{ \"outputs\": [ { \"output\": \"file:a,b\", \"rotate-size\": \"1M\", \"keep\": 3, \"compress\": true, \"agent\": false,"
						"\"probes\": [\"tcp_bytes\", \"tcp_connection\"] }, { \"output\": \"unix:x\", \"mode\": \"0600\", \"full\": \"block\" } ] }"), 0);
	assert_int_equal(config.n_outputs, 2);
	assert_string_equal(config.outputs[0].path, "a,b");
	assert_int_equal(config.outputs[0].rotate_bytes, 1 << 20);
	assert_int_equal(config.outputs[0].keep, 3);
	assert_true(config.outputs[0].compress);
	assert_false(config.outputs[0].agent_records);
	assert_string_equal(config.outputs[0].probes, "tcp_bytes+tcp_connection");
	assert_int_equal(config.outputs[1].mode, 0600);
	assert_int_equal(config.outputs[1].full, FULL_BLOCK);
	config_release(&config);
}

/* An option of the command line holds for each probe, whatever the file says; -o replaces all outputs of the file. */
static void test_command_line_wins(void **state)
{
	char *argv[] = { "netline", "-i", "7", "-c", FILE_NAME, "--label", "a=b", "-o", "unix:y", "--pid", "9", "tcp_inerrs", NULL };
	struct config config;

	(void)state;
	assert_int_equal(parse(&config, "{ \"interval\": 5, \"pid\": [1, 2], \"host\": \"h\", \"label\": { \"c\": \"d\" }, \"outputs\": [ { \"output\": \"stdout\" } ], "
					"\"probes\": { \"tcp_bytes\": { \"interval\": 3, \"pid\": 4 } } }", 12, argv), 0);
	assert_int_equal(of(&config, "tcp_bytes")->interval_ns, 7000000000);
	assert_int_equal(of(&config, "tcp_bytes")->n_pids, 1);
	assert_int_equal(of(&config, "tcp_bytes")->pids[0], 9);
	assert_string_equal(config.host, "h");
	assert_int_equal(config.n_labels, 1);
	assert_string_equal(config.labels[0].key, "a");
	assert_int_equal(config.n_outputs, 1);
	assert_int_equal(config.outputs[0].kind, SPEC_UNIX);
	assert_string_equal(config.words[0], "tcp_inerrs");
	config_release(&config);
}

static void check_mistakes(const char *text, const char *const *about, unsigned n)
{
	static struct capture capture;
	struct config config;
	char *rest, *line;
	unsigned i = 0;
	int err;

	capture_begin(&capture, STDERR_FILENO);
	err = parse_plain(&config, text);
	rest = (char *)capture_end(&capture);
	require(err == -EINVAL, "%s: %d", text, err);
	while ((line = strsep(&rest, "\n")) && *line) {
		require(i < n, "%s: more than %u lines: %s", text, n, line);
		require(strstr(line, FILE_NAME) && strstr(line, about[i]), "%s: '%s' is not about '%s'", text, line, about[i]);
		i++;
	}
	require(i == n, "%s: %u lines, not %u", text, i, n);
	config_release(&config);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *about;
	} single[] = {
		{ "", ":1:" }, { "[]", "one JSON object" }, { "{", ":1:" }, { "{\n\n\"interval\": 1,\n}", ":4:" }, { "{ \"interval\": 1, \"interval\": 2 }", ":1:" },
		{ "nonsense", ":1:" }, { "{} x", ":1:" }, { "{ \"host\": \"\xff\" }", ":1:" },
		{ "{ \"unheard\": 1 }", "unheard: no such option" }, { "{ \"help\": true }", "help: goes on the command line only" },
		{ "{ \"output\": \"stdout\" }", "outputs" }, { "{ \"config\": \"x\" }", "config: goes on the command line" },
		{ "{ \"interval\": null }", "interval: a number" }, { "{ \"interval\": \"1\" }", "interval: a number" }, { "{ \"interval\": 0.001 }", "interval 0.001" },
		{ "{ \"port\": [80, \"x\"] }", "port: a list of integers" }, { "{ \"port\": 70000 }", "port 70000" }, { "{ \"port\": [[80]] }", "port: a list" },
		{ "{ \"port\": 80.5 }", "port: a list" }, { "{ \"port\": -1 }", "port -1" }, { "{ \"summary\": 1 }", "summary: true or false" },
		{ "{ \"sample\": \"x\" }", "sample: an integer" }, { "{ \"sample\": 0 }", "sample 0" }, { "{ \"label\": [] }", "label: an object of strings" },
		{ "{ \"label\": { \"a\": 1 } }", "label.a: a string" }, { "{ \"label\": { \"a=b\": \"c\" } }", "label.a=b: no =" },
		{ "{ \"label\": { \"a.b\": \"c\" } }", "label.a.b" }, { "{ \"host\": \"\" }", "host" }, { "{ \"nic\": [\"\"] }", "nic" },
		{ "{ \"host\": \"a\\u0000b\" }", ":1:" },
		{ "{ \"probes\": {} }", "probes: an object with" }, { "{ \"probes\": [\"tcp_bytes\"] }", "probes: an object with" },
		{ "{ \"probes\": { \"unheard\": {} } }", "probes.unheard: no such probe" }, { "{ \"probes\": { \"tcp_bytes\": true } }", "probes.tcp_bytes: an object" },
		{ "{ \"probes\": { \"tcp_bytes\": { \"unheard\": 1 } } }", "probes.tcp_bytes.unheard: no such option" },
		{ "{ \"probes\": { \"tcp_bytes\": { \"host\": \"x\" } } }", "probes.tcp_bytes.host: not an option of a probe" },
		{ "{ \"probes\": { \"tcp_bytes\": { \"pid\": [0] } } }", "probes.tcp_bytes.pid 0" },
		{ "{ \"probes\": { \"tcp_bytes\": { \"summary\": true } } }", "probes.tcp_bytes.summary: this probe cannot apply it" },
		{ "{ \"probes\": { \"delay_analysis_in\": { \"summary\": true, \"min-latency\": 1 } } }", "delay_analysis_in: min-latency goes with" },
		{ "{ \"outputs\": [] }", "outputs: a list" }, { "{ \"outputs\": {} }", "outputs: a list" }, { "{ \"outputs\": [ {} ] }", "outputs[0].output: where to" },
		{ "{ \"outputs\": [ \"stdout\" ] }", "outputs[0].output: where to" }, { "{ \"outputs\": [ { \"output\": \"tcp:x\" } ] }", "outputs[0].output tcp" },
		{ "{ \"outputs\": [ { \"output\": \"unix:x\" }, { \"output\": \"unix:x\" } ] }", "outputs[1].output unix:x: it is there twice" },
		{ "{ \"outputs\": [ { \"output\": \"stdout\", \"keep\": 1 } ] }", "outputs[0].keep: stdout has no such setting" },
		{ "{ \"outputs\": [ { \"output\": \"file:x\", \"keep\": {} } ] }", "outputs[0].keep: a string, a number" },
		{ "{ \"outputs\": [ { \"output\": \"file:x\", \"unheard\": 1 } ] }", "outputs[0].unheard: no such setting" },
		{ "{ \"outputs\": [ { \"output\": \"file:x\", \"probes\": [\"x\"] } ] }", "outputs[0].probes x: no such probe" },
	};
	static const char *const several[] = { "interval 0", "unheard", "probes.nic_throughput.ring-size 1", "outputs[0].queue 1", "outputs[1].output" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(single); i++)
		check_mistakes(single[i].text, &single[i].about, 1);
	check_mistakes("{ \"interval\": 0, \"unheard\": 1, \"probes\": { \"nic_throughput\": { \"ring-size\": 1 } }, "
		       "\"outputs\": [ { \"output\": \"stdout\", \"queue\": 1 }, {} ] }", several, COUNT_OF(several));
}

/* It is parsed again and again in a process that lives long. */
static void test_again(void **state)
{
	struct config first, second;

	(void)state;
	assert_int_equal(parse_plain(&first, "{ \"nic\": [\"lo\"], \"cgroupmap\": \"/x\", \"probes\": { \"tcp_bytes\": { \"pid\": 1 } }, \"outputs\": [ { \"output\": \"unix:x\" } ] }"), 0);
	assert_int_equal(parse_plain(&second, "{ \"outputs\": [ { \"output\": \"unix:x\" } ], \"probes\": { \"tcp_bytes\": { \"pid\": 1 } }, \"cgroupmap\": \"/x\", \"nic\": \"lo\" }"), 0);
	assert_memory_equal(first.probes, second.probes, sizeof(first.probes));
	assert_memory_equal(first.outputs, second.outputs, sizeof(first.outputs));
	config_release(&first);
	config_release(&second);
}

static int into_own_folder(void **state)
{
	char folder[] = "/tmp/netline-test-XXXXXX";

	*state = strdup(mkdtemp(folder));
	return chdir(*state);
}

static int out_of_folder(void **state)
{
	unlink(FILE_NAME);
	if (chdir("/"))
		return -1;
	rmdir(*state);
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probes),
		cmocka_unit_test(test_outputs),
		cmocka_unit_test(test_command_line_wins),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_again),
	};

	return cmocka_run_group_tests(tests, into_own_folder, out_of_folder);
}
