/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a plan: built by plan.c, run by encode.c. */
#ifndef NETLINE_PLAN_H
#define NETLINE_PLAN_H

#include "encode.h"
#include "text.h"

#define MAX_DEPTH 6
#define UNKNOWN_NAME "unknown"	/* for an enum value without a name; one that may be absent is */

enum op_kind { OP_GROUP_OPEN = 100, OP_GROUP_CLOSE, OP_TEXT };	/* beside enum kind */

/* Text in the pool; of no length: there is none. */
struct piece {
	uint32_t at, len;
};

/*
 * One step: `pre` is always written, `key` only if the value is there. A key begins with a comma;
 * `after_brace` says that it may be the first of its group, which only the run can tell. Where nothing is to be decided,
 * the key belongs to `pre`, behind which it stands in the pool anyway.
 */
struct op {
	uint8_t kind, absence, size, after_brace;
	uint16_t offset, length, n_names, count_offset, count_size;
	uint32_t pre_len, key_len;
	uint32_t pre, key;
	const struct piece *names;	/* KIND_ENUM: by index, quoted */
};

struct plan {
	struct op *ops;
	unsigned n_ops, ops_room;
	char *pool;
	size_t pool_len, pool_room;
	size_t room;
	struct text_second second, start_second;
};
#endif
