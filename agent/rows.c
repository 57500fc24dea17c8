/* SPDX-License-Identifier: BSD-2-Clause */
/* The envelope, and all rows of a record in the order in which they are written. */
#include "encode.h"

#include <errno.h>
#include <string.h>

#include "log.h"

#define ECS_VERSION "9.4.0"

/* KIND_CONST without a text takes it from the record. */
static const struct row envelope_rows[] = {
	{ .path = "ecs.version", .kind = KIND_CONST, .text = ECS_VERSION, .meaning = "Version of the Elastic Common Schema that the field names follow" },
	{ .path = "event.kind", .kind = KIND_CONST, .meaning = "What kind of record this is, in ECS terms" },
	{ .path = "event.category", .kind = KIND_CONST_LIST, .meaning = "ECS category" },
	{ .path = "event.type", .kind = KIND_CONST_LIST, .meaning = "ECS type within the category" },
	{ .path = "event.dataset", .kind = KIND_CONST, .meaning = "The record type: what readers select by" },
	{ .path = "event.action", .kind = KIND_CONST, .meaning = "What happened" },
	{ .path = "event.sequence", .kind = KIND_SEQUENCE, .unit = "1", .meaning = "Number of the record in its dataset and run, from 1: a gap in what an output delivered is loss in that output" },
	{ .path = "labels", .kind = KIND_LABELS, .meaning = "The user's labels (--label)", .when = "none were given", .absence = ABSENT_AT_ZERO },
	ROW_FACT("host.name", FACT_HOST, "Name of the host"),
	{ .path = "agent.type", .kind = KIND_CONST, .text = "netline", .meaning = "The agent" },
	ROW_FACT("agent.ephemeral_id", FACT_EPHEMERAL_ID, "The run of the agent: with dataset and sequence it names a record for ever"),
	{ .path = "netline.schema", .kind = KIND_SCHEMA, .unit = "1", .meaning = "Version of the record's shape" },
};

static const char *const top_order[] = {
	"@timestamp", "message", "ecs", "event", "labels", "host", "agent", "network", "source", "destination", "process",
	"container", "netline", NULL
};
static const char *const event_order[] = {
	"kind", "category", "type", "dataset", "action", "sequence", "outcome", "reason", "start", "duration", NULL
};

static int rank(const char *const *order, const char *path)
{
	size_t len = strcspn(path, ".");

	for (int i = 0; order[i]; i++)
		if (strlen(order[i]) == len && !memcmp(order[i], path, len))
			return i;
	return -1;
}

/* Where a row stands: by its top-level key, and inside `event` by its name; other groups keep the order of their rows. -1: no such key. */
static int row_rank(const struct row *row)
{
	int top = rank(top_order, row->path), inner = 0;

	if (top >= 0 && !strncmp(row->path, "event.", 6)) {
		inner = rank(event_order, row->path + 6);
		if (inner < 0)
			return -1;
	}
	return top < 0 ? -1 : top * 16 + inner;
}

static const char *const_text(const struct row *row, const struct record *record)
{
	const struct {
		const char *path, *text;
	} texts[] = {
		{ "event.kind", record->event_kind }, { "event.category", record->event_category },
		{ "event.type", record->event_type }, { "event.dataset", record->dataset },
		{ "event.action", record->event_action },
	};

	for (size_t i = 0; !row->text && i < sizeof(texts) / sizeof(texts[0]); i++)
		if (!strcmp(texts[i].path, row->path))
			return texts[i].text;
	return row->text;
}

/* Length of what two paths share, in whole components with their dot. */
static size_t shared_prefix(const char *a, const char *b)
{
	size_t shared = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '.')
			shared = i + 1;
	return shared;
}

/* A path must not stand twice, be a prefix of another, or reopen a group that was left. */
static int check_paths(const struct record *record, const struct row *rows, int n)
{
	for (int i = 1; i < n; i++) {
		size_t before = shared_prefix(rows[i - 1].path, rows[i].path);

		for (int j = 0; j < i; j++) {
			size_t len = strlen(rows[j].path), own = strlen(rows[i].path), less = len < own ? len : own;
			bool nested = !memcmp(rows[j].path, rows[i].path, less) &&
				      (len == own || (len > own ? rows[j].path[own] : rows[i].path[len]) == '.');

			if (nested || shared_prefix(rows[j].path, rows[i].path) > before) {
				log_error("record %s: row %s contradicts row %s", record->name, rows[i].path, rows[j].path);
				return -EINVAL;
			}
		}
	}
	return 0;
}

int record_rows(const struct record *record, struct row *ret_rows)
{
	const unsigned n_envelope = sizeof(envelope_rows) / sizeof(envelope_rows[0]);
	int n = 0;

	for (unsigned i = 0; i < n_envelope + record->n_rows; i++) {
		struct row row = i < n_envelope ? envelope_rows[i] : record->rows[i - n_envelope];
		int at = n;

		if (row.kind == KIND_CONST || row.kind == KIND_CONST_LIST)
			row.text = const_text(&row, record);
		if ((row.kind == KIND_CONST || row.kind == KIND_CONST_LIST) && !row.text)
			continue;	/* the record has a row of its own */
		if (n == MAX_ROWS || row_rank(&row) < 0) {
			log_error("record %s: no place for row %s", record->name, row.path);
			return -EINVAL;
		}
		for (; at > 0 && row_rank(&ret_rows[at - 1]) > row_rank(&row); at--)
			ret_rows[at] = ret_rows[at - 1];
		ret_rows[at] = row;
		n++;
	}
	return check_paths(record, ret_rows, n) ?: n;
}
