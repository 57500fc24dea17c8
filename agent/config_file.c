/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration file: one JSON object whose keys are the long names of options. `probes` has an object for each probe that shall run,
 * with what is asked of it alone; `outputs` a list of objects: `output` (KIND[:PATH]) and settings. Every value goes through the same function as the
 * argument of the option does.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"
#include "log.h"
#include "options.h"
#include "probe.h"

struct reading {
	struct config *config;
	const char *path;
	unsigned mistakes;
};

#define PLACE_LEN 512
/* "FILE: probes.tcp_bytes.port" */
static const char *place(const struct reading *reading, const char *inside, const char *key, char ret_place[PLACE_LEN])
{
	snprintf(ret_place, PLACE_LEN, "%.200s: %s%s%s", reading->path, inside, *inside ? "." : "", key);
	return ret_place;
}

static int mistake(struct reading *reading, const char *where, const char *expected)
{
	log_error("%s: %s", where, expected);
	reading->mistakes++;
	return -EINVAL;
}

/* A scalar as it would stand on the command line; NULL: it is none. */
static const char *as_text(const json_t *value, char room[64])
{
	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_integer(value))
		snprintf(room, 64, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(room, 64, "%.15g", json_real_value(value));
	else
		return NULL;
	return room;
}

static const char *const expected_of[] = {
	[TYPE_FLAG] = "true or false", [TYPE_TEXT] = "a string", [TYPE_NUMBER] = "a number", [TYPE_INTEGER] = "an integer",
	[TYPE_TEXTS] = "a list of strings", [TYPE_INTEGERS] = "a list of integers", [TYPE_LABELS] = "an object of strings",
};

static bool fits(enum option_type type, const json_t *value)
{
	switch (type) {
	case TYPE_TEXT: case TYPE_TEXTS:
		return json_is_string(value) || json_is_integer(value);
	case TYPE_NUMBER:
		return json_is_number(value);
	default:
		return json_is_integer(value);
	}
}

static void set_one(struct reading *reading, const struct option_row *row, void *to, const char *where, const json_t *value)
{
	char room[64];

	if (!fits(row->type, value))
		mistake(reading, where, expected_of[row->type]);
	else if (option_apply_one(row, to, where, as_text(value, room)))
		reading->mistakes++;
}

static void set_labels(struct reading *reading, const struct option_row *row, const char *where, json_t *labels)
{
	char inside[PLACE_LEN];
	const char *key;
	json_t *value;

	if (!json_is_object(labels))
		mistake(reading, where, expected_of[row->type]);
	json_object_foreach(labels, key, value) {
		char text[4096];

		place(reading, row->name, key, inside);
		if (!json_is_string(value) || snprintf(text, sizeof(text), "%s=%s", key, json_string_value(value)) >= (int)sizeof(text))
			mistake(reading, inside, expected_of[TYPE_TEXT]);
		else if (strchr(key, '='))
			mistake(reading, inside, "no = in the key of a label");
		else if (option_apply_one(row, reading->config, inside, text))
			reading->mistakes++;
	}
}

/* `to` is what the option is about. */
static void set_option(struct reading *reading, const struct option_row *row, void *to, const char *where, json_t *value)
{
	json_t *one;
	size_t i;

	if (row->type == TYPE_LABELS) {
		set_labels(reading, row, where, value);
	} else if (row->type == TYPE_FLAG || (row->argument[0] == '[' && json_is_boolean(value))) {
		if (!json_is_boolean(value))
			mistake(reading, where, expected_of[row->type]);
		else if (json_is_true(value) && option_apply_one(row, to, where, NULL))
			reading->mistakes++;
	} else if (option_is_list(row) && json_is_array(value)) {
		json_array_foreach(value, i, one)
			set_one(reading, row, to, where, one);
	} else {
		set_one(reading, row, to, where, value);
	}
}

static bool on_command_line(const struct reading *reading, const struct option_row *row)
{
	return reading->config->given & 1ull << (row - option_rows);
}

/* --- probes --- */

static void read_probe(struct reading *reading, const struct probe *probe, json_t *options)
{
	struct probe_config *to = &reading->config->probes[probe_index(probe)];
	char where[PLACE_LEN], inside[64];
	const char *key;
	json_t *value;

	snprintf(inside, sizeof(inside), "probes.%s", probe->name);
	json_object_foreach(options, key, value) {
		const struct option_row *row = option_find(key);

		place(reading, inside, key, where);
		if (!row || row->scope != OF_PROBE)
			mistake(reading, where, row ? "not an option of a probe" : "no such option; see netline --help");
		else if (row->filter & ~probe->filters)
			mistake(reading, where, "this probe cannot apply it");
		else if (!on_command_line(reading, row))
			set_option(reading, row, to, where, value);
	}
}

static void read_probes(struct reading *reading, json_t *probes)
{
	char where[PLACE_LEN];
	const char *key;
	json_t *value;

	if (!json_is_object(probes) || !json_object_size(probes))
		mistake(reading, place(reading, "", "probes", where), "an object with a key for each probe, such as {\"tcp_connection\": {}}");
	json_object_foreach(probes, key, value) {
		const struct probe *probe = probe_find(key);

		place(reading, "probes", key, where);
		if (!probe)
			mistake(reading, where, "no such probe; `netline list` shows all of them");
		else if (!json_is_object(value))
			mistake(reading, where, "an object with options of the probe, such as {} or {\"interval\": 10}");
		else
			read_probe(reading, probe, value);
		if (probe)
			reading->config->listed |= 1u << probe_index(probe);
	}
}

/* --- outputs --- */

/* yes, no, A+B: as in a SPEC. */
static const char *setting_text(const json_t *value, char room[512])
{
	size_t used = 0, i;
	json_t *one;

	if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	if (!json_is_array(value))
		return as_text(value, room);
	room[0] = 0;
	json_array_foreach(value, i, one) {
		if (!json_is_string(one) || used + json_string_length(one) + 2 > 512)
			return NULL;
		used += sprintf(room + used, "%s%s", used ? "+" : "", json_string_value(one));
	}
	return used ? room : NULL;
}

static void read_output(struct reading *reading, size_t number, json_t *settings)
{
	struct config *config = reading->config;
	struct output_spec *spec = &config->outputs[config->n_outputs];
	char where[PLACE_LEN], inside[32], room[512];
	const char *key, *name = json_string_value(json_object_get(settings, "output"));
	json_t *value;

	snprintf(inside, sizeof(inside), "outputs[%zu]", number);
	if (!name) {
		mistake(reading, place(reading, inside, "output", where), "where to: \"stdout\", \"file:PATH\", \"unix:PATH\" or \"unix-connect:PATH\"");
		return;
	}
	if (config->n_outputs == MAX_OUTPUTS) {
		mistake(reading, place(reading, inside, "output", where), "too many outputs");
		return;
	}
	if (spec_begin(place(reading, inside, "output", where), name, spec) || config_check_output(config, where, spec)) {
		reading->mistakes++;
		return;
	}
	json_object_foreach(settings, key, value) {
		const char *text = setting_text(value, room);

		if (!strcmp(key, "output"))
			continue;
		if (!text)
			mistake(reading, place(reading, inside, key, where), "a string, a number, true, false or a list of strings");
		else if (spec_set(place(reading, inside, key, where), spec, key, text))
			reading->mistakes++;
	}
	config->n_outputs++;
}

static void read_outputs(struct reading *reading, json_t *outputs)
{
	char where[PLACE_LEN];
	json_t *value;
	size_t i;

	if (!json_is_array(outputs) || !json_array_size(outputs))
		mistake(reading, place(reading, "", "outputs", where), "a list of objects, such as [{\"output\": \"stdout\"}]");
	json_array_foreach(outputs, i, value)
		read_output(reading, i, value);
}

/* --- all of it --- */

static void read_options(struct reading *reading, json_t *file)
{
	struct config *config = reading->config;
	char where[PLACE_LEN];
	const char *key;
	json_t *value;

	json_object_foreach(file, key, value) {
		const struct option_row *row = option_find(key);

		if (!strcmp(key, "probes") || !strcmp(key, "outputs") || !strcmp(key, "$schema"))
			continue;
		place(reading, "", key, where);
		if (!strcmp(key, "output"))
			mistake(reading, where, "in a file, outputs stand in the list `outputs`");
		else if (!row || row->scope == OF_COMMAND)
			mistake(reading, where, row ? "goes on the command line only" : "no such option; see netline --help");
		else if (!on_command_line(reading, row))
			set_option(reading, row, row->scope == OF_PROBE ? (void *)&config->all : config, where, value);
	}
}

static json_t *load(const char *path)
{
	json_error_t error;
	json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	struct stat is;

	if (!file && !stat(path, &is) && S_ISDIR(is.st_mode))
		log_error("%s: a folder, not a file", path);
	else if (!file && error.line > 0)
		log_error("%s:%d:%d: %s", path, error.line, error.column, error.text);
	else if (!file)
		log_error("%s: %s", path, error.text);
	else if (!json_is_object(file)) {
		log_error("%s: one JSON object, such as {\"probes\": {\"tcp_connection\": {}}, \"outputs\": [{\"output\": \"stdout\"}]}", path);
		json_decref(file);
		file = NULL;
	}
	return file;
}

int config_read_file(struct config *config, const char *path)
{
	struct reading reading = { .config = config, .path = path };
	json_t *file = load(path), *value;

	if (!file)
		return -EINVAL;
	read_options(&reading, file);
	for (unsigned i = 0; i < n_probes; i++)
		config->probes[i] = config->all;
	value = json_object_get(file, "probes");
	if (value)
		read_probes(&reading, value);
	value = json_object_get(file, "outputs");
	if (value && !config->n_outputs)
		read_outputs(&reading, value);
	json_decref(file);
	return reading.mistakes ? -EINVAL : 0;
}

/* --- its schema --- */

/* "a|b|c" */
static json_t *one_of(const char *words)
{
	json_t *names = json_array();

	for (size_t len; *words; words += len + (words[len] == '|')) {
		len = strcspn(words, "|");
		json_array_append_new(names, json_stringn(words, len));
	}
	return json_pack("{so}", "enum", names);
}

static json_t *schema_of(const struct option_row *row)
{
	json_t *schema;

	switch (row->type) {
	case TYPE_FLAG:
		schema = json_pack("{ss}", "type", "boolean");
		break;
	case TYPE_NUMBER:
		schema = json_pack("{ss}", "type", "number");
		break;
	case TYPE_INTEGER:
		schema = row->argument[0] == '[' ? json_pack("{s[ss]}", "type", "integer", "boolean") : json_pack("{ss}", "type", "integer");
		break;
	case TYPE_TEXTS:
		schema = json_pack("{s[sss] s{s[ss]}}", "type", "array", "string", "integer", "items", "type", "string", "integer");
		break;
	case TYPE_INTEGERS:
		schema = json_pack("{s[ss] s{ss}}", "type", "array", "integer", "items", "type", "integer");
		break;
	case TYPE_LABELS:
		schema = json_pack("{ss s{ss}}", "type", "object", "additionalProperties", "type", "string");
		break;
	default:
		schema = option_is_one_of(row) ? one_of(row->argument) : json_pack("{s[ss]}", "type", "string", "integer");
	}
	json_object_set_new(schema, "description", json_string(row->help));
	return schema;
}

static json_t *options_of(enum option_scope scope, bool and_probes)
{
	json_t *properties = json_object();

	for (unsigned i = 0; i < n_options; i++) {
		const struct option_row *row = &option_rows[i];

		if ((row->scope == scope || (and_probes && row->scope == OF_PROBE)) && strcmp(row->name, "output"))
			json_object_set_new(properties, row->name, schema_of(row));
	}
	return properties;
}

static json_t *closed(json_t *properties)
{
	return json_pack("{ss so sb}", "type", "object", "properties", properties, "additionalProperties", 0);
}

static json_t *setting_schema(const struct spec_setting *setting)
{
	json_t *schema;

	if (!strcmp(setting->value, "yes|no"))
		schema = json_pack("{ss}", "type", "boolean");
	else if (strchr(setting->value, '+'))
		schema = json_pack("{s[ss] s{ss}}", "type", "array", "string", "items", "type", "string");
	else if (strchr(setting->value, '|'))
		schema = one_of(setting->value);
	else
		schema = json_pack("{s[ss]}", "type", "string", "integer");
	json_object_set_new(schema, "description", json_string(setting->meaning));
	return schema;
}

static json_t *output_schema(void)
{
	json_t *properties = json_pack("{s{ss ss ss}}", "output", "type", "string", "pattern", "^(stdout|file:.+|unix:.+|unix-connect:.+)$", "description",
				       "stdout, file:PATH, unix:PATH (readers connect) or unix-connect:PATH (to a shipper)");
	json_t *schema;

	for (unsigned i = 0; i < n_spec_settings; i++)
		json_object_set_new(properties, spec_settings[i].name, setting_schema(&spec_settings[i]));
	schema = closed(properties);
	json_object_set_new(schema, "required", json_pack("[s]", "output"));
	return schema;
}

int config_write_schema(FILE *file)
{
	json_t *schema = closed(options_of(OF_AGENT, true)), *properties = json_object_get(schema, "properties"), *probes_schema = json_object();
	int err;

	for (unsigned i = 0; i < n_probes; i++)
		json_object_set_new(probes_schema, probes[i]->name, json_pack("{ss}", "$ref", "#/$defs/probe"));
	json_object_set_new(properties, "probes", closed(probes_schema));
	json_object_set_new(json_object_get(properties, "probes"), "minProperties", json_integer(1));
	json_object_set_new(json_object_get(properties, "probes"), "description", json_string("the probes that run, each with options of its own; without it: the default set"));
	json_object_set_new(properties, "outputs", json_pack("{ss si so ss}", "type", "array", "minItems", 1, "items", output_schema(), "description",
							     "where records go; without it: stdout"));
	json_object_set_new(properties, "$schema", json_pack("{ss}", "type", "string"));
	json_object_set_new(schema, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
	json_object_set_new(schema, "title", json_string("Configuration file of netline"));
	json_object_set_new(schema, "$defs", json_pack("{so}", "probe", closed(options_of(OF_PROBE, false))));
	err = json_dumpf(schema, file, JSON_INDENT(2)) || fputc('\n', file) == EOF ? -EIO : 0;
	json_decref(schema);
	return err;
}
