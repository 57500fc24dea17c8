/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens in a run: records from rings and ticks to the output, timers, and the end in order. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "ring.h"
#include "run.h"

#define BATCH_RECORDS 1024	/* between two looks at the other handles of the loop */
#define GATHER_MS 50
#define STATUS_MS 10000
#define SHUTDOWN_MS 5000
#define MAX_WAITS 500	/* of 1 ms */

/* --- records --- */

/* Headers define records as static: each source file has its own copy. */
unsigned agent_dataset(const struct agent *agent, const struct record *record)
{
	unsigned i = 0;

	while (strcmp(agent->records[i]->name, record->name))
		i++;
	return i;
}

/* False: the line is too long. */
static bool write_record(struct agent *agent, unsigned dataset, const void *wire)
{
	struct plan *plan = agent->plans[dataset];
	char *out = arena_room(&agent->writer, plan_room(plan));
	size_t length;

	if (!out) {
		log_error("no memory for records");
		abort();
	}
	length = plan_encode(plan, wire, agent->sequences[dataset] + 1, clock_offset(), out);
	if (length > LINE_MAX_BYTES)
		return false;
	agent->sequences[dataset]++;
	if (agent->output->datasets & 1u << dataset)
		output_push(agent->output, agent->writer.arena, agent->writer.arena->used, length, dataset);
	arena_commit(&agent->writer, length);
	return true;
}

void agent_write(struct agent *agent, const struct record *record, const void *wire)
{
	write_record(agent, agent_dataset(agent, record), wire);
}

#define MAX_WIRE 512

/* Where a probe's records go. */
void loop_take_record(struct probe_run *run, const void *wire)
{
	struct probe_slot *slot = run->context;
	struct agent *agent = slot->agent;
	uint64_t completed[MAX_WIRE / 8];
	uint64_t weight = probe_weight(run, wire);

	if (agent->config->count && agent->probe_records == agent->config->count) {
		run->refused += weight;
		return;
	}
	if (run->probe->complete) {
		memcpy(completed, wire, run->record->size);
		run->probe->complete(run, completed);
		wire = completed;
	}
	if (!write_record(agent, slot->dataset, wire)) {
		run->lost_by[LOST_LINE_TOO_LONG] += weight;
		return;
	}
	run->emitted += weight;
	agent->probe_records++;
}

static bool take_event(void *context, const void *record, size_t size)
{
	struct probe_slot *slot = context;

	(void)size;
	if (output_blocks(slot->agent->output)) {
		slot->agent->held_back = true;
		return false;
	}
	loop_take_record(&slot->run, record);
	return true;
}

void loop_flush(struct agent *agent)
{
	output_flush(agent->output);
	if (agent->config->count && agent->probe_records == agent->config->count)
		loop_stop(agent);
}

/* --- rings --- */

static void on_gathered(uv_timer_t *timer);

/* Rows that a walk has read, or is reading, are older than what comes into the ring: they go first. */
void loop_drain(struct probe_slot *slot)
{
	if (!slot->run.ring || slot->walk.is_reading || slot->walk.taken < slot->walk.have)
		return;
	if (ring_drain(slot->run.ring, BATCH_RECORDS, take_event, slot) == BATCH_RECORDS)
		uv_timer_start(&slot->gather, on_gathered, 0, 0);
}

static void drain_all(struct agent *agent)
{
	agent->held_back = false;
	for (unsigned i = 0; i < agent->n_slots; i++)
		loop_drain(&agent->slots[i]);
	loop_flush(agent);
}

static void on_gathered(uv_timer_t *timer)
{
	struct probe_slot *slot = timer->data;

	loop_drain(slot);
	loop_flush(slot->agent);
}

/* For rings that do not wake us. */
static void on_poll(uv_timer_t *timer)
{
	drain_all(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct probe_slot *slot = poll->data;

	(void)status;
	(void)events;
	ring_acknowledge(slot->run.ring);
	if (ring_pending(slot->run.ring) >= slot->run.settings.wake_bytes)
		on_gathered(&slot->gather);
	else if (!uv_is_active((uv_handle_t *)&slot->gather))
		uv_timer_start(&slot->gather, on_gathered, GATHER_MS, 0);
}

/* --- timers --- */

static void tick_all(struct agent *agent)
{
	uint64_t now = clock_now();

	for (unsigned i = 0; i < agent->n_slots; i++) {
		struct probe_run *run = &agent->slots[i].run;

		if (!agent->slots[i].attached || !run->probe->tick || run->probe->walks || now <= run->interval.start)
			continue;
		run->probe->tick(run, now);
		probe_begin_interval(run, now);
	}
}

/* What is in the ring belongs to the interval that ends. */
static void drain_pending(struct probe_slot *slot)
{
	if (slot->run.ring)
		ring_drain(slot->run.ring, ring_pending(slot->run.ring) / slot->run.record->size, take_event, slot);
}

/* Where a walk still goes on, its interval does so as well. */
static void walk_all(struct agent *agent)
{
	uint64_t now = clock_now();

	for (unsigned i = 0; i < agent->n_slots; i++) {
		struct probe_slot *slot = &agent->slots[i];

		if (!slot->attached || !slot->run.probe->walks || slot->walk.is_active || now <= slot->run.interval.start)
			continue;
		drain_pending(slot);
		if (output_blocks(agent->output) && !agent->stopping)
			continue;
		probe_begin_interval(&slot->run, now);
		if (slot->run.probe->tick)
			slot->run.probe->tick(&slot->run, now);
		walk_start(slot);
	}
}

static bool is_walking(const struct agent *agent)
{
	bool walking = false;

	for (unsigned i = 0; i < agent->n_slots; i++)
		walking = walking || agent->slots[i].walk.is_active;
	return walking;
}

/* While the output blocks, nothing is added to it: intervals grow longer, and losses are told of later, with their totals. */
static void on_tick(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	if (output_blocks(agent->output))
		return;
	tick_all(agent);
	walk_all(agent);
	loop_flush(agent);
}

static void collect_all(struct agent *agent)
{
	for (unsigned i = 0; i < agent->n_slots; i++) {
		struct probe_run *run = &agent->slots[i].run;

		if (agent->slots[i].attached && run->probe->collect)
			run->probe->collect(run, false);
	}
}

static void follow_all(struct agent *agent)
{
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i].attached)
			probe_follow(&agent->slots[i].run);
}

static void on_second(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	clock_sample();
	follow_all(agent);
	if (!output_blocks(agent->output)) {
		collect_all(agent);
		report_losses(agent);
	}
	loop_flush(agent);
}

static void on_status(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	if (!output_blocks(agent->output))
		report_status(agent);
	loop_flush(agent);
}

static void on_duration(uv_timer_t *timer)
{
	loop_stop(timer->data);
}

/* What happened before the step is written with the old offset. */
static void on_clock_step(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;

	(void)status;
	(void)events;
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i].run.ring && !agent->slots[i].walk.is_active)
			ring_drain(agent->slots[i].run.ring, UINT32_MAX, take_event, &agent->slots[i]);
	clock_step_acknowledge(agent->clock_step_fd);
	clock_sample();
	loop_flush(agent);
}

static void on_signal(uv_signal_t *signal, int number)
{
	struct agent *agent = signal->data;

	if (agent->stopping && number == SIGINT)
		_exit(130);	/* asked twice */
	loop_stop(agent);
}

/* --- the end --- */

static void finish(struct agent *agent)
{
	agent->finished = true;
	uv_stop(&agent->loop);
}

/* Whether all that the kernel's side has made is in records; a program may still be running on another CPU. */
static bool rings_empty(struct agent *agent)
{
	struct probe_totals totals;
	bool empty = true;

	for (unsigned i = 0; i < agent->n_slots; i++) {
		struct probe_slot *slot = &agent->slots[i];

		if (!slot->attached || !slot->run.ring)
			continue;
		loop_drain(slot);
		if (slot->run.probe->collect)
			slot->run.probe->collect(&slot->run, true);
		probe_read_totals(&slot->run, &totals);
		empty = empty && !totals.in_flight && !ring_pending(slot->run.ring);
	}
	return empty;
}

static void last_records(struct agent *agent)
{
	tick_all(agent);
	report_losses(agent);
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i].attached && !agent->slots[i].is_silent)
			report_probe(agent, &agent->slots[i].run, PROBE_DETACHED);
	report_status(agent);
}

static void try_finish(struct agent *agent);

static void on_retry(uv_timer_t *timer)
{
	try_finish(timer->data);
}

/* The last walks come before the programs are detached, so that no connection closes unseen in between. True: they are over. */
static bool finish_walks(struct agent *agent)
{
	if (is_walking(agent))
		return false;
	if (!agent->last_walked) {
		agent->last_walked = true;
		walk_all(agent);
		if (is_walking(agent))
			return false;
	}
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i].attached)
			probe_detach(&agent->slots[i].run);
	return true;
}

/* Goes on with the end as far as the output lets it; called again when it has made progress. */
static void try_finish(struct agent *agent)
{
	if (agent->finished || !finish_walks(agent))
		return;
	if (!agent->last_written && !rings_empty(agent)) {
		bool blocked = output_blocks(agent->output);

		output_flush(agent->output);
		if (blocked)
			return;
		if (agent->probe_records != agent->waited_at)	/* there is progress */
			agent->waits = 0;
		agent->waited_at = agent->probe_records;
		if (agent->waits++ < MAX_WAITS) {
			uv_timer_start(&agent->retry, on_retry, 1, 0);
			return;
		}
		log_error("the kernel's counters do not add up: the last agent_status record shows by how much");
	}
	if (!agent->last_written) {
		agent->last_written = true;
		last_records(agent);
	}
	output_flush(agent->output);
	if (output_idle(agent->output) || agent->output->state == OUTPUT_CLOSED)
		finish(agent);
}

static bool count_as_lost(void *context, const void *record, size_t size)
{
	struct probe_slot *slot = context;

	(void)size;
	slot->run.lost_by[LOST_SHUTDOWN] += probe_weight(&slot->run, record);
	return true;
}

/* The output did not take everything in time. */
static void on_deadline(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i].run.ring)
			ring_drain(agent->slots[i].run.ring, UINT32_MAX, count_as_lost, &agent->slots[i]);
	output_abandon(agent->output);
	agent->unfinished = true;
	finish(agent);
}

void loop_stop(struct agent *agent)
{
	if (agent->stopping)
		return;
	agent->stopping = true;
	uv_timer_stop(&agent->tick);
	uv_timer_stop(&agent->second);
	uv_timer_stop(&agent->status);
	uv_timer_stop(&agent->duration);
	uv_timer_start(&agent->deadline, on_deadline, SHUTDOWN_MS, 0);
	try_finish(agent);
}

void loop_walk_ended(struct agent *agent)
{
	if (agent->stopping)
		try_finish(agent);
}

/* The reader of the only output went away: that is how `netline | head` ends. */
static void on_output_closed(struct agent *agent)
{
	if (agent->output->error != -EPIPE) {
		log_error("%s: %s", agent->output->name, strerror(-agent->output->error));
		agent->exit_code = EXIT_FAILED;
	}
	loop_stop(agent);
}

void loop_output_progress(struct output *output, void *context)
{
	struct agent *agent = context;

	for (unsigned i = 0; i < agent->n_slots && !output_blocks(output); i++)
		walk_resume(&agent->slots[i]);
	if (output->state == OUTPUT_CLOSED && !agent->stopping)
		on_output_closed(agent);
	else if (agent->stopping)
		try_finish(agent);
	else if (agent->held_back)
		drain_all(agent);
	else
		output_flush(agent->output);	/* what gathered meanwhile; the rings are left to gather */
}

static void start_timer(struct agent *agent, uv_timer_t *timer, uv_timer_cb callback, uint64_t ms, bool repeat)
{
	uv_timer_init(&agent->loop, timer);
	timer->data = agent;
	if (ms)
		uv_timer_start(timer, callback, ms, repeat ? ms : 0);
}

static void start_signal(struct agent *agent, uv_signal_t *signal, int number)
{
	uv_signal_init(&agent->loop, signal);
	signal->data = agent;
	uv_signal_start(signal, on_signal, number);
}

int loop_start(struct agent *agent)
{
	const struct config *config = agent->config;
	int err = 0;

	uv_update_time(&agent->loop);	/* attaching took a while: intervals begin now */
	start_timer(agent, &agent->tick, on_tick, config->interval_ns / 1000000, true);
	start_timer(agent, &agent->second, on_second, 1000, true);
	start_timer(agent, &agent->status, on_status, STATUS_MS, true);
	start_timer(agent, &agent->duration, on_duration, config->duration_ns / 1000000, false);
	start_timer(agent, &agent->deadline, on_deadline, 0, false);
	start_timer(agent, &agent->retry, on_retry, 0, false);
	start_timer(agent, &agent->poll, on_poll, 0, false);
	start_signal(agent, &agent->interrupt, SIGINT);
	start_signal(agent, &agent->terminate, SIGTERM);
	start_signal(agent, &agent->hangup, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	agent->clock_step_fd = clock_step_fd();
	if (agent->clock_step_fd >= 0) {
		err = uv_poll_init(&agent->loop, &agent->clock_step, agent->clock_step_fd);
		agent->clock_step.data = agent;
		err = err ?: uv_poll_start(&agent->clock_step, UV_READABLE, on_clock_step);
	}
	for (unsigned i = 0; i < agent->n_slots && !err; i++) {
		struct probe_slot *slot = &agent->slots[i];

		uv_timer_init(&agent->loop, &slot->gather);
		slot->gather.data = slot->ready.data = slot;
		if (!slot->run.ring)
			continue;
		if (slot->run.settings.no_wakeups)
			uv_timer_start(&agent->poll, on_poll, GATHER_MS, GATHER_MS);
		err = uv_poll_init(&agent->loop, &slot->ready, ring_fd(slot->run.ring)) ?: uv_poll_start(&slot->ready, UV_READABLE, on_ready);
		if (!err)
			on_ready(&slot->ready, 0, 0);	/* what came before we listened */
	}
	return err;
}
