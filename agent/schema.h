/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is published about the records, all of it from their rows: JSON Schema (schema.c), Elasticsearch
 * templates (templates.c), field reference (fields.c).
 *
 * Output depends on the rows only: same rows, same bytes. The caller owns `out`, which is not closed.
 * Errors: negative errno, nothing logged but what record_rows() logs: -EINVAL (rows contradict each other),
 * -ENOMEM, or why writing failed. What was written by then is to be thrown away.
 */
#ifndef NETLINE_SCHEMA_H
#define NETLINE_SCHEMA_H

#include <stdbool.h>
#include <stdio.h>
#include "../schema/record.h"

struct json_t;

/* JSON Schema of one record; of all, as one object keyed by record name. */
int schema_print(const struct record *record, FILE *out);
int schema_print_all(const struct record *const *records, size_t n, FILE *out);

/* Writes <record>.json, fields.md, elasticsearch/component-<record>.json and elasticsearch/index-<record>.json under
 * `dir`, which must exist. Files that are there are replaced; files of records that are no more are left. */
int schema_write_all(const char *dir, const struct record *const *records, size_t n);

/* Parts of the above. */
int template_component_print(const struct record *record, FILE *out);
int template_index_print(const struct record *record, FILE *out);
int fields_print(const struct record *const *records, size_t n, FILE *out);

/* Schema of one row's value: type, description, unit, constraints. The caller owns it; NULL: no memory. */
struct json_t *schema_leaf(const struct row *row);

/* Puts `leaf` (consumed) at a dotted path; groups on the way are made as copies of `group`, which holds an empty "properties".
 * `required`: says so in the "required" of each group on the way. */
int schema_place(struct json_t *root, const char *path, struct json_t *leaf, struct json_t *group, bool required);

/* Writes `json` (consumed, NULL is -ENOMEM) with two spaces and a newline. */
int schema_dump(struct json_t *json, FILE *out);
#endif
