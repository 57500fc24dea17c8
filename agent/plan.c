/* SPDX-License-Identifier: BSD-2-Clause */
/* From rows to a plan: constant text is merged, groups are nested, commas are settled where they can be. */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "container.h"
#include "log.h"

#define ROOM_SLACK (2 * COPY_BLOCK)	/* text_copy() writes whole blocks */

/* Whether a group's first member was written already. */
enum first { FIRST, MAYBE_FIRST, NOT_FIRST };

struct builder {
	struct plan *plan;
	const struct facts *facts;
	size_t pending;			/* constant text from here to the end of the pool is not yet in an op */
	int depth, error;
	enum first first[MAX_DEPTH];
	bool optional[MAX_DEPTH];
	size_t path_len[MAX_DEPTH];	/* of the group's path, with its last dot */
};

static void put(struct builder *b, const char *text, size_t len)
{
	struct plan *plan = b->plan;

	if (plan->pool_len + len + COPY_BLOCK > plan->pool_room) {
		size_t room = 2 * (plan->pool_len + len) + 1024;
		char *pool = realloc(plan->pool, room);

		if (!pool) {
			b->error = -ENOMEM;
			return;
		}
		plan->pool = pool;
		plan->pool_room = room;
	}
	memcpy(plan->pool + plan->pool_len, text, len);
	memset(plan->pool + plan->pool_len + len, 0, COPY_BLOCK);
	plan->pool_len += len;
}

static void put_string(struct builder *b, const char *text, size_t len)
{
	char *quoted = malloc(6 * len + 2);

	if (!quoted) {
		b->error = -ENOMEM;
		return;
	}
	put(b, quoted, text_string(quoted, text, len) - quoted);
	free(quoted);
}

/* Starts an op: what was pending is its `pre`, and what is put until end_op() its key. */
static struct op *begin_op(struct builder *b, int kind)
{
	struct plan *plan = b->plan;
	struct op *op;

	if (plan->n_ops == plan->ops_room) {
		unsigned room = 2 * plan->ops_room + 32;
		struct op *ops = realloc(plan->ops, room * sizeof(*ops));

		if (!ops) {
			b->error = -ENOMEM;
			return NULL;
		}
		plan->ops = ops;
		plan->ops_room = room;
	}
	op = &plan->ops[plan->n_ops++];
	*op = (struct op){ .kind = kind, .pre = b->pending, .pre_len = plan->pool_len - b->pending, .key = plan->pool_len };
	return op;
}

static void end_op(struct builder *b, struct op *op, size_t value_room)
{
	op->key_len = b->plan->pool_len - op->key;
	if (op->absence == ALWAYS_THERE && !op->after_brace && op->kind < OP_GROUP_OPEN) {
		op->pre_len += op->key_len;
		op->key_len = 0;
	}
	b->plan->room += op->pre_len + op->key_len + value_room;
	b->pending = b->plan->pool_len;
}

/* Names of an enum, quoted, behind all that is pending: they belong to no op's text. */
static const struct piece *put_names(struct builder *b, const struct row *row)
{
	struct piece *pieces = calloc(row->n_names, sizeof(*pieces));

	for (unsigned i = 0; pieces && i < row->n_names; i++) {
		if (!row->names[i])
			continue;
		pieces[i].at = b->plan->pool_len;
		put_string(b, row->names[i], strlen(row->names[i]));
		pieces[i].len = b->plan->pool_len - pieces[i].at;
	}
	if (!pieces)
		b->error = -ENOMEM;
	b->pending = b->plan->pool_len;
	return pieces;
}

static void put_key(struct builder *b, const char *path, bool comma)
{
	const char *key = path + (b->depth ? b->path_len[b->depth] : 0);

	if (comma)
		put(b, ",", 1);
	put_string(b, key, strcspn(key, "."));
	put(b, ":", 1);
}

static void put_list(struct builder *b, const char *items)
{
	put(b, "[", 1);
	for (const char *at = items; *at;) {
		size_t len = strcspn(at, ",");

		if (at != items)
			put(b, ",", 1);
		put_string(b, at, len);
		at += len + (at[len] == ',');
	}
	put(b, "]", 1);
}

static void put_labels(struct builder *b)
{
	for (unsigned i = 0; i < b->facts->n_labels; i++) {
		put(b, i ? "," : "{", 1);
		put_string(b, b->facts->labels[i].key, strlen(b->facts->labels[i].key));
		put(b, ":", 1);
		put_string(b, b->facts->labels[i].value, strlen(b->facts->labels[i].value));
	}
	put(b, "}", 1);
}

/* The value of a row that is the same in every record. */
static void put_constant(struct builder *b, const struct row *row)
{
	char number[24];

	switch (row->kind) {
	case KIND_CONST:
		put_string(b, row->text, strlen(row->text));
		break;
	case KIND_CONST_LIST:
		put_list(b, row->text);
		break;
	case KIND_FACT:
		put_string(b, b->facts->text[row->fact], strlen(b->facts->text[row->fact]));
		break;
	case KIND_SCHEMA:
		put(b, number, text_uint(number, SCHEMA_VERSION) - number);
		break;
	default:
		put_labels(b);
	}
}

/* The longest value of a row in bytes. */
static size_t value_room(const struct row *row)
{
	size_t room = strlen(UNKNOWN_NAME);

	switch (row->kind) {
	case KIND_TEXT:
		return 6 * row->size + 2;
	case KIND_LIST:
		return 9 * row->size + 4;
	case KIND_ARRAY:
		return 21 * (row->size / 8) + 2;
	case KIND_ENUM:
		for (unsigned i = 0; i < row->n_names; i++)
			if (row->names[i] && strlen(row->names[i]) > room)
				room = strlen(row->names[i]);
		return room + 2;
	case KIND_CONTAINER:
		return CONTAINER_ID_LEN + 2;
	default:
		return 42;	/* an IPv6 address with its quotes is the longest */
	}
}

static void add_leaf(struct builder *b, const struct row *row)
{
	enum first *first = &b->first[b->depth];
	bool constant = row->kind == KIND_CONST || row->kind == KIND_CONST_LIST || row->kind == KIND_FACT ||
			row->kind == KIND_SCHEMA || row->kind == KIND_LABELS;
	struct op *op;

	if ((row->kind == KIND_LABELS && !b->facts->n_labels) || (row->kind == KIND_COMMUNITY_ID && !b->facts->community_id))
		return;
	if (constant && *first != MAYBE_FIRST) {
		put_key(b, row->path, *first == NOT_FIRST);
		put_constant(b, row);
		*first = NOT_FIRST;
		return;
	}
	op = begin_op(b, constant ? (int)OP_TEXT : (int)row->kind);
	if (!op)
		return;
	op->absence = row->absence;
	op->size = row->kind == KIND_TEXT || row->kind == KIND_LIST || row->kind == KIND_ARRAY || row->kind == KIND_COMMUNITY_ID ? 1 : row->size;
	op->length = row->size;
	op->offset = row->offset;
	op->n_names = row->n_names;
	op->count_offset = row->count_offset;
	op->count_size = row->count_size;
	op->after_brace = *first == MAYBE_FIRST;
	put_key(b, row->path, *first != FIRST);
	if (constant)
		put_constant(b, row);
	end_op(b, op, value_room(row));
	if (row->kind == KIND_ENUM)
		op->names = put_names(b, row);
	if (*first != NOT_FIRST)
		*first = row->absence == ALWAYS_THERE ? NOT_FIRST : MAYBE_FIRST;
}

/* A group is optional if all of its rows are. */
static bool group_optional(const struct row *rows, int n, const char *path, size_t len)
{
	for (int i = 0; i < n; i++)
		if (!strncmp(rows[i].path, path, len) && rows[i].absence == ALWAYS_THERE)
			return false;
	return true;
}

static void open_group(struct builder *b, const char *path, size_t len, bool optional)
{
	enum first *first = &b->first[b->depth];
	struct op *op;

	if (b->depth + 1 == MAX_DEPTH) {
		log_error("row %s: more than %d groups deep", path, MAX_DEPTH - 1);
		b->error = -EINVAL;
		return;
	}
	if (optional || *first == MAYBE_FIRST) {
		op = begin_op(b, optional ? OP_GROUP_OPEN : OP_TEXT);
		if (!op)
			return;
		op->after_brace = *first == MAYBE_FIRST;
		put_key(b, path, *first != FIRST);
		put(b, "{", 1);
		end_op(b, op, 0);
	} else {
		put_key(b, path, *first == NOT_FIRST);
		put(b, "{", 1);
	}
	if (*first != NOT_FIRST)
		*first = optional ? MAYBE_FIRST : NOT_FIRST;
	b->depth++;
	b->first[b->depth] = FIRST;
	b->optional[b->depth] = optional;
	b->path_len[b->depth] = len;
}

static void close_group(struct builder *b)
{
	struct op *op;

	if (b->optional[b->depth]) {
		op = begin_op(b, OP_GROUP_CLOSE);
		if (!op)
			return;
		put(b, "}", 1);
		end_op(b, op, 0);
	} else {
		put(b, "}", 1);
	}
	b->depth--;
}

static void add_row(struct builder *b, const struct row *rows, int n, const struct row *row)
{
	const char *path = row->path, *last = rows == row ? "" : row[-1].path;

	while (b->depth && strncmp(last, path, b->path_len[b->depth]))
		close_group(b);
	for (;;) {
		size_t from = b->depth ? b->path_len[b->depth] : 0, len = strcspn(path + from, ".");

		if (!path[from + len] || b->error)
			break;
		open_group(b, path, from + len + 1, group_optional(rows, n, path, from + len + 1));
	}
	add_leaf(b, row);
}

int plan_new(const struct record *record, const struct facts *facts, struct plan **ret_plan)
{
	struct row rows[MAX_ROWS];
	struct builder b = { .facts = facts };
	struct op *op;
	int n = record_rows(record, rows);

	if (n < 0)
		return n;
	b.plan = calloc(1, sizeof(*b.plan));
	if (!b.plan)
		return -ENOMEM;
	put(&b, "{", 1);
	for (int i = 0; i < n && !b.error; i++)
		add_row(&b, rows, n, &rows[i]);
	while (b.depth && !b.error)
		close_group(&b);
	put(&b, "}\n", 2);
	op = b.error ? NULL : begin_op(&b, OP_TEXT);
	if (!op) {
		plan_free(b.plan);
		return b.error ?: -ENOMEM;
	}
	end_op(&b, op, ROOM_SLACK);
	*ret_plan = b.plan;
	return 0;
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (unsigned i = 0; i < plan->n_ops; i++)
		free((void *)plan->ops[i].names);
	free(plan->ops);
	free(plan->pool);
	free(plan);
}
