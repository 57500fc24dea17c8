/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens in a run: rings, ticks, timers, signals. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "notify.h"
#include "ring.h"
#include "run.h"

#define BATCH_RECORDS 1024	/* of a ring; then the outputs have their turn */
#define GATHER_MS 50
#define STATUS_MS 10000

static bool take_event(void *context, const void *record, size_t size)
{
	struct probe_slot *slot = context;

	(void)size;
	if (outputs_block(&slot->agent->outputs)) {
		slot->agent->held_back = true;
		return false;
	}
	loop_take_record(&slot->run, record);
	return true;
}

void loop_flush(struct agent *agent)
{
	outputs_flush(&agent->outputs);
	if (agent->config->count && agent->probe_records == agent->config->count)
		end_begin(agent);
}

/* --- rings --- */

static void on_more(uv_idle_t *idle);

/* Rows that a walk has read, or is reading, are older than what comes into the ring: they go first. */
void loop_drain(struct probe_slot *slot)
{
	if (!slot->run.ring || slot->walk.is_reading || slot->walk.taken < slot->walk.have)
		return;
	if (ring_drain(slot->run.ring, BATCH_RECORDS, take_event, slot) == BATCH_RECORDS)
		uv_idle_start(&slot->agent->more, on_more);
}

static void drain_all(struct agent *agent)
{
	agent->held_back = false;
	for (unsigned i = 0; i < agent->n_slots; i++)
		loop_drain(agent->slots[i]);
	loop_flush(agent);
}

/* In the loop's next turn: a timer of 0 ms would come again in this one. */
static void on_more(uv_idle_t *idle)
{
	uv_idle_stop(idle);
	drain_all(idle->data);
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

void loop_tick(struct probe_slot *slot)
{
	struct probe_run *run = &slot->run;
	uint64_t now = clock_now();

	if (!slot->attached || !run->probe->tick || run->probe->walks || now <= run->interval.start)
		return;
	run->probe->tick(run, now);
	probe_begin_interval(run, now);
}

/* What is in the ring belongs to the interval that ends. */
static void drain_pending(struct probe_slot *slot)
{
	if (slot->run.ring)
		ring_drain(slot->run.ring, ring_pending(slot->run.ring) / slot->run.record->size, take_event, slot);
}

/* Where a walk still goes on, its interval does so as well. */
void loop_walk(struct probe_slot *slot)
{
	struct agent *agent = slot->agent;
	uint64_t now = clock_now();

	if (!slot->attached || !slot->run.probe->walks || slot->walk.is_active || now <= slot->run.interval.start)
		return;
	drain_pending(slot);
	if (outputs_block(&agent->outputs) && !agent->stopping)
		return;
	probe_begin_interval(&slot->run, now);
	if (slot->run.probe->tick)
		slot->run.probe->tick(&slot->run, now);
	walk_start(slot);
}

/* While an output blocks, nothing is added to it: intervals grow longer, and losses are told of later, with their totals. */
static void on_tick(uv_timer_t *timer)
{
	struct probe_slot *slot = timer->data;

	if (outputs_block(&slot->agent->outputs))
		return;
	loop_tick(slot);
	loop_walk(slot);
	loop_flush(slot->agent);
}

static void collect_all(struct agent *agent)
{
	for (unsigned i = 0; i < agent->n_slots; i++) {
		struct probe_run *run = &agent->slots[i]->run;

		if (agent->slots[i]->attached && run->probe->collect)
			run->probe->collect(run, false);
	}
}

static void follow_all(struct agent *agent)
{
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i]->attached)
			probe_follow(&agent->slots[i]->run);
}

static void on_second(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	clock_sample();
	follow_all(agent);
	outputs_sweep(&agent->outputs, uv_now(&agent->loop));
	if (!outputs_block(&agent->outputs)) {
		collect_all(agent);
		report_losses(agent);
	}
	loop_flush(agent);
}

static void on_status(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	if (!outputs_block(&agent->outputs))
		report_status(agent);
	loop_flush(agent);
}

/* From the loop itself: one that hangs says nothing. */
static void on_watchdog(uv_timer_t *timer)
{
	(void)timer;
	notify("WATCHDOG=1");
}

static void on_duration(uv_timer_t *timer)
{
	end_begin(timer->data);
}

/* What happened before the step is written with the old offset. */
static void on_clock_step(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;

	(void)status;
	(void)events;
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i]->run.ring && !agent->slots[i]->walk.is_active)
			ring_drain(agent->slots[i]->run.ring, UINT32_MAX, take_event, agent->slots[i]);
	clock_step_acknowledge(agent->clock_step_fd);
	clock_sample();
	loop_flush(agent);
}

static void on_signal(uv_signal_t *signal, int number)
{
	struct agent *agent = signal->data;

	if (agent->stopping && number == SIGINT)
		_exit(130);	/* asked twice */
	if (number == SIGHUP && (outputs_rotate(&agent->outputs) || agent->config->file)) {
		if (agent->config->file && !agent->stopping)
			reload_begin(agent);
		return;
	}
	end_begin(agent);
}

void loop_walk_ended(struct agent *agent)
{
	if (agent->reload)
		reload_go_on(agent);
	else if (agent->stopping)
		end_go_on(agent);
}

/* The run goes on while there is an output. A reader that went away is no failure: that is how `netline | head` ends. */
static void on_output_closed(struct agent *agent, const struct output *output)
{
	if (output->error != -EPIPE) {
		log_error("%s: %s", output->name, strerror(-output->error));
		agent->exit_code = EXIT_FAILED;
	}
	if (outputs_closed(&agent->outputs))
		end_begin(agent);
	else
		log_notice("%s: closed; the other outputs go on", output->name);
}

void loop_output_progress(struct output *output, void *context)
{
	struct agent *agent = context;

	if (output->state == OUTPUT_CLOSED && !output->listener && !agent->stopping)
		on_output_closed(agent, output);
	for (unsigned i = 0; i < agent->n_slots && !outputs_block(&agent->outputs); i++)
		walk_resume(agent->slots[i]);
	if (agent->stopping)
		end_go_on(agent);
	else if (agent->held_back)
		drain_all(agent);
	else
		output_flush(output);	/* what gathered meanwhile; the rings are left to gather */
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

void loop_set_interval(struct probe_slot *slot)
{
	uint64_t ms = slot->config.interval_ns / 1000000;

	if (slot->attached && !slot->is_silent)
		uv_timer_start(&slot->tick, on_tick, ms, ms);
}

/* Of the whole run. */
void loop_set_duration(struct agent *agent)
{
	uint64_t passed = clock_now() - agent->started, duration = agent->config->duration_ns;

	if (duration)
		uv_timer_start(&agent->duration, on_duration, duration > passed ? (duration - passed) / 1000000 : 0, 0);
	else
		uv_timer_stop(&agent->duration);
}

/* To the slot's ring, and its interval begins. */
int loop_listen(struct probe_slot *slot)
{
	struct agent *agent = slot->agent;
	int err;

	uv_timer_init(&agent->loop, &slot->gather);
	uv_timer_init(&agent->loop, &slot->tick);
	slot->gather.data = slot->tick.data = slot->ready.data = slot;
	loop_set_interval(slot);
	if (!slot->run.ring)
		return 0;
	if (slot->run.settings.no_wakeups)
		uv_timer_start(&agent->poll, on_poll, GATHER_MS, GATHER_MS);
	err = uv_poll_init(&agent->loop, &slot->ready, ring_fd(slot->run.ring)) ?: uv_poll_start(&slot->ready, UV_READABLE, on_ready);
	if (!err)
		on_ready(&slot->ready, 0, 0);	/* what came before we listened */
	return err;
}

int loop_start(struct agent *agent)
{
	const struct config *config = agent->config;
	int err = 0;

	uv_update_time(&agent->loop);	/* attaching took a while: intervals begin now */
	start_timer(agent, &agent->second, on_second, 1000, true);
	start_timer(agent, &agent->status, on_status, STATUS_MS, true);
	start_timer(agent, &agent->duration, on_duration, config->duration_ns / 1000000, false);
	start_timer(agent, &agent->watchdog, on_watchdog, notify_watchdog() / 2000000, true);
	end_init(agent);
	uv_idle_init(&agent->loop, &agent->more);
	agent->more.data = agent;
	start_timer(agent, &agent->poll, on_poll, 0, false);
	start_signal(agent, &agent->interrupt, SIGINT);
	start_signal(agent, &agent->terminate, SIGTERM);
	start_signal(agent, &agent->hangup, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);	/* EFBIG tells it */
	agent->clock_step_fd = clock_step_fd();
	if (agent->clock_step_fd >= 0) {
		err = uv_poll_init(&agent->loop, &agent->clock_step, agent->clock_step_fd);
		agent->clock_step.data = agent;
		err = err ?: uv_poll_start(&agent->clock_step, UV_READABLE, on_clock_step);
	}
	for (unsigned i = 0; i < agent->n_slots && !err; i++)
		err = loop_listen(agent->slots[i]);
	return err;
}
