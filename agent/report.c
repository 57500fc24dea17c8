/* SPDX-License-Identifier: BSD-2-Clause */
/* Records about the agent itself: agent_probe, agent_status, agent_lost. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clock.h"
#include "ring.h"
#include "run.h"

static const enum lost_stage stage_of[LOST_REASONS] = {
	[LOST_RING_FULL] = LOST_KERNEL, [LOST_RECURSION] = LOST_KERNEL, [LOST_MISSED] = LOST_KERNEL,
	[LOST_MAP_FULL] = LOST_MAP, [LOST_UNMATCHED] = LOST_MAP,
	[LOST_LINE_TOO_LONG] = LOST_FORMAT,
	[LOST_QUEUE_FULL] = LOST_OUTPUT, [LOST_DISK_FULL] = LOST_OUTPUT, [LOST_WRITE_ERROR] = LOST_OUTPUT,
	[LOST_NO_READER] = LOST_OUTPUT, [LOST_SHUTDOWN] = LOST_OUTPUT,
};

void report_probe(struct agent *agent, const struct probe_run *run, enum probe_action action)
{
	struct agent_probe record = { .time.ns = clock_now(), .action = action };

	strncpy(record.name, run->probe->name, sizeof(record.name) - 1);
	if (action == PROBE_UNAVAILABLE) {
		memcpy(record.reason, run->reason, sizeof(record.reason));
	} else {
		record.way = run->way->kind;
		memcpy(record.hooks, run->hooks, sizeof(record.hooks));
	}
	agent_write(agent, &agent_probe_record, &record);
}

/* All members that do not apply are absent. */
static struct agent_status blank(enum status_scope scope, uint64_t now)
{
	struct agent_status record;

	memset(&record, 0xff, sizeof(record));
	memset(record.probe, 0, sizeof(record.probe));
	memset(record.output, 0, sizeof(record.output));
	memset(record.pad, 0, sizeof(record.pad));
	record.time.ns = now;
	record.scope = scope;
	record.state = OUTPUT_NONE;
	return record;
}

static uint64_t rss_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	uint64_t size, resident = 0;

	if (file && fscanf(file, "%" SCNu64 " %" SCNu64, &size, &resident) != 2)
		resident = 0;
	if (file)
		fclose(file);
	return resident * sysconf(_SC_PAGESIZE);
}

static uint64_t cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000ull +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000ull;
}

void report_slot(struct agent *agent, struct probe_slot *slot, uint64_t now)
{
	struct agent_status record = blank(STATUS_PROBE, now);
	struct probe_totals totals;

	probe_read_totals(&slot->run, &totals);
	strncpy(record.probe, slot->run.probe->name, sizeof(record.probe) - 1);
	record.produced = totals.produced;
	record.emitted = totals.emitted;
	record.filtered = totals.filtered;
	record.lost = totals.lost;
	record.bpf_runs = totals.bpf_runs;
	record.bpf_ns = totals.bpf_ns;
	if (slot->run.ring)
		record.ring_peak_bytes = ring_peak(slot->run.ring);
	agent_write(agent, &agent_status_record, &record);
}

static void report_output(struct agent *agent, const struct output *output, uint64_t now)
{
	struct agent_status record = blank(STATUS_OUTPUT, now);

	memcpy(record.output, output->name, sizeof(record.output));
	record.state = output->state;
	record.output_emitted = output->emitted;
	record.delivered = output->delivered;
	record.queued = output_queued(output);
	record.output_lost = output->lost;
	record.bytes = output->bytes;
	agent_write(agent, &agent_status_record, &record);
}

void report_status(struct agent *agent)
{
	uint64_t now = clock_now();
	struct agent_status record = blank(STATUS_AGENT, now);

	record.uptime_ns = now - agent->started;
	record.cpu_ns = cpu_ns();
	record.rss_bytes = rss_bytes();
	agent_write(agent, &agent_status_record, &record);
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i]->attached && !agent->slots[i]->is_silent)
			report_slot(agent, agent->slots[i], now);
	for (unsigned i = 0; i < agent->outputs.n; i++)
		report_output(agent, agent->outputs.all[i], now);
}

/* Tells of what was lost since `told`, and remembers it. */
static void report_loss(struct agent *agent, enum lost_reason reason, const struct record *what, uint64_t total, uint64_t *told,
			const char *output)
{
	struct agent_lost record = { .time.ns = clock_now(), .count = total - *told, .count_total = total,
				     .stage = stage_of[reason], .reason = reason };
	char words[32];

	if (total == *told)
		return;
	*told = total;
	strcpy(words, lost_reasons[reason]);
	for (char *at = words; *at; at++)
		if (*at == '_')
			*at = ' ';
	snprintf(record.message, sizeof(record.message), "%" PRIu64 " %s %s lost: %s", (uint64_t)record.count, what->name,
		 stage_of[reason] == LOST_OUTPUT ? "records" : "events", words);
	strncpy(record.dataset, what->dataset, sizeof(record.dataset) - 1);
	strncpy(record.output, output, sizeof(record.output) - 1);
	agent_write(agent, &agent_lost_record, &record);
}

/* Of agent_lost records themselves nothing is told: what they said is said again by the next, in its totals. */
void report_output_losses(struct output *output, void *context)
{
	struct agent *agent = context;

	for (unsigned reason = 0; reason < LOST_REASONS; reason++)
		for (unsigned i = 0; i < agent->n_records; i++)
			if (i != output->notice_dataset)
				report_loss(agent, reason, agent->records[i], output->lost_by[reason][i], &output->told_by[reason][i],
					    output->name);
}

void report_losses(struct agent *agent)
{
	struct probe_totals totals;

	for (unsigned i = 0; i < agent->n_slots; i++) {
		struct probe_slot *slot = agent->slots[i];

		if (!slot->attached || slot->is_silent)
			continue;
		probe_read_totals(&slot->run, &totals);
		for (unsigned reason = 0; reason < LOST_REASONS; reason++)
			report_loss(agent, reason, slot->run.record, slot->run.lost_by[reason], &slot->told_lost[reason], "");
	}
	for (unsigned i = 0; i < agent->outputs.n; i++)
		if (agent->stopping || agent->outputs.all[i]->state != OUTPUT_RETRYING || agent->outputs.all[i]->spec.kind != SPEC_FILE)
			report_output_losses(agent->outputs.all[i], agent);	/* else with the next try, each second */
}

uint64_t report_total_lost(struct agent *agent)
{
	struct probe_totals totals;
	uint64_t lost = 0;

	for (unsigned i = 0; i < agent->outputs.n; i++)
		lost += agent->outputs.all[i]->lost;
	for (unsigned i = 0; i < agent->n_slots; i++) {
		if (!agent->slots[i]->attached || agent->slots[i]->is_silent)
			continue;
		probe_read_totals(&agent->slots[i]->run, &totals);
		lost += totals.lost;
	}
	return lost;
}
