/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIGHUP reads the configuration file again. What is wrong with it is told, and all stays as it was. Else outputs and probes whose settings are the same
 * run on without a gap; others end, in order, and begin anew. What takes long is done in a worker:
 *
 *   check (worker)  can the new probes attach in some way?
 *   leave (loop)    the last records of probes that end
 *   start (worker)  load and attach
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "kern.h"
#include "log.h"
#include "notify.h"
#include "run.h"

#define RETRY_MS 1

struct reload {
	struct agent *agent;
	struct config config;
	struct choice choice;
	struct slot_list list;
	uv_work_t work;
	uv_timer_t retry;
	char wrong[512];	/* the check's result; empty: all can attach */
	bool is_leaving, again;
};

static void reload_end(uv_handle_t *handle)
{
	struct reload *reload = handle->data;
	struct agent *agent = reload->agent;
	bool again = reload->again;

	config_release(&reload->config);
	free(reload);
	agent->reload = NULL;
	if (agent->stopping)
		end_go_on(agent);
	else if (again)
		reload_begin(agent);
}

static void close_reload(struct reload *reload)
{
	uv_close((uv_handle_t *)&reload->retry, reload_end);
}

/* --- outputs --- */

static struct output *output_at(struct outputs *outputs, const struct output_spec *spec)
{
	for (unsigned i = 0; i < outputs->n; i++) {
		struct output *output = outputs->all[i];

		if (!output->listener && output->state != OUTPUT_CLOSED && output->spec.kind == spec->kind && !strcmp(output->spec.path, spec->path))
			return output;
	}
	return NULL;
}

/* New ones are opened first: if one cannot be, nothing has changed. */
static int open_new(struct reload *reload, struct output **ret_opened, unsigned *ret_n)
{
	const struct config *config = &reload->config;
	int err = 0;

	*ret_n = 0;
	for (unsigned i = 0; i < config->n_outputs && !err; i++) {
		if (output_at(&reload->agent->outputs, &config->outputs[i]))
			continue;
		err = output_new(&reload->agent->loop, &config->outputs[i], &ret_opened[*ret_n]);
		*ret_n += !err;
	}
	while (err && *ret_n)
		output_free(ret_opened[--*ret_n]);
	return err;
}

static void change_outputs(struct reload *reload, struct output **opened, unsigned n_opened)
{
	struct agent *agent = reload->agent;

	for (unsigned i = agent->outputs.n; i-- > 0;) {
		struct output *output = agent->outputs.all[i];
		const struct output_spec *spec = NULL;

		for (unsigned j = 0; j < reload->config.n_outputs && !spec; j++)
			if (output_at(&agent->outputs, &reload->config.outputs[j]) == (output->listener ?: output))
				spec = &reload->config.outputs[j];
		if (spec)
			agent_change_output(agent, output, spec);
		else if (!output->listener)
			outputs_leave(&agent->outputs, output);
	}
	for (unsigned i = 0; i < n_opened; i++)
		agent_add_output(agent, opened[i]);
}

/* --- probes --- */

static bool is_chosen(const struct reload *reload, const struct probe_slot *slot)
{
	for (unsigned i = 0; i < reload->choice.n; i++)
		if (reload->choice.probes[i] == slot->run.probe)
			return slots_find(reload->agent, slot->run.probe, config_of(&reload->config, slot->run.probe)) == slot;
	return false;
}

static void start_new(uv_work_t *work)
{
	struct reload *reload = work->data;

	slots_start(&reload->list);
}

static void after_start(uv_work_t *work, int status)
{
	struct reload *reload = work->data;
	struct agent *agent = reload->agent;
	unsigned first = agent->n_slots;
	char text[ATTACHED_LEN];

	(void)status;
	kern_release();
	malloc_trim(0);	/* the kernel's BTF is large */
	slots_add(agent, &reload->list);
	for (unsigned i = first; i < agent->n_slots && !agent->finished; i++) {
		struct probe_slot *slot = agent->slots[i];

		if (!slot->is_silent)
			report_probe(agent, &slot->run, slot->attached ? PROBE_ATTACHED : PROBE_UNAVAILABLE);
		if (!slot->is_silent && !slot->attached)
			log_error("%s cannot attach: %s", slot->run.probe->name, slot->run.reason);
		if (loop_listen(slot))
			log_error("%s: cannot listen to its ring", slot->run.probe->name);
	}
	log_notice("%s: read again: %s", agent->config->file, agent_attached(agent, text));
	notify("STATUS=%s", text);
	loop_flush(agent);
	close_reload(reload);
}

/* True: the slot is told of, and silent or gone. */
static bool leave(struct probe_slot *slot)
{
	bool stays = !slot->run.probe->object || slots_in_use(slot->agent, slot);	/* its programs are needed, or are not its own */

	if (slot->is_silent) {	/* a table that nobody needs any more */
		if (slots_in_use(slot->agent, slot))
			return true;
		slots_drop(slot->agent, slot);
		return true;
	}
	if (!end_walked(slot))
		return false;
	if (!stays && slot->attached)
		probe_detach(&slot->run);
	if (!end_drained(slot))
		return false;
	if (slot->attached)
		end_told(slot);
	slot->is_silent = true;
	slot->is_leaving = stays;
	if (!stays)
		slots_drop(slot->agent, slot);
	return true;
}

static void on_retry(uv_timer_t *timer)
{
	reload_go_on(((struct reload *)timer->data)->agent);
}

/* From the last to the first: those that stand on a table before it. */
void reload_go_on(struct agent *agent)
{
	struct reload *reload = agent->reload;
	bool done = true;

	if (!reload || !reload->is_leaving)
		return;
	for (unsigned i = agent->n_slots; i-- > 0;) {
		if (i >= agent->n_slots)	/* parts have gone with their table */
			continue;
		if ((agent->slots[i]->is_leaving || agent->slots[i]->is_silent) && !leave(agent->slots[i]))
			done = false;
	}
	outputs_flush(&agent->outputs);
	if (!done) {
		uv_timer_start(&reload->retry, on_retry, RETRY_MS, 0);
		return;
	}
	reload->is_leaving = false;
	slots_make(agent, agent->config, &reload->choice, &reload->list);
	uv_queue_work(&agent->loop, &reload->work, start_new, after_start);
}

/* --- what the file says now --- */

static void change_interval(struct probe_slot *slot, const struct probe_config *config)
{
	if (slot->config.interval_ns == config->interval_ns)
		return;
	slot->config.interval_ns = config->interval_ns;
	loop_set_interval(slot);
}

/* From here on the new configuration holds. */
static void apply(struct reload *reload)
{
	struct agent *agent = reload->agent;
	struct output *opened[MAX_OUTPUTS];
	struct config old;
	unsigned n_opened;

	if (reload->wrong[0] || agent->stopping || open_new(reload, opened, &n_opened)) {
		log_error("%s: %s%snothing is changed", reload->config.file, reload->wrong, reload->wrong[0] ? "; " : "");
		close_reload(reload);
		return;
	}
	change_outputs(reload, opened, n_opened);
	for (unsigned i = 0; i < agent->n_slots; i++) {
		struct probe_slot *slot = agent->slots[i];

		if (slot->is_silent)
			continue;
		slot->is_leaving = !is_chosen(reload, slot);
		if (slot->is_leaving)
			uv_timer_stop(&slot->tick);
		else
			change_interval(slot, config_of(&reload->config, slot->run.probe));
	}
	old = *agent->config;
	*agent->config = reload->config;
	reload->config = old;	/* freed at the end */
	agent_config_changed(agent, &old);
	reload->is_leaving = true;
	reload_go_on(agent);
}

static void check_new(uv_work_t *work)
{
	struct reload *reload = work->data;

	for (unsigned i = 0; i < reload->choice.n && !reload->wrong[0]; i++) {
		const struct probe *probe = reload->choice.probes[i];
		struct probe_run run;

		if (probe_choose(&run, probe, config_of(&reload->config, probe)) && reload->choice.named)
			snprintf(reload->wrong, sizeof(reload->wrong), "%s cannot attach: %.400s", probe->name, run.reason);
		probe_free(&run);
	}
}

static void after_check(uv_work_t *work, int status)
{
	(void)status;
	apply(work->data);
}

static int check_user(const struct agent *agent, const struct config *config)
{
	if (!strcmp(config->user, agent->config->user))
		return 0;
	log_error("%s: user: stays what it is until netline is started again", config->file);
	return -EINVAL;
}

void reload_begin(struct agent *agent)
{
	struct reload *reload;

	if (agent->reload) {
		agent->reload->again = true;
		return;
	}
	reload = calloc(1, sizeof(*reload));
	if (!reload)
		return;
	if (config_parse(&reload->config, agent->config->argc, agent->config->argv) || check_user(agent, &reload->config) ||
	    choose_probes(&reload->config, &reload->choice)) {
		log_error("%s: nothing is changed", agent->config->file);
		config_release(&reload->config);
		free(reload);
		return;
	}
	reload->agent = agent;
	reload->work.data = reload->retry.data = reload;
	uv_timer_init(&agent->loop, &reload->retry);
	agent->reload = reload;
	uv_queue_work(&agent->loop, &reload->work, check_new, after_check);
}
