/* SPDX-License-Identifier: BSD-2-Clause */
/* Elasticsearch: a component template with the mapping of each record, and the index template of its data streams. */
#include "schema.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "encode.h"

static const char *const types[] = {
	[KIND_UINT] = "long",
	[KIND_BOOL] = "boolean",
	[KIND_FIXED] = "scaled_float",
	[KIND_TEXT] = "keyword",
	[KIND_LIST] = "keyword",
	[KIND_ENUM] = "keyword",
	[KIND_ID] = "keyword",
	[KIND_TIME] = "date_nanos",
	[KIND_IP] = "ip",
	[KIND_ARRAY] = "long",
	[KIND_SEQUENCE] = "long",
	[KIND_CONST] = "keyword",
	[KIND_CONST_LIST] = "keyword",
	[KIND_SCHEMA] = "long",
	[KIND_FACT] = "keyword",
	[KIND_LABELS] = "object",
	[KIND_COMMUNITY_ID] = "keyword",
	[KIND_CONTAINER] = "keyword",
};

static json_t *mapping_of(const struct row *row)
{
	switch (row->kind) {
	case KIND_FIXED:
		return json_pack("{s:s, s:i}", "type", types[row->kind], "scaling_factor", 1000);
	case KIND_LABELS:
		return json_pack("{s:s, s:b}", "type", types[row->kind], "dynamic", 1);
	default:
		return json_pack("{s:s}", "type", strcmp(row->path, "message") ? types[row->kind] : "match_only_text");
	}
}

/* The arrays histogram.values and histogram.counts are one value to Elasticsearch, of type histogram. */
static int place_mapping(json_t *mappings, const struct row *row, json_t *group)
{
	static const char histogram[] = ".histogram";
	const char *end = strrchr(row->path, '.');
	size_t length = end ? (size_t)(end - row->path) : 0, tail = sizeof(histogram) - 1;
	char path[128];

	if (row->kind != KIND_ARRAY || length < tail || length >= sizeof(path) || strncmp(end - tail, histogram, tail))
		return schema_place(mappings, row->path, mapping_of(row), group, false);
	memcpy(path, row->path, length);
	path[length] = '\0';
	return schema_place(mappings, path, json_pack("{s:s}", "type", "histogram"), group, false);
}

static json_t *meta_new(const struct record *record)
{
	return json_pack("{s:s++, s:i}", "description", record->dataset, ": ", record->title, "schema_version", SCHEMA_VERSION);
}

/* Every label is a keyword: without date detection, no value is taken for a date. */
static json_t *mappings_new(void)
{
	return json_pack("{s:b, s:b, s:[{s:{s:s, s:s, s:{s:s}}}], s:{}}", "dynamic", 0, "date_detection", 0,
			 "dynamic_templates", "labels", "path_match", "labels.*", "match_mapping_type", "string",
			 "mapping", "type", "keyword", "properties");
}

int template_component_print(const struct record *record, FILE *out)
{
	struct row rows[MAX_ROWS];
	int n = record_rows(record, rows), err = n < 0 ? n : 0;
	json_t *mappings = mappings_new(), *group = json_pack("{s:{}}", "properties");

	for (int i = 0; !err && i < n; i++)
		err = place_mapping(mappings, &rows[i], group);
	json_decref(group);
	if (err) {
		json_decref(mappings);
		return err;
	}
	return schema_dump(json_pack("{s:{s:o}, s:i, s:o}", "template", "mappings", mappings,
				     "version", SCHEMA_VERSION, "_meta", meta_new(record)), out);
}

/* Priority 200 wins over Elasticsearch's own templates for logs-*-* and metrics-*-* (100). */
int template_index_print(const struct record *record, FILE *out)
{
	return schema_dump(json_pack("{s:[s+++], s:{}, s:i, s:[s+], s:i, s:o}",
				     "index_patterns", record->stream, "-", record->dataset, "-*",
				     "data_stream", "priority", 200, "composed_of", "netline-", record->name,
				     "version", SCHEMA_VERSION, "_meta", meta_new(record)), out);
}
