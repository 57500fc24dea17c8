/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From wire struct to one line of JSON.
 *
 * A plan is built once per record type: constant text between two values is merged into
 * one piece, and a group of which nothing is present is left out. plan_encode() does no
 * allocation, no locale and no floating point.
 *
 * Errors: -EINVAL (rows contradict each other; the log says which), -ENOMEM.
 */
#ifndef NETLINE_ENCODE_H
#define NETLINE_ENCODE_H

#include <stdint.h>
#include "../schema/record.h"

#define LINE_MAX_BYTES 4096	/* with the newline; longer lines are not written */

struct label {
	const char *key, *value;
};

/* What is the same in every record of a run. */
struct facts {
	const char *text[FACT_COUNT];
	const struct label *labels;
	unsigned n_labels;
	bool community_id;	/* the rows of this kind are written */
};

struct plan;

int plan_new(const struct record *record, const struct facts *facts, struct plan **ret_plan);
void plan_free(struct plan *plan);

/* The longest line that this plan can write, with slack for block copies: a buffer given to plan_encode() has at least that much. */
size_t plan_room(const struct plan *plan);

/*
 * Writes one line with its newline and returns its length in bytes; it may exceed LINE_MAX_BYTES, then the caller drops it.
 * `utc_offset`: CLOCK_REALTIME minus CLOCK_MONOTONIC in ns. Not reentrant for one plan (the formatted second is cached).
 */
size_t plan_encode(struct plan *plan, const void *wire, uint64_t sequence, int64_t utc_offset, char *out);

/* All rows of a record, envelope included, in the order of the output. Returns their number, or -EINVAL for a path that is
 * both leaf and object or that stands twice. `ret_rows` has room for MAX_ROWS; constant rows have their text filled in. */
#define MAX_ROWS 64
int record_rows(const struct record *record, struct row *ret_rows);

/* Value of an unsigned member of 1, 2, 4 or 8 bytes. */
uint64_t load_uint(const void *at, unsigned size);
#endif
