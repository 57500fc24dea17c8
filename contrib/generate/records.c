/* SPDX-License-Identifier: BSD-2-Clause */
#include "generate.h"

#include <jansson.h>
#include <string.h>

#include "../../agent/agent.h"
#include "../../agent/encode.h"
#include "../../agent/schema.h"

#define NAMES_SHOWN 32	/* longer enums are left to the JSON Schema */

struct table {
	const struct record *record;
	struct row rows[MAX_ROWS];
	int n;
};
static struct table tables[MAX_RECORDS];
static unsigned n_tables;

static void read_tables(void)
{
	const struct record *records[MAX_RECORDS];

	n_tables = agent_record_types(records);
	for (unsigned i = 0; i < n_tables; i++) {
		tables[i].record = records[i];
		tables[i].n = record_rows(records[i], tables[i].rows);
	}
}

static const struct row *row_find(const struct table *table, const char *path)
{
	for (int i = 0; i < table->n; i++)
		if (!strcmp(table->rows[i].path, path))
			return &table->rows[i];
	return NULL;
}

static bool is_constant(const struct row *row)
{
	return row->kind == KIND_CONST || row->kind == KIND_CONST_LIST;
}

/* Every record has the field, and says the same of it; a constant may be another in each. */
static bool is_common(const struct row *row)
{
	for (unsigned i = 0; i < n_tables; i++) {
		const struct row *other = row_find(&tables[i], row->path);

		if (!other || (strcmp(other->meaning, row->meaning) && !is_constant(other)))
			return false;
	}
	return true;
}

static bool is_one_constant(const struct row *row)
{
	bool same = is_constant(row);

	for (unsigned i = 0; same && i < n_tables; i++) {
		const struct row *other = row_find(&tables[i], row->path);

		same = other && is_constant(other) && !strcmp(other->text, row->text);
	}
	return same;
}

static const char *text_of(const json_t *leaf, const char *key)
{
	return json_string_value(json_object_get(leaf, key));
}

/* "array of integers, ns". Units that only repeat the type are left out. */
static void type_print(FILE *out, const json_t *leaf)
{
	static const char *const silent[] = { "1", "bool", "text", "keyword" };
	const char *type = text_of(leaf, "type"), *unit = text_of(leaf, "unit");

	if (strcmp(type, "array"))
		fputs(type, out);
	else
		fprintf(out, "array of %ss", text_of(json_object_get(leaf, "items"), "type") ?: "string");
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
		if (!strcmp(unit, silent[i]))
			return;
	fputs(", ", out);
	roff_text(out, unit);
}

static void names_print(FILE *out, const json_t *names)
{
	size_t n = json_array_size(names);

	if (n > NAMES_SHOWN)
		fprintf(out, "One of %zu words; the JSON Schema has them.\n", n);
	for (size_t i = 0; n <= NAMES_SHOWN && i < n; i++) {
		fputs(!i ? "One of \\fB" : "\\fB", out);
		roff_text(out, json_string_value(json_array_get(names, i)));
		fputs(i + 1 == n ? "\\fR.\n" : "\\fR,\n", out);
	}
}

static void field_print(FILE *out, const struct row *row)
{
	json_t *leaf = schema_leaf(row);

	fputs(".TP\n\\fB", out);
	roff_text(out, row->path);
	fputs("\\fR (", out);
	type_print(out, leaf);
	fputs(")\n", out);
	roff_text(out, row->meaning);
	fputs(".\n", out);
	if (row->kind == KIND_SCHEMA)
		fprintf(out, "Always \\fB%d\\fR.\n", SCHEMA_VERSION);
	else if (is_constant(row) && (!is_common(row) || is_one_constant(row)))
		fprintf(out, "Always \\fB%s\\fR.\n", row->text);
	names_print(out, json_object_get(leaf, "enum"));
	if (row->when) {
		fputs("Absent when ", out);
		roff_text(out, row->when);
		fputs(".\n", out);
	}
	json_decref(leaf);
}

void man_common_fields(FILE *out)
{
	read_tables();
	for (int i = 0; i < tables[0].n; i++)
		if (is_common(&tables[0].rows[i]))
			field_print(out, &tables[0].rows[i]);
}

/* What tells the record from others: "event.kind metric, event.type connection and info". */
static void constants_print(FILE *out, const struct table *table)
{
	const char *before = "Always: ";

	for (int i = 0; i < table->n; i++) {
		const struct row *row = &table->rows[i];

		if (!is_constant(row) || !is_common(row) || is_one_constant(row))
			continue;
		fprintf(out, "%s\\fB%s\\fR ", before, row->path);
		for (const char *at = row->text; *at; at++)
			*at == ',' ? fputs(" and ", out) : putc(*at, out);
		before = ",\n";
	}
	fputs(".\n", out);
}

void man_records(FILE *out)
{
	read_tables();
	for (unsigned i = 0; i < n_tables; i++) {
		const struct table *table = &tables[i];

		fprintf(out, ".SS %s\n", table->record->name);
		roff_text(out, table->record->title);
		fputs(".\n.PP\n", out);
		constants_print(out, table);
		for (int j = 0; j < table->n; j++)
			if (!is_common(&table->rows[j]))
				field_print(out, &table->rows[j]);
	}
}
