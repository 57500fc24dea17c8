/* SPDX-License-Identifier: BSD-2-Clause */
/* The end in order: last walks, detach, what is in the rings, last records, all of it to the outputs; within 5 s. */
#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "notify.h"
#include "ring.h"
#include "run.h"

#define SHUTDOWN_MS 5000
#define LAST_MS 1000	/* more, for the last records */
#define MAX_WAITS 500	/* of 1 ms */

static void finish(struct agent *agent)
{
	agent->finished = true;
	uv_stop(&agent->loop);
}

bool end_walked(struct probe_slot *slot)
{
	if (slot->walk.is_active)
		return false;
	if (!slot->last_walked) {
		slot->last_walked = true;
		if (!slot->is_silent)
			loop_walk(slot);
	}
	return !slot->walk.is_active;
}

/* A program may still be running on another CPU; its record comes within MAX_WAITS, or never. */
bool end_drained(struct probe_slot *slot)
{
	struct probe_totals totals;
	uint64_t emitted;

	if (!slot->attached || !slot->run.ring)
		return true;
	loop_drain(slot);
	if (slot->run.probe->collect)
		slot->run.probe->collect(&slot->run, true);
	probe_read_totals(&slot->run, &totals);
	if ((!totals.in_flight && !ring_pending(slot->run.ring)) || slot->waits > MAX_WAITS)
		return true;
	emitted = slot->run.emitted + slot->run.refused;
	if (emitted != slot->waited_at)	/* there is progress */
		slot->waits = 0;
	slot->waited_at = emitted;
	if (!outputs_block(&slot->agent->outputs) && ++slot->waits > MAX_WAITS)
		log_error("%s: the kernel's counters do not add up: the last agent_status record shows by how much", slot->run.probe->name);
	return false;
}

static void on_retry(uv_timer_t *timer)
{
	end_go_on(timer->data);
}

/* Walks come before the programs are detached, so that no connection closes unseen in between. */
static bool all_walked(struct agent *agent)
{
	bool all = true;

	for (unsigned i = 0; i < agent->n_slots; i++)
		all = end_walked(agent->slots[i]) && all;
	for (unsigned i = 0; i < agent->n_slots && all; i++)
		if (agent->slots[i]->attached)
			probe_detach(&agent->slots[i]->run);
	return all;
}

static bool all_drained(struct agent *agent)
{
	bool all = true;

	for (unsigned i = 0; i < agent->n_slots; i++)
		all = end_drained(agent->slots[i]) && all;
	return all;
}

static void last_records(struct agent *agent)
{
	for (unsigned i = 0; i < agent->n_slots; i++)
		loop_tick(agent->slots[i]);
	report_losses(agent);
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i]->attached && !agent->slots[i]->is_silent)
			report_probe(agent, &agent->slots[i]->run, PROBE_DETACHED);
	report_status(agent);
}

/* Goes on with the end as far as the outputs let it; called again when they have made progress. */
void end_go_on(struct agent *agent)
{
	if (agent->finished || agent->reload || !all_walked(agent))
		return;
	if (!agent->last_written && !all_drained(agent)) {
		bool blocked = outputs_block(&agent->outputs);

		outputs_flush(&agent->outputs);
		if (!blocked)
			uv_timer_start(&agent->retry, on_retry, 1, 0);
		return;
	}
	if (!agent->last_written) {
		agent->last_written = true;
		last_records(agent);
	}
	outputs_flush(&agent->outputs);
	if (outputs_settled(&agent->outputs))
		finish(agent);
}

void end_told(struct probe_slot *slot)
{
	loop_tick(slot);
	report_losses(slot->agent);
	report_probe(slot->agent, &slot->run, PROBE_DETACHED);
	report_slot(slot->agent, slot, clock_now());
}

static bool count_as_lost(void *context, const void *record, size_t size)
{
	struct probe_slot *slot = context;

	(void)size;
	slot->run.lost_by[LOST_SHUTDOWN] += probe_weight(&slot->run, record);
	return true;
}

static void on_last_deadline(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	agent->unfinished = outputs_abandon(&agent->outputs) || agent->unfinished;
	finish(agent);
}

/* Not everything was taken in time. Those that did take it are told what the others have lost. */
static void on_deadline(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i]->run.ring)
			ring_drain(agent->slots[i]->run.ring, UINT32_MAX, count_as_lost, agent->slots[i]);
	agent->unfinished = outputs_abandon(&agent->outputs);
	agent->last_written = true;
	last_records(agent);
	uv_timer_start(&agent->deadline, on_last_deadline, LAST_MS, 0);
	end_go_on(agent);
}

void end_begin(struct agent *agent)
{
	if (agent->stopping)
		return;
	agent->stopping = true;
	notify("STOPPING=1");
	for (unsigned i = 0; i < agent->n_slots; i++)
		uv_timer_stop(&agent->slots[i]->tick);
	uv_timer_stop(&agent->second);
	uv_timer_stop(&agent->status);
	uv_timer_stop(&agent->duration);
	uv_timer_start(&agent->deadline, on_deadline, SHUTDOWN_MS, 0);
	end_go_on(agent);
}

void end_init(struct agent *agent)
{
	uv_timer_init(&agent->loop, &agent->deadline);
	uv_timer_init(&agent->loop, &agent->retry);
	agent->deadline.data = agent->retry.data = agent;
}
