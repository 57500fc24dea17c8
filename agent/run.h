/* SPDX-License-Identifier: BSD-2-Clause */
/* The state of a run, shared by agent.c (loop, life) and report.c (agent_* records). */
#ifndef NETLINE_RUN_H
#define NETLINE_RUN_H

#include <uv.h>

#include "agent.h"
#include "buf.h"
#include "outputs.h"
#include "probe.h"
#include "walk.h"

#define MAX_SLOTS 64

struct agent;

/* A probe in the loop. */
struct probe_slot {
	struct agent *agent;
	struct probe_config config;
	struct probe_run run;
	struct probe_slot *table;	/* on which it stands, or NULL */
	unsigned dataset;
	bool attached;
	bool is_silent;		/* not chosen, or no more: keeps the socket table for others, or is a part of it */
	bool is_leaving, last_walked;
	unsigned table_uses;	/* what is wanted of the table that it keeps */
	unsigned waits;		/* for programs that still run elsewhere */
	uint64_t waited_at;	/* what was emitted then */
	struct walk walk;
	uint64_t told_lost[LOST_REASONS];	/* in agent_lost records so far */
	uv_poll_t ready;	/* its ring was woken */
	uv_timer_t gather;	/* lets a batch gather before it is read */
	uv_timer_t tick;
	unsigned n_handles;	/* that are being closed */
};

struct slot_list {
	struct probe_slot *slots[MAX_SLOTS];
	unsigned n;
};

struct agent {
	struct config *config;
	uv_loop_t loop;
	uv_timer_t second, status, watchdog, duration, deadline, retry, poll;
	uv_idle_t more;			/* a ring has more than a batch */
	uv_signal_t interrupt, terminate, hangup;
	uv_poll_t clock_step;
	int clock_step_fd;

	struct probe_slot *slots[MAX_SLOTS];	/* a table before those that need it */
	unsigned n_slots;

	struct facts facts;
	const struct record *records[MAX_RECORDS];
	struct plan *plans[MAX_RECORDS];
	uint64_t sequences[MAX_RECORDS];
	unsigned n_records;
	struct arena_writer writer;
	struct outputs outputs;

	uint64_t started;
	uint64_t probe_records;
	struct reload *reload;	/* under way, or NULL */
	bool held_back;		/* records stay in the rings because an output blocks */
	bool stopping, last_written, finished;
	bool unfinished;	/* an output did not take everything before the deadline */
	int exit_code;
};

int agent_add_output(struct agent *agent, struct output *output);	/* takes it over */
void agent_change_output(struct agent *agent, struct output *output, const struct output_spec *spec);
#define ATTACHED_LEN 512
const char *agent_attached(const struct agent *agent, char ret_text[ATTACHED_LEN]);	/* the probes that run, and their ways */
void agent_config_changed(struct agent *agent, const struct config *old);	/* labels, host, duration */

/* The number of a record type in this run. */
unsigned agent_dataset(const struct agent *agent, const struct record *record);

/* Encodes a record of the agent's own and hands it to the outputs that take it. */
void agent_write(struct agent *agent, const struct record *record, const void *wire);

/* agent.c: takes a record of a probe */
void loop_take_record(struct probe_run *run, const void *wire);

/* The running slot of a probe that is asked to do the same, but for its interval; or NULL. */
struct probe_slot *slots_find(struct agent *agent, const struct probe *probe, const struct probe_config *config);
/* Slots for all that are chosen and do not run yet, tables before those that need them. */
void slots_make(struct agent *agent, const struct config *config, const struct choice *choice, struct slot_list *list);
void slots_start(struct slot_list *list);	/* load and attach; touches nothing else of the agent */
unsigned slots_add(struct agent *agent, struct slot_list *list);	/* how many of the chosen ones could be attached */
bool slots_in_use(const struct agent *agent, const struct probe_slot *slot);	/* as a table */
void slots_drop(struct agent *agent, struct probe_slot *slot);	/* with its silent parts */
void slots_release(struct agent *agent);

int loop_start(struct agent *agent);	/* timers, signals, rings; negative libuv error */
int loop_listen(struct probe_slot *slot);
void loop_set_interval(struct probe_slot *slot);
void loop_set_duration(struct agent *agent);
void loop_tick(struct probe_slot *slot);
void loop_walk(struct probe_slot *slot);
void loop_drain(struct probe_slot *slot);
void loop_flush(struct agent *agent);
void loop_walk_ended(struct agent *agent);
void loop_output_progress(struct output *output, void *context);

void end_init(struct agent *agent);
void end_begin(struct agent *agent);	/* detach, drain, flush within 5 s */
void end_go_on(struct agent *agent);	/* an output has made progress, or a walk is over */
bool end_walked(struct probe_slot *slot);	/* the last walk; true: it is over */
bool end_drained(struct probe_slot *slot);	/* what its programs have made is in records; true: all of it */
void end_told(struct probe_slot *slot);		/* the last records of and about the probe */

void reload_begin(struct agent *agent);		/* reads the configuration file again */
void reload_go_on(struct agent *agent);		/* a walk is over */

void report_probe(struct agent *agent, const struct probe_run *run, enum probe_action action);
void report_status(struct agent *agent);
void report_slot(struct agent *agent, struct probe_slot *slot, uint64_t now);
void report_losses(struct agent *agent);
void report_output_losses(struct output *output, void *agent);
uint64_t report_total_lost(struct agent *agent);
#endif
