/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue of an output, with a writer that only remembers: what comes out, in which order, and that nothing goes uncounted. */
#include <errno.h>
#include <stdio.h>

#include "../../agent/output/output.h"
#include "capture.h"

#define MAX_MODEL 20000
#define LONGEST 4096

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
	bool closed;

	int write_error;			/* with which the writer ends at once */
	bool writing;
	unsigned longest;			/* in random steps */
	unsigned n_writes, n_closes, n_progress;
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
	assert_true(bench->first == bench->end || n == OUTPUT_BATCH_RECORDS || output->n_batch == OUTPUT_BATCH_IOVS);
}

static void model_written(struct bench *bench, size_t bytes, int error);

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
		model_written(bench, 0, bench->write_error);
		output_written(output, 0, bench->write_error);
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

static const struct output_ops fake_ops = { .write = fake_write, .close = fake_close };

static struct bench *bench_new(enum full_policy full, uint64_t queue_bytes)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct output *output = calloc(1, sizeof(*output));

	assert_true(bench && output);
	*output = (struct output){ .ops = &fake_ops, .spec = { .full = full, .queue_bytes = queue_bytes }, .state = OUTPUT_OPEN,
				   .on_progress = fake_progress, .context = bench };
	bench->output = output;
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

	assert_int_equal(output->emitted, output->delivered + output->n_waiting + output->n_writing + output->lost);
	assert_int_equal(output->emitted, bench->emitted);
	assert_int_equal(output->delivered, bench->delivered);
	assert_int_equal(output->lost, model_lost(bench));
	assert_int_equal(output->n_waiting, bench->end - bench->first);
	assert_int_equal(output->waiting_bytes, bench->waiting_bytes);
	assert_int_equal(output->n_writing, bench->n_writing);
	assert_int_equal(output->bytes, bench->bytes);
	assert_memory_equal(output->lost_by, bench->lost_by, sizeof(bench->lost_by));
	assert_int_equal(output->state, bench->closed ? OUTPUT_CLOSED : OUTPUT_OPEN);
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
		model_lose_oldest(bench, LOST_QUEUE_FULL);
	if (spec->full == FULL_DROP_NEWEST && bench->waiting_bytes >= spec->queue_bytes) {
		bench->lost_by[LOST_QUEUE_FULL][record.dataset]++;
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

/* The model of a write's end. */
static void model_written(struct bench *bench, size_t bytes, int error)
{
	enum lost_reason reason = error == -ENOSPC ? LOST_DISK_FULL : LOST_WRITE_ERROR;
	size_t at = 0;

	for (unsigned i = 0; i < bench->n_writing; i++) {
		const struct model_record *record = &bench->queue[bench->writing_first + i];

		at += record->length;
		if (at <= bytes)
			bench->delivered++;
		else
			bench->lost_by[reason][record->dataset]++;
	}
	bench->bytes += bytes;
	bench->n_writing = 0;
	bench->writing = false;
	bench->closed = error;
	while (error && bench->first < bench->end)
		model_lose_oldest(bench, reason);
}

static size_t batch_bytes(const struct bench *bench)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < bench->output->n_batch; i++)
		bytes += bench->output->batch[i].iov_len;
	return bytes;
}

static void finish_write(struct bench *bench, size_t bytes, int error)
{
	unsigned n_progress = bench->n_progress;

	assert_true(bench->writing);
	model_written(bench, bytes, error);
	output_written(bench->output, bytes, error);
	assert_int_equal(bench->n_progress, n_progress + 1);
	if (error)
		assert_int_equal(bench->output->error, error);
	check_counters(bench);
}

/* A flush begins a write if there is something, none is under way, and the output is open. */
static void flush(struct bench *bench)
{
	bool begins = bench->first < bench->end && !bench->writing && !bench->closed;
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
		if (!bench->writing)
			flush(bench);
		finish_write(bench, batch_bytes(bench), 0);
	}
}

/* With what is queued; arenas that were not let go are leaks. */
static void bench_free(struct bench *bench)
{
	if (bench->writing)
		finish_write(bench, batch_bytes(bench), 0);
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
	finish_write(bench, batch_bytes(bench), 0);
	flush(bench);
	assert_int_equal(bench->output->n_writing, 1);
	finish_write(bench, 50, 0);
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
	finish_write(bench, batch_bytes(bench), 0);
	flush(bench);
	assert_int_equal(bench->output->n_batch, 100 - OUTPUT_BATCH_IOVS);
	finish_write(bench, batch_bytes(bench), 0);
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
	finish_write(bench, batch_bytes(bench), 0);
	flush(bench);
	assert_int_equal(bench->output->n_writing, 500);
	finish_write(bench, batch_bytes(bench), 0);
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
	assert_int_equal(bench->output->n_waiting, 3);
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
	assert_int_equal(bench->output->n_waiting, 10);
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
		assert_true(bench->output->waiting_bytes < 10000 + LONGEST);
	}
	bench_free(bench);
}

/* --- errors --- */

/* What was written whole is delivered, a part of a record is not; all else is lost, and so is what comes after. */
static void check_error(int error, enum lost_reason reason)
{
	struct bench *bench = bench_new(FULL_BLOCK, 1 << 20);

	for (unsigned i = 0; i < 10; i++)
		push(bench, 100, i, i % 2);
	flush(bench);
	push(bench, 100, 10, false);
	finish_write(bench, 350, error);
	assert_int_equal(bench->output->delivered, 3);
	assert_int_equal(bench->output->bytes, 350);
	assert_int_equal(bench->output->lost, 8);
	assert_int_equal(bench->output->lost_by[reason][10], 1);
	push(bench, 100, 11, false);
	assert_int_equal(bench->output->lost_by[LOST_WRITE_ERROR][11], 1);
	flush(bench);
	assert_int_equal(bench->n_writes, 1);
	bench_free(bench);
}

static void test_error(void **state)
{
	(void)state;
	check_error(-EIO, LOST_WRITE_ERROR);
	check_error(-EPIPE, LOST_WRITE_ERROR);
	check_error(-ENOSPC, LOST_DISK_FULL);
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
	bench->closed = true;
	model_lose_oldest(bench, LOST_WRITE_ERROR);
	output_written(bench->output, 0, -EPIPE);	/* the reader has gone */
	check_counters(bench);
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
	output_abandon(bench->output);
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
			finish_write(bench, batch_bytes(bench), 0);
		break;
	case 4:
		if (bench->writing && !random_below(random, 40))
			finish_write(bench, random_below(random, batch_bytes(bench)), random_below(random, 2) ? -ENOSPC : -EPIPE);
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
	struct output output = { .spec.probes = "" };

	(void)state;
	assert_true(output_wants_probe(&output, "tcp_connection"));
	strcpy(output.spec.probes, "tcp_connection+nic");
	assert_true(output_wants_probe(&output, "tcp_connection"));
	assert_true(output_wants_probe(&output, "nic"));
	assert_false(output_wants_probe(&output, "tcp"));
	assert_false(output_wants_probe(&output, "nic_throughput"));
	assert_false(output_wants_probe(&output, "connection+nic"));
	assert_false(output_wants_probe(&output, ""));
}

/* Nothing is opened, and nothing is written beyond the name, for a SPEC of any length. */
static void test_wrong_spec(void **state)
{
	static struct capture capture;
	struct output *output = NULL;
	char *spec = malloc(100000);

	(void)state;
	assert_non_null(spec);
	for (unsigned length = 1; length < 100000; length = length * 3 + 1) {
		memset(spec, 'x', length);
		spec[length] = 0;
		capture_begin(&capture, STDERR_FILENO);
		assert_int_equal(output_new(NULL, spec, &output), -EINVAL);
		check_one_line(capture_end(&capture), "--output");
		assert_null(output);
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
		cmocka_unit_test(test_error),
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
