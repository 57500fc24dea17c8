/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory runs out at each allocation in turn. The sources are compiled in here once more, with an allocator that fails on
 * request and under names of their own: sanitizers and valgrind keep theirs, and see what is not freed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../schema/tcp_connection.h"
#include "unit.h"

static unsigned left;	/* allocations until one fails; 0: none does */

static bool fails(void)
{
	return left && !--left;
}

static void *failing_malloc(size_t size)
{
	return fails() ? NULL : malloc(size);
}

static void *failing_calloc(size_t n, size_t size)
{
	return fails() ? NULL : calloc(n, size);
}

static void *failing_realloc(void *old, size_t size)
{
	return fails() ? NULL : realloc(old, size);
}

#define malloc failing_malloc
#define calloc failing_calloc
#define realloc failing_realloc

#define plan_new memory_plan_new
#define plan_free memory_plan_free
#include "../../agent/plan.c"

#define arena_room memory_arena_room
#define arena_commit memory_arena_commit
#define arena_writer_release memory_arena_writer_release
#define arena_hold memory_arena_hold
#define arena_drop memory_arena_drop
#include "../../agent/buf.c"

#define output_new memory_output_new
#define output_free memory_output_free
#define output_blocks memory_output_blocks
#define output_push memory_output_push
#define output_flush memory_output_flush
#define output_idle memory_output_idle
#define output_queued memory_output_queued
#define output_abandon memory_output_abandon
#define output_written memory_output_written
#define output_interrupted memory_output_interrupted
#define output_closed memory_output_closed
#define output_opened memory_output_opened
#define output_retry memory_output_retry
#include "../../agent/output/output.c"

#undef malloc
#undef calloc
#undef realloc

/* Fails at the first, second, ... allocation until it gets by without failing; nothing is given back before. */
static void test_plan(void **state)
{
	static const struct label labels[] = { { "a", "1" }, { "b", "2" } };
	const struct facts facts = {
		.text = { "host", "id", "version", "kernel" }, .labels = labels, .n_labels = COUNT_OF(labels),
	};
	struct plan untouched, *plan = &untouched;
	unsigned n = 0;
	int err;

	(void)state;
	do {
		left = ++n;
		err = plan_new(&tcp_connection_record, &facts, &plan);
		assert_true(!err || (err == -ENOMEM && plan == &untouched));
	} while (err);
	assert_true(left && n > 20);
	left = 0;
	plan_free(plan);
}

/* The arena that is being filled stays. */
static void test_arena(void **state)
{
	struct arena_writer writer = { 0 };
	struct arena *arena;

	(void)state;
	left = 1;
	assert_null(arena_room(&writer, 10));
	assert_non_null(arena_room(&writer, 10));
	arena = writer.arena;
	left = 1;
	assert_null(arena_room(&writer, 2 * ARENA_BYTES));
	assert_ptr_equal(writer.arena, arena);
	assert_non_null(arena_room(&writer, 10));
	left = 0;
	arena_writer_release(&writer);
}

static void nothing(struct output *output)
{
	(void)output;
}

/* A queue that cannot grow loses the record that came, counts it, and keeps those that it has. */
static void test_queue(void **state)
{
	static const struct output_ops ops = { .close = nothing };
	struct output *output = calloc(1, sizeof(*output));
	struct arena_writer writer = { 0 };

	(void)state;
	assert_non_null(output);
	*output = (struct output){ .ops = &ops, .state = OUTPUT_OPEN, .notice_dataset = 9, .drop_reason = LOST_QUEUE_FULL, .spec = { .full = FULL_BLOCK, .queue_bytes = 1 << 20 } };
	for (unsigned i = 0; i < 1100; i++) {
		assert_non_null(arena_room(&writer, 10));
		left = i % 3 ? 1 : 0;
		output_push(output, writer.arena, writer.arena->used, 10, 3);
		left = 0;
		arena_commit(&writer, 10);
		assert_int_equal(output->emitted, i + 1);
		assert_int_equal(output->emitted, output->waiting.n + output->lost);
	}
	assert_in_range(output->lost, 1, 20);
	assert_int_equal(output->lost_by[LOST_QUEUE_FULL][3], output->lost);
	for (unsigned i = 0; i < output->waiting.n; i++)
		assert_int_equal(output->waiting.records[(output->waiting.head + i) & (output->waiting.room - 1)].length, 10);
	output_free(output);
	arena_writer_release(&writer);
}

static void test_output_new(void **state)
{
	struct output *output = NULL;
	struct output_spec spec;

	(void)state;
	assert_int_equal(spec_begin("", "stdout", &spec), 0);
	left = 1;
	assert_int_equal(output_new(NULL, &spec, &output), -ENOMEM);
	assert_null(output);
	left = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_output_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
