/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An output: a bounded queue of encoded records with a policy for when it is full, counters, and a writer behind it.
 * Kinds of writers (stdout now) differ in struct output_ops only.
 *
 *   emitted (given to it) = delivered (taken by the kernel) + queued + lost, always.
 *
 * SPEC: KIND[:PATH][,agent=yes|no][,full=block|drop-oldest|drop-newest][,queue=SIZE][,probes=A+B]
 */
#ifndef NETLINE_OUTPUT_H
#define NETLINE_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <uv.h>

#include "../../schema/agent_lost.h"
#include "../../schema/agent_status.h"
#include "../buf.h"

#define OUTPUT_MAX_DATASETS 32
#define OUTPUT_BATCH_RECORDS 1024
#define OUTPUT_BATCH_IOVS 64

enum full_policy { FULL_BLOCK, FULL_DROP_OLDEST, FULL_DROP_NEWEST };

struct output;

/* Called by the writer on the loop's thread. */
struct output_ops {
	int (*open)(struct output *output);
	/* Starts writing output->batch; ends with output_written(). One at a time. */
	void (*write)(struct output *output);
	void (*close)(struct output *output);
	enum full_policy full;
};

struct queued_record {
	struct arena *arena;
	uint32_t offset;
	uint16_t length;
	uint8_t dataset;	/* index into the agent's list of records */
};

struct output_spec {
	enum full_policy full;
	bool agent_records;	/* agent_probe and agent_status too; agent_lost always goes */
	uint64_t queue_bytes;
	char probes[256];	/* names separated by '+'; empty: all */
};

struct output {
	const struct output_ops *ops;
	struct output_spec spec;
	char name[112];
	enum output_state state;
	uv_loop_t *loop;

	/* a ring of records that wait, and those that are being written */
	struct queued_record *queue;
	unsigned head, n_waiting, room;		/* room: a power of two */
	uint64_t waiting_bytes;
	struct queued_record writing[OUTPUT_BATCH_RECORDS];
	unsigned n_writing;
	struct iovec batch[OUTPUT_BATCH_IOVS];
	unsigned n_batch;

	uint32_t datasets;	/* bits of those that it takes */
	uint64_t emitted, delivered, lost, bytes;
	uint64_t lost_by[LOST_REASONS][OUTPUT_MAX_DATASETS];
	void (*on_progress)(struct output *output, void *context);	/* after each write, and when the state changes */
	void *context;
	int error;	/* why it was closed: a negative errno */
	void *writer;	/* of the ops */
};

int output_check(const char *spec);	/* -EINVAL after telling on stderr */
int output_new(uv_loop_t *loop, const char *spec, struct output **ret_output);
bool output_wants_probe(const struct output *output, const char *probe);	/* by its SPEC */
void output_free(struct output *output);

/* Whether the agent has to stop handing records over (policy block, queue full). */
bool output_blocks(const struct output *output);
void output_push(struct output *output, struct arena *arena, uint32_t offset, uint16_t length, uint8_t dataset);
void output_flush(struct output *output);	/* starts a write if there is something and none is under way */
bool output_idle(const struct output *output);
/* The end, with a write under way that does not: all that is queued and being written counts as lost. */
void output_abandon(struct output *output);

/* For writers: the batch was written up to `bytes`; `error` is 0 or a negative errno that ends the output. */
void output_written(struct output *output, size_t bytes, int error);

extern const struct output_ops stdout_ops;
#endif
