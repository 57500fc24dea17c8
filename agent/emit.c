/* SPDX-License-Identifier: BSD-2-Clause */
/* Records on their way from probes, and from the agent itself, to the outputs: encoded once. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "run.h"

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
	outputs_push(&agent->outputs, agent->writer.arena, agent->writer.arena->used, length, dataset);
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

	if (slot->is_silent || (agent->config->count && agent->probe_records == agent->config->count)) {
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
