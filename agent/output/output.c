/* SPDX-License-Identifier: BSD-2-Clause */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct output_ops *const ops_of[SPEC_KINDS] = {
	[SPEC_STDOUT] = &stdout_ops, [SPEC_FILE] = &file_ops, [SPEC_UNIX] = &listen_ops, [SPEC_UNIX_CONNECT] = &connect_ops,
};

int output_new(uv_loop_t *loop, const struct output_spec *spec, struct output **ret_output)
{
	struct output *output = calloc(1, sizeof(*output));
	int err;

	if (!output)
		return -ENOMEM;
	output->loop = loop;
	output->spec = *spec;
	output->ops = ops_of[spec->kind];
	output->state = OUTPUT_OPEN;
	output->drop_reason = LOST_QUEUE_FULL;
	spec_name(spec, output->name);
	err = output->ops->open(output);
	if (err) {
		free(output);
		return err;
	}
	*ret_output = output;
	return 0;
}

/* --- a queue of records --- */

static int grow(struct record_queue *queue)
{
	unsigned room = queue->room ? 2 * queue->room : 256;
	struct queued_record *records = malloc(room * sizeof(*records));

	if (!records)
		return -ENOMEM;
	for (unsigned i = 0; i < queue->n; i++)
		records[i] = queue->records[(queue->head + i) & (queue->room - 1)];
	free(queue->records);
	queue->records = records;
	queue->room = room;
	queue->head = 0;
	return 0;
}

/* False: no memory. */
static bool append(struct record_queue *queue, const struct queued_record *record)
{
	if (queue->n == queue->room && grow(queue))
		return false;
	queue->records[(queue->head + queue->n++) & (queue->room - 1)] = *record;
	queue->bytes += record->length;
	return true;
}

static bool prepend(struct record_queue *queue, const struct queued_record *record)
{
	if (queue->n == queue->room && grow(queue))
		return false;
	queue->head = (queue->head - 1) & (queue->room - 1);
	queue->records[queue->head] = *record;
	queue->n++;
	queue->bytes += record->length;
	return true;
}

static struct queued_record pop(struct record_queue *queue)
{
	struct queued_record record = queue->records[queue->head];

	queue->head = (queue->head + 1) & (queue->room - 1);
	queue->n--;
	queue->bytes -= record.length;
	return record;
}

/* --- losses --- */

static void lose(struct output *output, const struct queued_record *record, enum lost_reason reason)
{
	output->lost++;
	output->lost_by[reason][record->dataset]++;
}

static void lose_oldest(struct output *output, struct record_queue *queue, enum lost_reason reason)
{
	struct queued_record oldest = pop(queue);

	lose(output, &oldest, reason);
	arena_drop(oldest.arena);
}

static void discard(struct output *output, enum lost_reason reason)
{
	while (output->notices.n)
		lose_oldest(output, &output->notices, reason);
	while (output->waiting.n)
		lose_oldest(output, &output->waiting, reason);
}

void output_free(struct output *output)
{
	if (!output)
		return;
	discard(output, LOST_SHUTDOWN);
	if (output->state != OUTPUT_CLOSED)
		output->ops->close(output);
	free(output->waiting.records);
	free(output->notices.records);
	free(output);
}

bool output_abandon(struct output *output)
{
	bool hangs = output->n_writing && output->ops->blocks;

	if (!hangs) {
		output_closed(output, 0, -ETIMEDOUT, LOST_SHUTDOWN);
		return false;
	}
	for (unsigned i = 0; i < output->n_writing; i++)
		lose(output, &output->writing[i], LOST_SHUTDOWN);
	output->n_writing = 0;
	output->state = OUTPUT_CLOSED;
	discard(output, LOST_SHUTDOWN);
	return true;
}

/* --- records come in --- */

static bool is_full(const struct output *output)
{
	return output->waiting.bytes >= output->spec.queue_bytes;
}

bool output_blocks(const struct output *output)
{
	return output->spec.full == FULL_BLOCK && output->state != OUTPUT_CLOSED && is_full(output);
}

uint64_t output_queued(const struct output *output)
{
	return output->waiting.n + output->notices.n + output->n_writing;
}

bool output_idle(const struct output *output)
{
	return !output_queued(output);
}

/* The queue that the record goes to, with room in it; NULL: it is dropped. */
static struct record_queue *queue_for(struct output *output, uint8_t dataset)
{
	if (dataset == output->notice_dataset) {
		if (output->notices.n == OUTPUT_MAX_NOTICES)
			lose_oldest(output, &output->notices, output->drop_reason);
		return &output->notices;
	}
	while (is_full(output) && output->spec.full == FULL_DROP_OLDEST)
		lose_oldest(output, &output->waiting, output->drop_reason);
	return is_full(output) && output->spec.full == FULL_DROP_NEWEST ? NULL : &output->waiting;
}

/* A blocking output takes what comes beside the rings (agent records) even when it is full. */
void output_push(struct output *output, struct arena *arena, uint32_t offset, uint16_t length, uint8_t dataset)
{
	struct queued_record record = { .arena = arena, .offset = offset, .length = length, .dataset = dataset };
	struct record_queue *queue;

	output->emitted++;
	if (output->state == OUTPUT_CLOSED) {
		lose(output, &record, LOST_WRITE_ERROR);
		return;
	}
	queue = queue_for(output, dataset);
	if (queue && append(queue, &record))
		arena_hold(arena);
	else
		lose(output, &record, output->drop_reason);
}

/* --- and go out --- */

/* Adds a record to the batch, joined to the last piece where they touch; false if there is no room. */
static bool add_to_batch(struct output *output, const struct queued_record *record)
{
	struct iovec *last = output->n_batch ? &output->batch[output->n_batch - 1] : NULL;
	char *at = record->arena->data + record->offset;

	if (output->n_writing == OUTPUT_BATCH_RECORDS)
		return false;
	if (output->n_writing && output->spec.rotate_bytes && output->batch_bytes + record->length > output->spec.rotate_bytes)
		return false;	/* it would fill a file alone */
	if (last && (char *)last->iov_base + last->iov_len == at) {
		last->iov_len += record->length;
	} else {
		if (output->n_batch == OUTPUT_BATCH_IOVS)
			return false;
		output->batch[output->n_batch++] = (struct iovec){ .iov_base = at, .iov_len = record->length };
	}
	output->writing[output->n_writing++] = *record;
	output->batch_bytes += record->length;
	return true;
}

static void fill_batch(struct output *output, struct record_queue *queue)
{
	while (queue->n && add_to_batch(output, &queue->records[queue->head]))
		pop(queue);
}

static void begin_write(struct output *output)
{
	if (output->n_writing || output_idle(output))
		return;
	output->n_batch = 0;
	output->batch_bytes = 0;
	fill_batch(output, &output->notices);
	if (!output->notices.n)
		fill_batch(output, &output->waiting);
	output->ops->write(output);
}

void output_flush(struct output *output)
{
	if (output->state == OUTPUT_OPEN)
		begin_write(output);
}

void output_retry(struct output *output)
{
	if (output->state != OUTPUT_RETRYING || output->n_writing)
		return;
	output->on_retry(output, output->context);
	begin_write(output);
}

/* Counts what was written whole, and gives the number of these records. */
static unsigned deliver(struct output *output, size_t bytes)
{
	size_t at = 0;
	unsigned i = 0;

	for (; i < output->n_writing && at + output->writing[i].length <= bytes; i++) {
		at += output->writing[i].length;
		arena_drop(output->writing[i].arena);
	}
	output->delivered += i;
	output->bytes += bytes;
	return i;
}

void output_opened(struct output *output)
{
	output->state = OUTPUT_OPEN;
	output->error = 0;
	output->drop_reason = LOST_QUEUE_FULL;
	output->on_progress(output, output->context);
}

void output_written(struct output *output)
{
	deliver(output, output->batch_bytes);
	output->n_writing = 0;
	output_opened(output);
}

void output_interrupted(struct output *output, size_t bytes, int error, enum lost_reason reason)
{
	unsigned first = deliver(output, bytes);

	output->state = OUTPUT_RETRYING;
	output->error = error;
	output->drop_reason = reason;
	while (output->n_writing > first) {
		struct queued_record *record = &output->writing[--output->n_writing];
		struct record_queue *queue = record->dataset == output->notice_dataset ? &output->notices : &output->waiting;

		if (prepend(queue, record))
			continue;
		lose(output, record, reason);
		arena_drop(record->arena);
	}
	output->n_writing = 0;
	output->on_progress(output, output->context);
}

void output_closed(struct output *output, size_t bytes, int error, enum lost_reason reason)
{
	for (unsigned i = deliver(output, bytes); i < output->n_writing; i++) {
		lose(output, &output->writing[i], reason);
		arena_drop(output->writing[i].arena);
	}
	output->n_writing = 0;
	output->error = error;
	output->state = OUTPUT_CLOSED;
	output->ops->close(output);
	discard(output, reason);
	output->on_progress(output, output->context);
}
