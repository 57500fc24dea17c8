/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
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
#include "container.h"
#include "kern.h"
#include "log.h"
#include "notify.h"
#include "run.h"
#include "user.h"

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
		if (spec_wants_probe(&output->spec, probes[i]->name))
			return true;
		of_agent = false;
	}
	return of_agent && (output->spec.agent_records || !strcmp(name, agent_lost_record.name));
}

static void on_reader(struct output *listener, struct output *reader, void *context);

static void choose_datasets(struct agent *agent, struct output *output)
{
	output->takes = 0;
	for (unsigned i = 0; i < agent->n_records; i++)
		if (takes_record(output, agent->records[i]->name))
			output->takes |= 1u << i;
}

int agent_add_output(struct agent *agent, struct output *output)
{
	output->notice_dataset = agent_dataset(agent, &agent_lost_record);
	choose_datasets(agent, output);
	output->on_progress = loop_output_progress;
	output->on_retry = report_output_losses;
	output->on_reader = on_reader;
	output->context = agent;
	return outputs_add(&agent->outputs, output);
}

static void on_reader(struct output *listener, struct output *reader, void *context)
{
	(void)listener;
	agent_add_output(context, reader);
}

void agent_change_output(struct agent *agent, struct output *output, const struct output_spec *spec)
{
	output->spec = *spec;
	output->leave_by = 0;
	choose_datasets(agent, output);
	if (output->ops->changed)
		output->ops->changed(output);
}

static int open_outputs(struct agent *agent)
{
	struct output *output;
	int err = 0;

	for (unsigned i = 0; i < agent->config->n_outputs && !err; i++)
		err = output_new(&agent->loop, &agent->config->outputs[i], &output) ?: agent_add_output(agent, output);
	return err;
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
		.labels = config->labels, .n_labels = config->n_labels, .community_id = config->community_id,
	};
}

/* What could not attach is an error if the user named it or if nothing is left, else a notice. */
static void tell_unavailable(const struct agent *agent, bool fatal)
{
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (!agent->slots[i]->attached && !agent->slots[i]->is_silent)
			log_write(fatal ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE, "%s cannot attach: %s", agent->slots[i]->run.probe->name,
				  agent->slots[i]->run.reason);
}

/* Before the first record of a probe. */
static void report_probes(struct agent *agent)
{
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (!agent->slots[i]->is_silent)
			report_probe(agent, &agent->slots[i]->run, agent->slots[i]->attached ? PROBE_ATTACHED : PROBE_UNAVAILABLE);
}

const char *agent_attached(const struct agent *agent, char ret_text[ATTACHED_LEN])
{
	ret_text[0] = 0;
	for (unsigned i = 0; i < agent->n_slots; i++) {
		const struct probe_run *run = &agent->slots[i]->run;
		size_t used = strlen(ret_text);

		if (!agent->slots[i]->is_silent && agent->slots[i]->attached)
			snprintf(ret_text + used, ATTACHED_LEN - used, "%s%s (%s)", used ? ", " : "", run->probe->name, probe_ways[run->way->kind]);
	}
	return ret_text;
}

static void tell_ready(struct agent *agent)
{
	char text[ATTACHED_LEN];

	log_notice("ready: %s", agent_attached(agent, text));
	notify("READY=1\nSTATUS=%s", text);
	loop_flush(agent);
}

static void tell_end(struct agent *agent)
{
	uint64_t lost = report_total_lost(agent);

	log_notice("%" PRIu64 " records, %" PRIu64 " lost, in %.1f s", agent->probe_records, lost,
		   (clock_now() - agent->started) / 1e9);
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
	outputs_release(&agent->outputs);
	uv_walk(&agent->loop, close_handle, NULL);
	uv_run(&agent->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&agent->loop)) {
		log_error("the event loop is not empty");
		abort();
	}
	if (agent->clock_step_fd > 0)
		close(agent->clock_step_fd);
}

static bool labels_differ(const struct config *one, const struct config *other)
{
	bool differ = one->n_labels != other->n_labels;

	for (unsigned i = 0; i < one->n_labels && !differ; i++)
		differ = strcmp(one->labels[i].key, other->labels[i].key) || strcmp(one->labels[i].value, other->labels[i].value);
	return differ;
}

/* What stands in every record is in the plans. */
static void renew_plans(struct agent *agent)
{
	struct facts facts = agent->facts;

	facts.text[FACT_HOST] = agent->config->host;
	facts.labels = agent->config->labels;
	facts.n_labels = agent->config->n_labels;
	facts.community_id = agent->config->community_id;
	for (unsigned i = 0; i < agent->n_records; i++) {
		struct plan *plan;

		if (plan_new(agent->records[i], &facts, &plan))
			continue;
		plan_free(agent->plans[i]);
		agent->plans[i] = plan;
	}
}

void agent_config_changed(struct agent *agent, const struct config *old)
{
	const struct config *config = agent->config;

	if (strcmp(config->host, old->host) || config->community_id != old->community_id || labels_differ(config, old))
		renew_plans(agent);
	if (config->duration_ns != old->duration_ns)
		loop_set_duration(agent);
}

/* What loading and attaching programs needs; a way may need more, which then is refused when the configuration is read again. */
#define KEPT_CAPABILITIES (CAP_BIT(CAP_BPF) | CAP_BIT(CAP_PERFMON) | CAP_BIT(CAP_NET_ADMIN))

static int become_user(const struct config *config)
{
	return config->user[0] ? user_become(config->user, KEPT_CAPABILITIES) : 0;
}

static int run(struct agent *agent, const struct choice *choice)
{
	struct slot_list list;
	char why[256];
	unsigned attached;
	bool fatal;

	if (agent->config->user[0])
		user_will_keep(KEPT_CAPABILITIES);
	if (!kern_usable(why, sizeof(why))) {
		log_error("%s", why);
		return EXIT_NO_ATTACH;
	}
	slots_make(agent, agent->config, choice, &list);
	slots_start(&list);
	attached = slots_add(agent, &list);
	kern_release();
	malloc_trim(0);	/* the kernel's BTF is large */
	fatal = !attached || (choice->named && attached < choice->n);
	tell_unavailable(agent, fatal);
	if (fatal)
		return EXIT_NO_ATTACH;
	if (become_user(agent->config) || open_outputs(agent))
		return EXIT_FAILED;
	report_probes(agent);
	if (loop_start(agent)) {
		log_error("cannot start the event loop");
		return EXIT_FAILED;
	}
	tell_ready(agent);
	uv_run(&agent->loop, UV_RUN_DEFAULT);
	tell_end(agent);
	return agent->exit_code;
}

/*
 * Each output may hold two workers of libuv's, in writes to disks that hang; walks and reloads find one all the same. They share
 * their heap: by turns each of them reads the kernel's BTF, which is large.
 */
static void prepare_threads(void)
{
	char size[16];

	snprintf(size, sizeof(size), "%d", 2 * MAX_OUTPUTS + 2);
	setenv("UV_THREADPOOL_SIZE", size, 1);
	mallopt(M_ARENA_MAX, 2);
}

int agent_run(struct config *config, const struct choice *choice)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	int code = EXIT_FAILED;

	if (!agent)
		return EXIT_FAILED;
	agent->config = config;
	agent->started = clock_now();
	clock_sample();
	collect_facts(config, &agent->facts);
	prepare_threads();
	if (uv_loop_init(&agent->loop) || make_plans(agent, &agent->facts))
		goto out;
	code = run(agent, choice);
	end_loop(agent);
out:
	slots_release(agent);
	for (unsigned i = 0; i < agent->n_records; i++)
		plan_free(agent->plans[i]);
	arena_writer_release(&agent->writer);
	container_release();
	free(agent);
	return code;
}
