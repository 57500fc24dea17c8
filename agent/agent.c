/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../schema/agent_lost.h"
#include "../schema/agent_probe.h"
#include "../schema/agent_status.h"
#include "clock.h"
#include "kern.h"
#include "log.h"
#include "run.h"

static bool has_record(const struct record *const *records, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(records[i]->name, name))
			return true;
	return false;
}

unsigned agent_record_types(const struct record *ret_records[MAX_RECORDS])
{
	static const struct record *const own[] = { &agent_probe_record, &agent_status_record, &agent_lost_record };
	unsigned n = 0;

	for (unsigned i = 0; i < n_probes; i++)
		ret_records[n++] = probes[i]->record;
	for (unsigned i = 0; i < n_probes; i++)
		if (probes[i]->summary_record && !has_record(ret_records, n, probes[i]->summary_record->name))
			ret_records[n++] = probes[i]->summary_record;
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		ret_records[n++] = own[i];
	return n;
}

static int make_plans(struct agent *agent, const struct facts *facts)
{
	int err = 0;

	agent->n_records = agent_record_types(agent->records);
	for (unsigned i = 0; i < agent->n_records && !err; i++)
		err = plan_new(agent->records[i], facts, &agent->plans[i]);
	return err;
}

static bool writes(const struct probe *probe, const char *name)
{
	return !strcmp(probe->record->name, name) || (probe->summary_record && !strcmp(probe->summary_record->name, name));
}

/* Which records the output takes: of its probes, agent_lost always, the agent's others if they were asked for. */
static bool takes_record(const struct output *output, const char *name)
{
	bool of_agent = true;

	for (unsigned i = 0; i < n_probes; i++) {
		if (!writes(probes[i], name))
			continue;
		if (output_wants_probe(output, probes[i]->name))
			return true;
		of_agent = false;
	}
	return of_agent && (output->spec.agent_records || !strcmp(name, agent_lost_record.name));
}

static void choose_datasets(struct agent *agent)
{
	for (unsigned i = 0; i < agent->n_records; i++)
		if (takes_record(agent->output, agent->records[i]->name))
			agent->output->datasets |= 1u << i;
}

static void collect_facts(const struct config *config, struct facts *ret_facts)
{
	static char id[17];
	static struct utsname system;
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = clock_now() ^ (uint64_t)getpid() << 48;
	snprintf(id, sizeof(id), "%016" PRIx64, random);
	uname(&system);
	*ret_facts = (struct facts){
		.text = { [FACT_HOST] = config->host, [FACT_EPHEMERAL_ID] = id, [FACT_VERSION] = NETLINE_VERSION,
			  [FACT_KERNEL] = system.release },
		.labels = config->labels, .n_labels = config->n_labels,
	};
}

static bool attach_probe(struct agent *agent, const struct probe *probe, struct probe_slot *table, unsigned table_uses, bool silent)
{
	struct probe_slot *slot = &agent->slots[agent->n_slots++];

	slot->agent = agent;
	slot->is_silent = silent;
	slot->attached = !probe_start(&slot->run, probe, agent->config, table ? &table->run : NULL, table_uses);
	slot->dataset = agent_dataset(agent, slot->run.record);
	slot->run.sink = loop_take_record;
	slot->run.context = slot;
	probe_begin_interval(&slot->run, clock_now());
	return slot->attached;
}

/* The slot of a probe that runs already, or NULL. */
static struct probe_slot *slot_of(struct agent *agent, const struct probe *probe)
{
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i].run.probe == probe)
			return &agent->slots[i];
	return NULL;
}

/* Attaches the probes, first those that others need; returns how many could be. */
static unsigned attach_probes(struct agent *agent, const struct probe *const *chosen, unsigned n)
{
	unsigned attached = 0, uses = 0;

	for (unsigned i = 0; i < n; i++)
		if (!chosen[i]->needs || probe_needs(chosen[i], agent->config))
			uses |= chosen[i]->table;
	for (unsigned i = 0; i < n; i++)
		if (!probe_needs(chosen[i], agent->config))
			attached += attach_probe(agent, chosen[i], NULL, uses, false);
	for (unsigned i = 0; i < n; i++) {
		const struct probe *needed = probe_needs(chosen[i], agent->config);

		if (!needed)
			continue;
		if (!slot_of(agent, needed))
			attach_probe(agent, needed, NULL, uses, true);
		attached += attach_probe(agent, chosen[i], slot_of(agent, needed), 0, false);
	}
	return attached;
}

/* What could not attach is an error if the user named it or if nothing is left, else a notice. */
static void tell_unavailable(const struct agent *agent, bool fatal)
{
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (!agent->slots[i].attached && !agent->slots[i].is_silent)
			log_write(fatal ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE, "%s cannot attach: %s", agent->slots[i].run.probe->name,
				  agent->slots[i].run.reason);
}

static void tell_ready(struct agent *agent)
{
	char probes_text[512] = "";

	for (unsigned i = 0; i < agent->n_slots; i++) {
		const struct probe_run *run = &agent->slots[i].run;
		size_t used = strlen(probes_text);

		if (agent->slots[i].is_silent)
			continue;
		report_probe(agent, run, agent->slots[i].attached ? PROBE_ATTACHED : PROBE_UNAVAILABLE);
		if (agent->slots[i].attached)
			snprintf(probes_text + used, sizeof(probes_text) - used, "%s%s (%s)", used ? ", " : "", run->probe->name,
				 probe_ways[run->way->kind]);
	}
	log_notice("ready: %s", probes_text);
	output_flush(agent->output);
}

static void tell_end(struct agent *agent)
{
	uint64_t lost = report_total_lost(agent);

	log_notice("%" PRIu64 " records, %" PRIu64 " lost, in %.1f s", agent->probe_records, lost,
		   (clock_now() - agent->started) / 1e9);
	if (agent->unfinished)
		log_error("%s did not take everything within 5 s: %" PRIu64 " records lost", agent->output->name, lost);
}

static void close_handle(uv_handle_t *handle, void *context)
{
	(void)context;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/*
 * A loop that closes proves that nothing was forgotten. Where a write hangs in the kernel, neither the loop nor exit()
 * would end, and the records that it reads must stay: the process ends around it.
 */
static void end_loop(struct agent *agent)
{
	if (agent->unfinished)
		_exit(agent->exit_code);
	output_free(agent->output);
	uv_walk(&agent->loop, close_handle, NULL);
	uv_run(&agent->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&agent->loop)) {
		log_error("the event loop is not empty");
		abort();
	}
	if (agent->clock_step_fd > 0)
		close(agent->clock_step_fd);
}

static int run(struct agent *agent, const struct probe *const *chosen, unsigned n, bool named)
{
	char why[256];
	unsigned attached;
	bool fatal;

	if (!kern_usable(why, sizeof(why))) {
		log_error("%s", why);
		return EXIT_NO_ATTACH;
	}
	attached = attach_probes(agent, chosen, n);
	kern_release();
	malloc_trim(0);	/* the kernel's BTF is large */
	fatal = !attached || (named && attached < n);
	tell_unavailable(agent, fatal);
	if (fatal)
		return EXIT_NO_ATTACH;
	if (loop_start(agent)) {
		log_error("cannot start the event loop");
		return EXIT_FAILED;
	}
	tell_ready(agent);
	uv_run(&agent->loop, UV_RUN_DEFAULT);
	tell_end(agent);
	return agent->exit_code;
}

int agent_run(const struct config *config, const struct probe *const *chosen, unsigned n_chosen, bool named)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	struct facts facts;
	int code = EXIT_FAILED;

	if (!agent)
		return EXIT_FAILED;
	agent->config = config;
	agent->started = clock_now();
	clock_sample();
	collect_facts(config, &facts);
	if (uv_loop_init(&agent->loop) || make_plans(agent, &facts))
		goto out;
	if (!output_new(&agent->loop, config->output ?: "stdout", &agent->output)) {
		agent->output->on_progress = loop_output_progress;
		agent->output->context = agent;
		choose_datasets(agent);
		code = run(agent, chosen, n_chosen, named);
	}
	end_loop(agent);
out:
	for (unsigned i = agent->n_slots; i-- > 0;) {	/* before those that they need */
		walk_free(&agent->slots[i].walk);
		probe_free(&agent->slots[i].run);
	}
	for (unsigned i = 0; i < agent->n_records; i++)
		plan_free(agent->plans[i]);
	arena_writer_release(&agent->writer);
	free(agent);
	return code;
}
