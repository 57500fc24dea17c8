/* SPDX-License-Identifier: BSD-2-Clause */
#include "outputs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define LEAVE_MS 5000

int outputs_add(struct outputs *outputs, struct output *output)
{
	if (outputs->n == outputs->room) {
		unsigned room = outputs->room ? 2 * outputs->room : 8;
		struct output **all = realloc(outputs->all, room * sizeof(*all));

		if (!all) {
			output_free(output);
			return -ENOMEM;
		}
		outputs->all = all;
		outputs->room = room;
	}
	outputs->all[outputs->n++] = output;
	return 0;
}

static bool belongs(const struct output *one, const struct output *output)
{
	return one == output || one->listener == output;
}

void outputs_leave(struct outputs *outputs, struct output *output)
{
	for (unsigned i = 0; i < outputs->n; i++) {
		if (!belongs(outputs->all[i], output))
			continue;
		outputs->all[i]->takes = 0;
		outputs->all[i]->leave_by = uv_now(output->loop) + LEAVE_MS;
	}
}

static bool is_delivered(const struct outputs *outputs, const struct output *output)
{
	for (unsigned i = 0; i < outputs->n; i++)
		if (belongs(outputs->all[i], output) && outputs->all[i]->state != OUTPUT_CLOSED && !output_idle(outputs->all[i]))
			return false;
	return true;
}

/* With its readers. */
static void remove_output(struct outputs *outputs, struct output *output)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < outputs->n; i++) {
		struct output *one = outputs->all[i];

		if (one->listener == output)
			output_free(one);
		else if (one != output)
			outputs->all[kept++] = one;
	}
	outputs->n = kept;
	output_free(output);
}

void outputs_sweep(struct outputs *outputs, uint64_t now_ms)
{
	for (unsigned i = outputs->n; i-- > 0;) {
		struct output *output = i < outputs->n ? outputs->all[i] : NULL;

		if (output && output->leave_by && !output->listener && (is_delivered(outputs, output) || now_ms >= output->leave_by))
			remove_output(outputs, output);
	}
}

void outputs_release(struct outputs *outputs)
{
	while (outputs->n)
		output_free(outputs->all[--outputs->n]);	/* readers before their listener */
	free(outputs->all);
	outputs->all = NULL;
}

void outputs_push(struct outputs *outputs, struct arena *arena, uint32_t offset, uint16_t length, uint8_t dataset)
{
	for (unsigned i = 0; i < outputs->n; i++)
		if (outputs->all[i]->takes & 1u << dataset && !outputs->all[i]->is_vacant)
			output_push(outputs->all[i], arena, offset, length, dataset);
}

void outputs_flush(struct outputs *outputs)
{
	for (unsigned i = 0; i < outputs->n; i++)
		output_flush(outputs->all[i]);
}

bool outputs_rotate(struct outputs *outputs)
{
	bool any = false;

	for (unsigned i = 0; i < outputs->n; i++) {
		if (!outputs->all[i]->ops->rotate)
			continue;
		outputs->all[i]->ops->rotate(outputs->all[i]);
		any = true;
	}
	return any;
}

bool outputs_block(const struct outputs *outputs)
{
	for (unsigned i = 0; i < outputs->n; i++)
		if (output_blocks(outputs->all[i]))
			return true;
	return false;
}

bool outputs_settled(const struct outputs *outputs)
{
	for (unsigned i = 0; i < outputs->n; i++)
		if (outputs->all[i]->state != OUTPUT_CLOSED && !output_idle(outputs->all[i]))
			return false;
	return true;
}

bool outputs_closed(const struct outputs *outputs)
{
	for (unsigned i = 0; i < outputs->n; i++)
		if (!outputs->all[i]->listener && outputs->all[i]->state != OUTPUT_CLOSED)
			return false;
	return true;
}

bool outputs_abandon(struct outputs *outputs)
{
	bool hangs = false;

	for (unsigned i = 0; i < outputs->n; i++) {
		struct output *output = outputs->all[i];

		if (output->state == OUTPUT_CLOSED || output_idle(output))
			continue;
		log_error("%s did not take everything within 5 s: %" PRIu64 " records lost", output->name, output_queued(output));
		hangs = output_abandon(output) || hangs;
	}
	return hangs;
}
