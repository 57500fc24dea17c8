/* SPDX-License-Identifier: BSD-2-Clause */
/* The state of a run, shared by agent.c (loop, life) and report.c (agent_* records). */
#ifndef NETLINE_RUN_H
#define NETLINE_RUN_H

#include <uv.h>

#include "agent.h"
#include "buf.h"
#include "output/output.h"
#include "probe.h"
#include "walk.h"

struct agent;

/* A probe in the loop. */
struct probe_slot {
	struct agent *agent;
	struct probe_run run;
	unsigned dataset;
	bool attached;
	bool is_silent;		/* not chosen: keeps the socket table for others */
	struct walk walk;
	uint64_t told_lost[LOST_REASONS];	/* in agent_lost records so far */
	uv_poll_t ready;	/* its ring was woken */
	uv_timer_t gather;	/* lets a batch gather before it is read */
};

struct agent {
	const struct config *config;
	uv_loop_t loop;
	uv_timer_t tick, second, status, duration, deadline, retry, poll;
	uv_signal_t interrupt, terminate, hangup;
	uv_poll_t clock_step;
	int clock_step_fd;

	struct probe_slot slots[MAX_PROBES];
	unsigned n_slots;

	const struct record *records[MAX_RECORDS];
	struct plan *plans[MAX_RECORDS];
	uint64_t sequences[MAX_RECORDS];
	unsigned n_records;
	struct arena_writer writer;
	struct output *output;
	uint64_t told_output_lost[LOST_REASONS][OUTPUT_MAX_DATASETS];

	uint64_t started;
	uint64_t probe_records;
	bool held_back;		/* records stay in the rings because the output blocks */
	bool stopping, last_walked, last_written, finished;
	unsigned waits;		/* for programs that still run elsewhere */
	uint64_t waited_at;	/* probe_records then */
	bool unfinished;	/* the output did not take everything before the deadline */
	int exit_code;
};

/* The number of a record type in this run. */
unsigned agent_dataset(const struct agent *agent, const struct record *record);

/* Encodes a record of the agent's own and hands it to the outputs that take it. */
void agent_write(struct agent *agent, const struct record *record, const void *wire);

int loop_start(struct agent *agent);	/* timers, signals, rings; negative libuv error */
void loop_stop(struct agent *agent);	/* begins the end: detach, drain, flush within 5 s */
void loop_take_record(struct probe_run *run, const void *wire);
void loop_drain(struct probe_slot *slot);
void loop_flush(struct agent *agent);
void loop_walk_ended(struct agent *agent);
void loop_output_progress(struct output *output, void *context);

void report_probe(struct agent *agent, const struct probe_run *run, enum probe_action action);
void report_status(struct agent *agent);
void report_losses(struct agent *agent);
uint64_t report_total_lost(struct agent *agent);
#endif
