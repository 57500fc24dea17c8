/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An output: a bounded queue of encoded records with a policy for when it is full, counters, and a writer behind it.
 * Kinds of writers (stdout, file, unix, unix-connect) differ in struct output_ops only.
 *
 *   emitted (given to it) = delivered (taken by the kernel) + queued + lost, always.
 *
 * agent_lost records overtake all others, so that they are the first after what they tell of.
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
#include "spec.h"

#define OUTPUT_MAX_DATASETS 32
#define OUTPUT_BATCH_RECORDS 1024
#define OUTPUT_BATCH_IOVS 64
#define OUTPUT_MAX_NOTICES 64

struct output;

/* Called on the loop's thread. */
struct output_ops {
	int (*open)(struct output *output);	/* sets the state; a negative errno after telling on stderr */
	/* Starts writing output->batch; ends, now or later, with one call of output_written(), _interrupted() or _closed(). */
	void (*write)(struct output *output);
	void (*rotate)(struct output *output);	/* SIGHUP; may be NULL */
	void (*changed)(struct output *output);	/* its spec, but for kind and path; may be NULL */
	void (*close)(struct output *output);	/* lets go of everything, by and by */
	bool blocks;				/* a worker writes, which may hang in the kernel */
};

struct queued_record {
	struct arena *arena;
	uint32_t offset;
	uint16_t length;
	uint8_t dataset;	/* index into the agent's list of records */
};

struct record_queue {	/* a ring */
	struct queued_record *records;
	unsigned head, n, room;		/* room: 0 or a power of two */
	uint64_t bytes;
};

struct output {
	const struct output_ops *ops;
	struct output_spec spec;
	char name[112];
	enum output_state state;
	uv_loop_t *loop;

	struct record_queue waiting, notices;
	struct queued_record writing[OUTPUT_BATCH_RECORDS];
	unsigned n_writing;
	struct iovec batch[OUTPUT_BATCH_IOVS];
	unsigned n_batch;
	size_t batch_bytes;

	uint8_t notice_dataset;		/* agent_lost */
	uint32_t takes;			/* bits of the datasets that it was asked to take */
	struct output *listener;	/* of a reader */
	uint64_t leave_by;		/* ms of the loop's clock; 0: it stays */
	bool is_vacant;			/* takes none now: a listener, or the place of a reader that has left */
	uint64_t emitted, delivered, lost, bytes;
	uint64_t lost_by[LOST_REASONS][OUTPUT_MAX_DATASETS], told_by[LOST_REASONS][OUTPUT_MAX_DATASETS];
	enum lost_reason drop_reason;	/* of what a full queue drops */
	int error;			/* why it is not open: a negative errno */

	void (*on_progress)(struct output *output, void *context);	/* after each write, and when the state changes */
	void (*on_retry)(struct output *output, void *context);	/* before output_retry() writes: what was lost goes first */
	void (*on_reader)(struct output *listener, struct output *reader, void *context);	/* a place for readers, not seen before */
	void *context;
	void *writer;	/* of the ops */
};

int output_new(uv_loop_t *loop, const struct output_spec *spec, struct output **ret_output);
void output_free(struct output *output);

/* Whether the agent has to stop handing records over (policy block, queue full). */
bool output_blocks(const struct output *output);
void output_push(struct output *output, struct arena *arena, uint32_t offset, uint16_t length, uint8_t dataset);
void output_flush(struct output *output);	/* starts a write if there is something, none is under way, and the output is open */
bool output_idle(const struct output *output);
uint64_t output_queued(const struct output *output);	/* records */
/* The end: all that is queued and being written counts as lost. True: a write hangs, whose records must stay. */
bool output_abandon(struct output *output);

/*
 * For writers. The batch was written up to `bytes`; a record that was not written to its end does not count as delivered.
 * interrupted: the rest goes back into the queue, of which `reason` tells why it overflows, and the output retries: the writer calls
 * output_retry() or output_opened().
 * closed: the rest is lost for `reason`, and the output will not be written to again.
 */
void output_written(struct output *output);
void output_interrupted(struct output *output, size_t bytes, int error, enum lost_reason reason);
void output_closed(struct output *output, size_t bytes, int error, enum lost_reason reason);
void output_opened(struct output *output);	/* it can be written to (again) */
void output_retry(struct output *output);	/* starts a write to see whether it can */

extern const struct output_ops stdout_ops, file_ops, listen_ops, connect_ops;
#endif
