/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue of an output, with a writer that only remembers: what comes out, in which order, and that nothing goes uncounted. */
#include <errno.h>
#include <stdio.h>

#include "../../agent/output/output.h"
#include "capture.h"

#define MAX_MODEL 20000
#define LONGEST 4096
#define NOTICE OUTPUT_MAX_DATASETS	/* no dataset of these tests is told first, but where that is tested */

struct model_record {
	unsigned id, length;
	uint8_t dataset;
};

/* An output under test, what it was told to do, and what should have come of it. */
struct bench {
	struct output *output;
	struct arena_writer arenas;
	unsigned next_id;

	struct model_record queue[MAX_MODEL];	/* from `first` to `end`: waiting; n_writing from `writing_first`: being written */
	unsigned first, end, writing_first, n_writing;
	uint64_t waiting_bytes, emitted, delivered, bytes;
	uint64_t lost_by[LOST_REASONS][OUTPUT_MAX_DATASETS];
	bool closed, retrying, limited;
	enum lost_reason drop_reason;

	int write_error;			/* with which the writer ends at once */
	bool writing;
	unsigned longest;			/* in random steps */
	unsigned n_writes, n_closes, n_progress, n_retries;
};

/* --- the writer --- */

static void fill(char *at, unsigned id, unsigned length)
{
	for (unsigned i = 0; i < length; i++)
		at[i] = i + 1 == length ? '\n' : (id * 7 + i * (id % 5 + 1)) % 251;
}

/* The batch holds the oldest records in order, joined where they touch, and as many as there is room for. */
static void check_batch(const struct bench *bench)
{
	const struct output *output = bench->output;
	const struct model_record *record = &bench->queue[bench->writing_first];
	char expected[LONGEST];
	unsigned n = 0;

	assert_in_range(output->n_batch, 1, OUTPUT_BATCH_IOVS);
	for (unsigned i = 0; i < output->n_batch; i++) {
		const char *at = output->batch[i].iov_base, *end = at + output->batch[i].iov_len;

		require(!i || (char *)output->batch[i - 1].iov_base + output->batch[i - 1].iov_len != at, "pieces %u and %u touch", i - 1, i);
		for (; at < end; at += record->length, record++, n++) {
			require(n < bench->n_writing && (unsigned)(end - at) >= record->length, "piece %u is cut in a record", i);
			fill(expected, record->id, record->length);
			assert_memory_equal(at, expected, record->length);
		}
	}
	assert_int_equal(n, bench->n_writing);
	assert_true(bench->limited || bench->first == bench->end || n == OUTPUT_BATCH_RECORDS || output->n_batch == OUTPUT_BATCH_IOVS);
}

static void model_closed(struct bench *bench, size_t bytes);

static void fake_write(struct output *output)
{
	struct bench *bench = output->context;

	assert_false(bench->writing);
	assert_int_equal(bench->n_writing, 0);
	assert_in_range(output->n_writing, 1, OUTPUT_BATCH_RECORDS);
	assert_true(output->n_writing <= bench->end - bench->first);
	bench->writing_first = bench->first;
	bench->n_writing = output->n_writing;
	for (unsigned i = 0; i < bench->n_writing; i++)
		bench->waiting_bytes -= bench->queue[bench->first++].length;
	check_batch(bench);
	bench->n_writes++;
	bench->writing = true;
	if (bench->write_error) {
		model_closed(bench, 0);
		output_closed(output, 0, bench->write_error, LOST_WRITE_ERROR);
	}
}

static void fake_close(struct output *output)
{
	struct bench *bench = output->context;

	bench->n_closes++;
}

static void fake_progress(struct output *output, void *context)
{
	struct bench *bench = context;

	assert_ptr_equal(output, bench->output);
	bench->n_progress++;
}

static void fake_retry(struct output *output, void *context)
{
	struct bench *bench = context;

	assert_ptr_equal(output, bench->output);
	bench->n_retries++;
}

static const struct output_ops fake_ops = { .write = fake_write, .close = fake_close, .blocks = true };

static struct bench *bench_new(enum full_policy full, uint64_t queue_bytes)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct output *output = calloc(1, sizeof(*output));

	assert_true(bench && output);
	*output = (struct output){ .ops = &fake_ops, .spec = { .full = full, .queue_bytes = queue_bytes }, .state = OUTPUT_OPEN,
				   .notice_dataset = NOTICE, .drop_reason = LOST_QUEUE_FULL, .on_progress = fake_progress, .on_retry = fake_retry, .context = bench };
	bench->output = output;
	bench->drop_reason = LOST_QUEUE_FULL;
	return bench;
}

/* --- the same in the model --- */

static uint64_t model_lost(const struct bench *bench)
{
	uint64_t lost = 0;

	for (unsigned reason = 0; reason < LOST_REASONS; reason++)
		for (unsigned dataset = 0; dataset < OUTPUT_MAX_DATASETS; dataset++)
			lost += bench->lost_by[reason][dataset];
	return lost;
}

static void check_counters(const struct bench *bench)
{
	const struct output *output = bench->output;

	assert_int_equal(output->emitted, output->delivered + output->waiting.n + output->n_writing + output->lost);
	assert_int_equal(output->emitted, bench->emitted);
	assert_int_equal(output->delivered, bench->delivered);
	assert_int_equal(output->lost, model_lost(bench));
	assert_int_equal(output->waiting.n, bench->end - bench->first);
	assert_int_equal(output->waiting.bytes, bench->waiting_bytes);
	assert_int_equal(output->n_writing, bench->n_writing);
	assert_int_equal(output->bytes, bench->bytes);
	assert_memory_equal(output->lost_by, bench->lost_by, sizeof(bench->lost_by));
	assert_int_equal(output->state, bench->closed ? OUTPUT_CLOSED : bench->retrying ? OUTPUT_RETRYING : OUTPUT_OPEN);
	assert_int_equal(bench->n_closes, bench->closed);
	assert_int_equal(output_idle(output), bench->first == bench->end && !bench->n_writing);
	assert_int_equal(output_blocks(output), output->spec.full == FULL_BLOCK && !bench->closed &&
						bench->waiting_bytes >= output->spec.queue_bytes);
}

static void model_lose_oldest(struct bench *bench, enum lost_reason reason)
{
	const struct model_record *oldest = &bench->queue[bench->first++];

	bench->lost_by[reason][oldest->dataset]++;
	bench->waiting_bytes -= oldest->length;
}

static void model_push(struct bench *bench, struct model_record record)
{
	const struct output_spec *spec = &bench->output->spec;

	bench->emitted++;
	if (bench->closed) {
		bench->lost_by[LOST_WRITE_ERROR][record.dataset]++;
		return;
	}
	while (spec->full == FULL_DROP_OLDEST && bench->waiting_bytes >= spec->queue_bytes)
		model_lose_oldest(bench, bench->drop_reason);
	if (spec->full == FULL_DROP_NEWEST && bench->waiting_bytes >= spec->queue_bytes) {
		bench->lost_by[bench->drop_reason][record.dataset]++;
		return;
	}
	assert_true(bench->end < MAX_MODEL);
	bench->queue[bench->end++] = record;
	bench->waiting_bytes += record.length;
}

/* --- steps --- */

/* `gap`: something else came between this record and the one before. */
static void push(struct bench *bench, unsigned length, uint8_t dataset, bool gap)
{
	struct model_record record = { .id = bench->next_id++, .length = length, .dataset = dataset };
	char *at = arena_room(&bench->arenas, length + 8);

	assert_non_null(at);
	if (gap) {
		memset(at, '?', 8);
		arena_commit(&bench->arenas, 8);
		at += 8;
	}
	fill(at, record.id, length);
	model_push(bench, record);
	output_push(bench->output, bench->arenas.arena, bench->arenas.arena->used, length, dataset);
	arena_commit(&bench->arenas, length);
	check_counters(bench);
}

/* The model of a write's end: how many records of the batch are whole. */
static unsigned model_delivered(struct bench *bench, size_t bytes)
{
	size_t at = 0;
	unsigned i = 0;

	for (; i < bench->n_writing; i++) {
		at += bench->queue[bench->writing_first + i].length;
		if (at > bytes)
			break;
		bench->delivered++;
	}
	bench->bytes += bytes;
	bench->writing = false;
	return i;
}

static void model_written(struct bench *bench, size_t bytes)
{
	model_delivered(bench, bytes);
	bench->n_writing = 0;
	bench->retrying = false;
	bench->drop_reason = LOST_QUEUE_FULL;
}

static void model_closed(struct bench *bench, size_t bytes)
{
	for (unsigned i = model_delivered(bench, bytes); i < bench->n_writing; i++)
		bench->lost_by[LOST_WRITE_ERROR][bench->queue[bench->writing_first + i].dataset]++;
	bench->n_writing = 0;
	bench->closed = true;
	bench->retrying = false;
	while (bench->first < bench->end)
		model_lose_oldest(bench, LOST_WRITE_ERROR);
}

/* What is not whole goes back before what waits. */
static void model_interrupted(struct bench *bench, size_t bytes, enum lost_reason reason)
{
	unsigned whole = model_delivered(bench, bytes);

	while (bench->n_writing > whole) {
		struct model_record record = bench->queue[bench->writing_first + --bench->n_writing];

		bench->queue[--bench->first] = record;
		bench->waiting_bytes += record.length;
	}
	bench->n_writing = 0;
	bench->retrying = true;
	bench->drop_reason = reason;
}

static size_t batch_bytes(const struct bench *bench)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < bench->output->n_batch; i++)
		bytes += bench->output->batch[i].iov_len;
	return bytes;
}

static void finish_write(struct bench *bench)
{
	unsigned n_progress = bench->n_progress;

	assert_true(bench->writing);
	model_written(bench, batch_bytes(bench));
	output_written(bench->output);
	assert_int_equal(bench->n_progress, n_progress + 1);
	check_counters(bench);
}

static void close_write(struct bench *bench, size_t bytes, int error)
{
	unsigned n_progress = bench->n_progress;

	model_closed(bench, bytes);
	output_closed(bench->output, bytes, error, LOST_WRITE_ERROR);
	assert_int_equal(bench->n_progress, n_progress + 1);
	assert_int_equal(bench->output->error, error);
	check_counters(bench);
}

static void interrupt_write(struct bench *bench, size_t bytes, int error, enum lost_reason reason)
{
	unsigned n_progress = bench->n_progress;

	model_interrupted(bench, bytes, reason);
	output_interrupted(bench->output, bytes, error, reason);
	assert_int_equal(bench->n_progress, n_progress + 1);
	assert_int_equal(bench->output->error, error);
	check_counters(bench);
}

static void retry(struct bench *bench)
{
	bool tries = !bench->writing && bench->retrying, begins = tries && bench->first < bench->end;
	unsigned n_writes = bench->n_writes, n_retries = bench->n_retries;

	output_retry(bench->output);
	assert_int_equal(bench->n_retries, n_retries + tries);
	assert_int_equal(bench->n_writes, n_writes + begins);
	check_counters(bench);
}

/* A flush begins a write if there is something, none is under way, and the output is open. */
static void flush(struct bench *bench)
{
	bool begins = bench->first < bench->end && !bench->writing && !bench->closed && !bench->retrying;
	unsigned n_writes = bench->n_writes;

	output_flush(bench->output);
	assert_int_equal(bench->n_writes, n_writes + begins);
	if (begins && bench->write_error)
		assert_int_equal(bench->output->error, bench->write_error);
	check_counters(bench);
}

static void drain(struct bench *bench)
{
	while (bench->writing || bench->first < bench->end) {
		if (!bench->writing && bench->retrying)
			retry(bench);
		else if (!bench->writing)
			flush(bench);
		finish_write(bench);
	}
}

/* With what is queued; arenas that were not let go are leaks. */
static void bench_free(struct bench *bench)
{
	if (bench->writing)
		finish_write(bench);
	output_free(bench->output);
	assert_int_equal(bench->n_closes, 1);
	arena_writer_release(&bench->arenas);
	free(bench);
}

/* --- batches --- */

static void test_merge(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1 << 20);

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		push(bench, 100 + i, 0, false);
	flush(bench);
	assert_int_equal(bench->output->n_batch, 1);
	assert_int_equal(bench->output->n_writing, 10);
	push(bench, 50, 0, false);
	flush(bench);	/* nothing: one is under way */
	finish_write(bench);
	flush(bench);
	assert_int_equal(bench->output->n_writing, 1);
	finish_write(bench);
	flush(bench);	/* nothing: empty */
	assert_int_equal(bench->n_writes, 2);
	assert_int_equal(bench->delivered, 11);
	bench_free(bench);
}

static void test_gaps(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1 << 20);

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		push(bench, 10, i % OUTPUT_MAX_DATASETS, true);
	flush(bench);
	assert_int_equal(bench->output->n_batch, OUTPUT_BATCH_IOVS);
	finish_write(bench);
	flush(bench);
	assert_int_equal(bench->output->n_batch, 100 - OUTPUT_BATCH_IOVS);
	finish_write(bench);
	bench_free(bench);
}

static void test_batch_records(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1 << 20);

	(void)state;
	for (unsigned i = 0; i < OUTPUT_BATCH_RECORDS + 500; i++)
		push(bench, 2, 0, false);
	flush(bench);
	assert_int_equal(bench->output->n_writing, OUTPUT_BATCH_RECORDS);
	assert_int_equal(bench->output->n_batch, 1);
	finish_write(bench);
	flush(bench);
	assert_int_equal(bench->output->n_writing, 500);
	finish_write(bench);
	bench_free(bench);
}

/* The ring of records grows while its oldest does not stand first, and again. */
static void test_grow(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1 << 20);

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 200u << round; i++)
			push(bench, 1 + i % 20, 0, false);
		flush(bench);
		for (unsigned i = 0; i < 400u << round; i++)
			push(bench, 1 + i % 20, 0, false);
		drain(bench);
	}
	bench_free(bench);
}

/* --- policies --- */

static void test_block(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1000);

	(void)state;
	push(bench, 999, 0, false);
	assert_false(output_blocks(bench->output));
	push(bench, 1, 0, false);
	assert_true(output_blocks(bench->output));
	push(bench, 500, 1, false);	/* an agent record */
	assert_int_equal(bench->output->waiting.n, 3);
	flush(bench);
	assert_false(output_blocks(bench->output));
	drain(bench);
	assert_int_equal(bench->delivered, 3);
	assert_int_equal(bench->output->lost, 0);
	bench_free(bench);
}

/* Of fifteen records ten fit: five are lost, from `first` on. */
static void check_drop(enum full_policy full, unsigned first)
{
	struct bench *bench = bench_new(full, 1000);

	for (unsigned i = 0; i < 15; i++)
		push(bench, 100, i, false);
	assert_int_equal(bench->output->waiting.n, 10);
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(bench->output->lost_by[LOST_QUEUE_FULL][i], i >= first && i < first + 5);
	drain(bench);
	bench_free(bench);
}

static void test_drop_newest(void **state)
{
	(void)state;
	check_drop(FULL_DROP_NEWEST, 10);
}

static void test_drop_oldest(void **state)
{
	(void)state;
	check_drop(FULL_DROP_OLDEST, 0);
}

/* The queue is bounded in bytes, whatever the records' lengths: long ones push out as many short ones as it takes. */
static void test_drop_oldest_bound(void **state)
{
	struct bench *bench = bench_new(FULL_DROP_OLDEST, 10000);

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		push(bench, 10, 0, false);
	for (unsigned i = 0; i < 1000; i++) {
		push(bench, LONGEST, 1, false);
		assert_true(bench->output->waiting.bytes < 10000 + LONGEST);
	}
	bench_free(bench);
}

/* --- errors --- */

/* What was written whole is delivered, a part of a record is not; all else is lost, and so is what comes after. */
static void test_closed(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1 << 20);

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		push(bench, 100, i, i % 2);
	flush(bench);
	push(bench, 100, 10, false);
	close_write(bench, 350, -EIO);
	assert_int_equal(bench->output->delivered, 3);
	assert_int_equal(bench->output->bytes, 350);
	assert_int_equal(bench->output->lost, 8);
	assert_int_equal(bench->output->lost_by[LOST_WRITE_ERROR][10], 1);
	push(bench, 100, 11, false);
	assert_int_equal(bench->output->lost_by[LOST_WRITE_ERROR][11], 1);
	flush(bench);
	assert_int_equal(bench->n_writes, 1);
	bench_free(bench);
}

/* What was not written whole is written again, in order, before what came meanwhile; what then has no room is lost for the reason of the interruption. */
static void check_interrupted(enum full_policy full)
{
	struct bench *bench = bench_new(full, 1000);

	for (unsigned i = 0; i < 10; i++)
		push(bench, 100, i, i % 2);
	flush(bench);
	push(bench, 100, 10, false);
	interrupt_write(bench, 350, -ENOSPC, LOST_DISK_FULL);
	assert_int_equal(bench->output->delivered, 3);
	assert_int_equal(bench->output->waiting.n, 8);
	flush(bench);	/* nothing: only a retry writes */
	assert_int_equal(bench->n_writes, 1);
	retry(bench);
	interrupt_write(bench, 99, -ENOSPC, LOST_DISK_FULL);
	assert_int_equal(bench->output->waiting.n, 8);
	for (unsigned i = 11; i < 20; i++)
		push(bench, 100, i, false);
	assert_int_equal(bench->output->lost, full == FULL_BLOCK ? 0 : 7);
	assert_int_equal(bench->output->lost_by[LOST_QUEUE_FULL][full == FULL_DROP_NEWEST ? 19 : 3], 0);
	assert_int_equal(bench->output->lost_by[LOST_DISK_FULL][full == FULL_DROP_NEWEST ? 19 : 3], full != FULL_BLOCK);
	drain(bench);
	push(bench, 100, 20, false);
	flush(bench);
	assert_true(bench->writing);
	bench_free(bench);
}

static void test_interrupted(void **state)
{
	(void)state;
	check_interrupted(FULL_BLOCK);
	check_interrupted(FULL_DROP_OLDEST);
	check_interrupted(FULL_DROP_NEWEST);
}

/* agent_lost overtakes what waits, before a retry and after; there are never more than 64 of them. */
static void test_notices(void **state)
{
	struct bench *bench = bench_new(FULL_DROP_NEWEST, 1000);
	struct output *output = bench->output;
	struct arena_writer *arenas = &bench->arenas;
	char *at;

	(void)state;
	output->notice_dataset = 5;
	for (unsigned i = 0; i < 100; i++) {
		at = arena_room(arenas, 20);
		fill(at, i, 20);
		output_push(output, arenas->arena, arenas->arena->used, 20, i < 10 ? 0 : 5);
		arena_commit(arenas, 20);
	}
	assert_int_equal(output->waiting.n, 10);
	assert_int_equal(output->notices.n, OUTPUT_MAX_NOTICES);
	assert_int_equal(output->lost_by[LOST_QUEUE_FULL][5], 90 - OUTPUT_MAX_NOTICES);
	bench->n_writing = 0;
	bench->first = 0;
	bench->end = OUTPUT_MAX_NOTICES + 10;
	for (unsigned i = 0; i < bench->end; i++)
		bench->queue[i] = (struct model_record){ .id = i < OUTPUT_MAX_NOTICES ? 100 - OUTPUT_MAX_NOTICES + i : i - OUTPUT_MAX_NOTICES, .length = 20 };
	bench->waiting_bytes = 20 * bench->end;
	output_flush(output);
	assert_int_equal(output->n_writing, OUTPUT_MAX_NOTICES + 10);
	output_interrupted(output, 50, -EPIPE, LOST_NO_READER);
	assert_int_equal(output->notices.n, OUTPUT_MAX_NOTICES - 2);
	assert_int_equal(output->waiting.n, 10);
	assert_int_equal(output_queued(output), OUTPUT_MAX_NOTICES + 8);
	bench->n_writing = 0;
	bench->writing = false;
	bench->first = 2;
	output_retry(output);
	assert_int_equal(output->n_writing, OUTPUT_MAX_NOTICES + 8);
	output_written(output);
	assert_int_equal(output->emitted, output->delivered + output->lost);
	bench->writing = false;
	bench_free(bench);
}

/* A batch is no longer than a file may be, but for a record that is longer. */
static void test_batch_limit(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1 << 20);

	(void)state;
	bench->output->spec.rotate_bytes = 1000;
	bench->limited = true;
	push(bench, 400, 0, false);
	push(bench, 600, 0, false);
	push(bench, 1, 0, false);
	push(bench, 2000, 0, false);
	push(bench, 1000, 0, true);
	for (unsigned i = 0, expected[] = { 1000, 1, 2000, 1000 }; i < 4; i++) {
		flush(bench);
		assert_int_equal(batch_bytes(bench), expected[i]);
		finish_write(bench);
	}
	bench_free(bench);
}

static void test_error_at_once(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1 << 20);

	(void)state;
	for (unsigned i = 0; i < 2000; i++)
		push(bench, 10, 0, false);
	bench->write_error = -ENOMEM;
	flush(bench);
	assert_int_equal(bench->output->lost, 2000);
	assert_int_equal(bench->n_progress, 1);
	bench_free(bench);
}

static void test_error_when_idle(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 100);

	(void)state;
	push(bench, 100, 0, false);
	close_write(bench, 0, -EPIPE);	/* the reader has gone */
	assert_false(output_blocks(bench->output));
	bench_free(bench);
}

/* The end with a write that hangs: all counts as lost, but what the writer still reads stays where it is. */
static void test_abandon(void **state)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1 << 20);
	struct arena *arenas[OUTPUT_BATCH_RECORDS];
	unsigned n;

	(void)state;
	for (unsigned i = 0; i < 1100; i++)
		push(bench, 300, i % 4, false);
	flush(bench);
	n = bench->output->n_writing;
	for (unsigned i = 0; i < n; i++)
		arenas[i] = bench->output->writing[i].arena;
	for (unsigned i = 0; i < bench->n_writing; i++)
		bench->lost_by[LOST_SHUTDOWN][bench->queue[bench->writing_first + i].dataset]++;
	bench->n_writing = 0;
	while (bench->first < bench->end)
		model_lose_oldest(bench, LOST_SHUTDOWN);
	bench->closed = true;
	assert_true(output_abandon(bench->output));
	bench->n_closes = 1;	/* the process ends around the writer */
	check_counters(bench);
	assert_int_equal(bench->output->lost, 1100);
	for (unsigned i = 0; i < bench->output->n_batch; i++)
		assert_int_equal(((char *)bench->output->batch[i].iov_base)[299], '\n');
	for (unsigned i = 0; i < n; i++)
		arena_drop(arenas[i]);	/* the process would end here */
	bench->writing = false;
	bench_free(bench);
}

/* --- at random --- */

static void random_step(struct bench *bench, struct random *random)
{
	switch (random_below(random, 20)) {
	case 0: case 1:
		flush(bench);
		break;
	case 2: case 3:
		if (bench->writing)
			finish_write(bench);
		break;
	case 4:
		if (bench->writing && !random_below(random, 40))
			close_write(bench, random_below(random, batch_bytes(bench)), -EPIPE);
		break;
	case 6:
		if (bench->writing && !random_below(random, 4))
			interrupt_write(bench, random_below(random, batch_bytes(bench)), -ENOSPC, LOST_DISK_FULL);
		break;
	case 7:
		retry(bench);
		break;
	case 5:
		bench->write_error = random_below(random, 100) ? 0 : -EAGAIN;
		break;
	default:
		push(bench, 1 + random_below(random, bench->longest), random_below(random, OUTPUT_MAX_DATASETS), !random_below(random, 4));
	}
}

static void test_random(void **state)
{
	struct random random = { 12 };

	(void)state;
	for (unsigned round = 0; round < rounds(300); round++) {
		struct bench *bench = bench_new(round % 3, 1 + random_below(&random, 100000));
		unsigned steps = random_below(&random, 2000);

		bench->longest = 1 + random_length(&random) % LONGEST;
		for (unsigned i = 0; i < steps; i++)
			random_step(bench, &random);
		bench_free(bench);
	}
}

/* --- arenas --- */

static void test_arenas(void **state)
{
	struct arena_writer writer = { 0 };
	struct arena *first;
	char *at = arena_room(&writer, 100);

	(void)state;
	assert_non_null(at);
	first = writer.arena;
	arena_commit(&writer, 40);
	assert_ptr_equal(arena_room(&writer, ARENA_BYTES - 40), at + 40);	/* the last that fits */
	assert_ptr_equal(writer.arena, first);
	arena_hold(first);
	assert_non_null(arena_room(&writer, ARENA_BYTES - 39));
	assert_ptr_not_equal(writer.arena, first);
	memset(first->data, 'x', ARENA_BYTES);	/* held by us */
	arena_drop(first);
	at = arena_room(&writer, 3 * ARENA_BYTES);
	assert_non_null(at);
	memset(at, 'x', 3 * ARENA_BYTES);
	arena_writer_release(&writer);
	assert_null(writer.arena);
	arena_writer_release(&writer);
	arena_drop(NULL);
}

/* --- SPEC --- */

static void test_wants_probe(void **state)
{
	struct output_spec spec = { .probes = "" };

	(void)state;
	assert_true(spec_wants_probe(&spec, "tcp_connection"));
	strcpy(spec.probes, "tcp_connection+nic");
	assert_true(spec_wants_probe(&spec, "tcp_connection"));
	assert_true(spec_wants_probe(&spec, "nic"));
	assert_false(spec_wants_probe(&spec, "tcp"));
	assert_false(spec_wants_probe(&spec, "nic_throughput"));
	assert_false(spec_wants_probe(&spec, "connection+nic"));
	assert_false(spec_wants_probe(&spec, ""));
}

/* One line for a SPEC of any length, and nothing is written beyond what has room. */
static void test_wrong_spec(void **state)
{
	static struct capture capture;
	struct output_spec parsed;
	char *spec = malloc(100000);

	(void)state;
	assert_non_null(spec);
	for (unsigned length = 1; length < 100000; length = length * 3 + 1) {
		memset(spec, 'x', length);
		spec[length] = 0;
		capture_begin(&capture, STDERR_FILENO);
		assert_int_equal(spec_parse("--output", spec, &parsed), -EINVAL);
		check_one_line(capture_end(&capture), "--output");
	}
	free(spec);
	output_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_batch_records),
		cmocka_unit_test(test_grow),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_drop_newest),
		cmocka_unit_test(test_drop_oldest),
		cmocka_unit_test(test_drop_oldest_bound),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_notices),
		cmocka_unit_test(test_batch_limit),
		cmocka_unit_test(test_error_at_once),
		cmocka_unit_test(test_error_when_idle),
		cmocka_unit_test(test_abandon),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_arenas),
		cmocka_unit_test(test_wants_probe),
		cmocka_unit_test(test_wrong_spec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
