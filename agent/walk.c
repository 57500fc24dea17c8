/* SPDX-License-Identifier: BSD-2-Clause */
#include "walk.h"

#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "run.h"

#define SLICE_BYTES (128 * 1024)

/* In the thread pool. */
static void read_slice(uv_work_t *work)
{
	struct probe_slot *slot = work->data;
	struct walk *walk = &slot->walk;

	walk->got = elements_read(&walk->elements, walk->rows, SLICE_BYTES);
	walk->have = walk->got > 0 ? walk->got : 0;
}

static void end_walk(struct probe_slot *slot)
{
	slot->walk.is_active = false;
	loop_walk_ended(slot->agent);
}

static void read_more(struct probe_slot *slot);

static bool is_in_use(struct probe_run *run, const struct probe_walk *part)
{
	uint32_t key = 0, in_use = 1;

	return !part->in_use || (!bpf_map_lookup_elem(probe_map_fd(run, part->in_use), &key, &in_use) && in_use);
}

/* The next map. */
static void open_part(struct probe_slot *slot)
{
	const struct probe_walk *part;

	while (part = &slot->run.probe->walks[slot->walk.part], part->program && !is_in_use(&slot->run, part))
		slot->walk.part++;
	if (!part->program) {
		end_walk(slot);
		return;
	}
	if (elements_open(&slot->walk.elements, &slot->run, part->program, part->map, slot->run.record->size)) {
		log_error("%s: %s", slot->run.probe->name, slot->run.reason);
		end_walk(slot);
		return;
	}
	read_more(slot);
}

/* Hands over what was read, as far as the output takes it. */
static void take_rows(struct probe_slot *slot)
{
	struct walk *walk = &slot->walk;

	for (; walk->taken < walk->have; walk->taken += slot->run.record->size) {
		if (outputs_block(&slot->agent->outputs))
			return;
		loop_take_record(&slot->run, walk->rows + walk->taken);
	}
	walk->have = walk->taken = 0;
	loop_drain(slot);
	if (walk->got > 0) {
		read_more(slot);
		return;
	}
	if (walk->got < 0)
		log_error("%s: cannot read the elements of %s: %s", slot->run.probe->name, slot->run.probe->walks[walk->part].map,
			  strerror(-walk->got));
	elements_close(&walk->elements);
	walk->part++;
	open_part(slot);
}

static void on_slice(uv_work_t *work, int status)
{
	struct probe_slot *slot = work->data;

	(void)status;
	slot->walk.is_reading = false;
	take_rows(slot);
	loop_flush(slot->agent);
}

static void read_more(struct probe_slot *slot)
{
	slot->walk.is_reading = true;
	slot->walk.work.data = slot;
	if (uv_queue_work(&slot->agent->loop, &slot->walk.work, read_slice, on_slice)) {
		log_error("%s: cannot read in the background", slot->run.probe->name);
		abort();
	}
}

void walk_start(struct probe_slot *slot)
{
	struct walk *walk = &slot->walk;

	if (!walk->rows)
		walk->rows = malloc(SLICE_BYTES);
	if (!walk->rows) {
		log_error("no memory for records");
		abort();
	}
	walk->is_active = true;
	walk->part = 0;
	open_part(slot);
}

void walk_resume(struct probe_slot *slot)
{
	if (slot->walk.is_active && !slot->walk.is_reading)
		take_rows(slot);
}

void walk_free(struct walk *walk)
{
	if (walk->is_active)
		elements_close(&walk->elements);
	free(walk->rows);
}
