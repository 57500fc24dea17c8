/* SPDX-License-Identifier: BSD-2-Clause */
#include "schema.h"

#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "encode.h"

#define TIME_PATTERN "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9}Z$"
#define BYTE_PATTERN "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define IPV4_PATTERN "^(" BYTE_PATTERN "\\.){3}" BYTE_PATTERN "$"
#define IPV6_PATTERN "^[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,7}$"	/* lower case, as RFC 5952 has it */

static const char *const fact_patterns[FACT_COUNT] = {
	[FACT_EPHEMERAL_ID] = "^[0-9a-f]{16}$",
};

static int put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) ? -ENOMEM : 0;
}

static int put_range(json_t *leaf, json_int_t low, json_int_t high)
{
	return put(leaf, "minimum", json_integer(low)) ?: put(leaf, "maximum", json_integer(high));
}

/* The value that stands for absence is never written: "never 0 for unknown". */
static int limit_uint(json_t *leaf, const struct row *row)
{
	json_int_t top = row->size < 8 ? (json_int_t)((UINT64_C(1) << 8 * row->size) - 1) : INT64_MAX;

	if (row->absence == ABSENT_AT_MAX && row->size < 8)
		top--;
	return put_range(leaf, row->absence == ABSENT_AT_ZERO, top);
}

static int limit_sequence(json_t *leaf, const struct row *row)
{
	(void)row;
	return put_range(leaf, 1, INT64_MAX);
}

static int limit_fixed(json_t *leaf, const struct row *row)
{
	return put(leaf, row->absence == ABSENT_AT_ZERO ? "exclusiveMinimum" : "minimum", json_integer(0));
}

static int limit_text(json_t *leaf, const struct row *row)
{
	return put(leaf, "minLength", json_integer(1)) ?: put(leaf, "maxLength", json_integer(row->size - 1));
}

static int limit_list(json_t *leaf, const struct row *row)
{
	return put(leaf, "items", json_pack("{s:s, s:i, s:i}", "type", "string", "minLength", 1, "maxLength", row->size - 1)) ?:
	       put(leaf, "minItems", json_integer(1));
}

static int limit_array(json_t *leaf, const struct row *row)
{
	json_t *items = json_pack("{s:s, s:i, s:I}", "type", "integer", "minimum", 0, "maximum", (json_int_t)INT64_MAX);

	return put(leaf, "items", items) ?: put(leaf, "maxItems", json_integer(row->size / 8));
}

static int append_once(json_t *strings, const char *text)
{
	for (size_t i = 0; i < json_array_size(strings); i++)
		if (!strcmp(json_string_value(json_array_get(strings, i)), text))
			return 0;
	return json_array_append_new(strings, json_string(text)) ? -ENOMEM : 0;
}

/* Tables of names may have holes and say a name twice. */
static int limit_enum(json_t *leaf, const struct row *row)
{
	json_t *names = json_array();
	int err = put(leaf, "enum", names);

	for (unsigned i = row->absence == ABSENT_AT_ZERO; !err && i < row->n_names; i++)
		if (row->names[i])
			err = append_once(names, row->names[i]);
	return err;
}

static int limit_id(json_t *leaf, const struct row *row)
{
	return put(leaf, "pattern", json_string(row->absence == ABSENT_AT_ZERO ? "^[1-9][0-9]{0,19}$" : "^[0-9]{1,20}$"));
}

static int limit_time(json_t *leaf, const struct row *row)
{
	(void)row;
	return put(leaf, "format", json_string("date-time")) ?: put(leaf, "pattern", json_string(TIME_PATTERN));
}

/* "format" is only an annotation in 2020-12: the patterns do the work. */
static int limit_ip(json_t *leaf, const struct row *row)
{
	(void)row;
	return put(leaf, "anyOf", json_pack("[{s:s, s:s}, {s:s, s:s}]", "format", "ipv4", "pattern", IPV4_PATTERN,
					    "format", "ipv6", "pattern", IPV6_PATTERN));
}

static int limit_const(json_t *leaf, const struct row *row)
{
	return put(leaf, "const", json_string(row->text));
}

static int limit_const_list(json_t *leaf, const struct row *row)
{
	json_t *items = json_array();
	int err = put(leaf, "const", items);
	const char *at = row->text;

	for (size_t length; !err && *at; at += length + (at[length] == ',')) {
		length = strcspn(at, ",");
		err = json_array_append_new(items, json_stringn(at, length)) ? -ENOMEM : 0;
	}
	return err;
}

static int limit_schema(json_t *leaf, const struct row *row)
{
	(void)row;
	return put(leaf, "const", json_integer(SCHEMA_VERSION));
}

static int limit_fact(json_t *leaf, const struct row *row)
{
	const char *pattern = fact_patterns[row->fact];

	return pattern ? put(leaf, "pattern", json_string(pattern)) : put(leaf, "minLength", json_integer(1));
}

static int limit_labels(json_t *leaf, const struct row *row)
{
	(void)row;
	return put(leaf, "minProperties", json_integer(1)) ?:
	       put(leaf, "additionalProperties", json_pack("{s:s}", "type", "string"));
}

static int limit_community_id(json_t *leaf, const struct row *row)
{
	(void)row;
	return put(leaf, "pattern", json_string("^1:[A-Za-z0-9+/]{27}=$"));
}

static int limit_container(json_t *leaf, const struct row *row)
{
	(void)row;
	return put(leaf, "pattern", json_string("^[0-9a-f]{64}$"));
}

static const struct {
	const char *type, *unit;
	int (*limit)(json_t *leaf, const struct row *row);
} kinds[] = {
	[KIND_UINT] = { "integer", "1", limit_uint },
	[KIND_BOOL] = { "boolean", "bool", NULL },
	[KIND_FIXED] = { "number", "1", limit_fixed },
	[KIND_TEXT] = { "string", "text", limit_text },
	[KIND_LIST] = { "array", "text", limit_list },
	[KIND_ENUM] = { "string", "keyword", limit_enum },
	[KIND_ID] = { "string", "identifier", limit_id },
	[KIND_TIME] = { "string", "RFC 3339 UTC, nanoseconds", limit_time },
	[KIND_IP] = { "string", "IP address", limit_ip },
	[KIND_ARRAY] = { "array", "1", limit_array },
	[KIND_SEQUENCE] = { "integer", "1", limit_sequence },
	[KIND_CONST] = { "string", "keyword", limit_const },
	[KIND_CONST_LIST] = { "array", "keyword", limit_const_list },
	[KIND_SCHEMA] = { "integer", "1", limit_schema },
	[KIND_FACT] = { "string", "text", limit_fact },
	[KIND_LABELS] = { "object", "text", limit_labels },
	[KIND_COMMUNITY_ID] = { "string", "Community ID", limit_community_id },
	[KIND_CONTAINER] = { "string", "container id", limit_container },
};

json_t *schema_leaf(const struct row *row)
{
	const char *when = row->when;
	json_t *leaf = json_pack("{s:s, s:s+++, s:s}", "type", kinds[row->kind].type, "description",
				 row->meaning, when ? " (absent when " : "", when ?: "", when ? ")" : "",
				 "unit", row->unit ?: kinds[row->kind].unit);

	if (leaf && kinds[row->kind].limit && kinds[row->kind].limit(leaf, row)) {
		json_decref(leaf);
		return NULL;
	}
	return leaf;
}

int schema_place(json_t *root, const char *path, json_t *leaf, json_t *group, bool required)
{
	char *copy = strdup(path), *rest = copy, *key, *next;
	json_t *at = root;
	int err = copy && leaf ? 0 : -ENOMEM;

	for (key = strsep(&rest, "."); !err && key; key = next) {
		json_t *properties = json_object_get(at, "properties");

		next = strsep(&rest, ".");
		if (required)
			err = append_once(json_object_get(at, "required"), key);
		if (!next)
			err = err ?: put(properties, key, json_incref(leaf));
		else if (!json_object_get(properties, key))
			err = err ?: put(properties, key, json_deep_copy(group));
		at = json_object_get(properties, key);
	}
	json_decref(leaf);
	free(copy);
	return err;
}

/* A group has either members that are always there, or may be absent as a whole but is never empty. */
static void tidy(json_t *group)
{
	const char *key;
	json_t *member;

	json_object_del(group, json_array_size(json_object_get(group, "required")) ? "minProperties" : "required");
	json_object_foreach(json_object_get(group, "properties"), key, member)
		if (json_object_get(member, "properties"))
			tidy(member);
}

static json_t *group_new(void)
{
	return json_pack("{s:s, s:b, s:[], s:i, s:{}}", "type", "object", "additionalProperties", 0, "required",
			 "minProperties", 1, "properties");
}

static json_t *root_new(const struct record *record)
{
	char id[128];

	snprintf(id, sizeof(id), "urn:netline:schema:%d:%s", SCHEMA_VERSION, record->name);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:[], s:i, s:{}}",
			 "$schema", "https://json-schema.org/draft/2020-12/schema", "$id", id,
			 "title", record->dataset, "description", record->title,
			 "type", "object", "additionalProperties", 0, "required", "minProperties", 1, "properties");
}

static int schema_new(const struct record *record, json_t **ret_schema)
{
	struct row rows[MAX_ROWS];
	int n = record_rows(record, rows), err = n < 0 ? n : 0;
	json_t *root = root_new(record), *group = group_new();

	for (int i = 0; !err && i < n; i++)
		err = schema_place(root, rows[i].path, schema_leaf(&rows[i]), group,
				   rows[i].absence == ALWAYS_THERE && rows[i].kind != KIND_LABELS);
	json_decref(group);
	if (err) {
		json_decref(root);
		return err;
	}
	tidy(root);
	*ret_schema = root;
	return 0;
}

int schema_dump(json_t *json, FILE *out)
{
	int err = json ? 0 : -ENOMEM;

	errno = 0;
	if (!err && (json_dumpf(json, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER) || fputc('\n', out) == EOF || fflush(out)))
		err = errno ? -errno : -EIO;
	json_decref(json);
	return err;
}

int schema_print(const struct record *record, FILE *out)
{
	json_t *schema = NULL;
	int err = schema_new(record, &schema);

	return err ?: schema_dump(schema, out);
}

int schema_print_all(const struct record *const *records, size_t n, FILE *out)
{
	json_t *all = json_object(), *schema;
	int err = all ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < n; i++)
		err = schema_new(records[i], &schema) ?: put(all, records[i]->name, schema);
	if (!err)
		return schema_dump(all, out);
	json_decref(all);
	return err;
}
