/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The probes of a run. A slot is made (which says what it will stand on), started (loads and attaches; in a worker, if need be), and added to the
 * loop. A probe whose programs are a part of its table's object cannot go before the table does: it falls silent.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "ring.h"
#include "run.h"

static struct probe_slot *make(struct agent *agent, struct slot_list *list, const struct probe *probe, const struct probe_config *config)
{
	struct probe_slot *slot = agent->n_slots + list->n < MAX_SLOTS ? calloc(1, sizeof(*slot)) : NULL;

	if (!slot)
		return NULL;
	slot->agent = agent;
	slot->config = *config;
	slot->run.probe = probe;
	list->slots[list->n++] = slot;
	return slot;
}

/* Whether the same programs do for both. */
static bool alike(const struct probe_config *one, const struct probe_config *other)
{
	struct probe_config copy = *one;

	copy.interval_ns = other->interval_ns;
	return !memcmp(&copy, other, sizeof(copy));
}

static bool serves(const struct probe_slot *slot, const struct probe *probe, const struct probe_config *config)
{
	return slot->run.probe == probe->needs && (slot->table_uses & probe->table) == probe->table && !slot->is_leaving &&
	       (probe->object || alike(&slot->config, config));
}

/* The table for a probe, made for it alone where none serves. A part finds its place taken where another had it, even a silent one. */
static struct probe_slot *table_for(struct agent *agent, struct slot_list *list, const struct probe *probe, const struct probe_config *config)
{
	struct probe_slot *table;

	for (unsigned i = 0; i < list->n; i++)
		if (serves(list->slots[i], probe, config))
			return list->slots[i];
	for (unsigned i = 0; i < agent->n_slots && probe->object; i++)
		if (serves(agent->slots[i], probe, config))
			return agent->slots[i];
	table = make(agent, list, probe->needs, config);
	if (table) {
		table->table_uses = probe->table;
		table->is_silent = true;
	}
	return table;
}

struct probe_slot *slots_find(struct agent *agent, const struct probe *probe, const struct probe_config *config)
{
	for (unsigned i = 0; i < agent->n_slots; i++) {
		struct probe_slot *slot = agent->slots[i];

		if (slot->run.probe == probe && slot->attached && !slot->is_silent && alike(&slot->config, config))
			return slot;
	}
	return NULL;
}

void slots_make(struct agent *agent, const struct config *config, const struct choice *choice, struct slot_list *list)
{
	unsigned uses = 0;

	list->n = 0;
	for (unsigned i = 0; i < choice->n; i++)
		if (!choice->probes[i]->needs || probe_needs(choice->probes[i], config_of(config, choice->probes[i])))
			uses |= choice->probes[i]->table;
	for (unsigned pass = 0; pass < 2; pass++) {	/* first those that others need */
		for (unsigned i = 0; i < choice->n; i++) {
			const struct probe *probe = choice->probes[i];
			const struct probe_config *its = config_of(config, probe);
			struct probe_slot *table, *slot;

			if (!!probe_needs(probe, its) != pass || slots_find(agent, probe, its))
				continue;
			table = pass ? table_for(agent, list, probe, its) : NULL;
			slot = make(agent, list, probe, its);
			if (slot) {
				slot->table = table;
				slot->table_uses = pass ? 0 : uses;
			}
		}
	}
}

void slots_start(struct slot_list *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		struct probe_slot *slot = list->slots[i];

		slot->attached = !probe_start(&slot->run, slot->run.probe, &slot->config, slot->table ? &slot->table->run : NULL, slot->table_uses);
	}
}

unsigned slots_add(struct agent *agent, struct slot_list *list)
{
	unsigned attached = 0;

	for (unsigned i = 0; i < list->n; i++) {
		struct probe_slot *slot = list->slots[i];

		slot->dataset = agent_dataset(agent, slot->run.record);
		slot->run.sink = loop_take_record;
		slot->run.context = slot;
		probe_begin_interval(&slot->run, clock_now());
		agent->slots[agent->n_slots++] = slot;
		attached += slot->attached && !slot->is_silent;
	}
	return attached;
}

static void slot_free(struct probe_slot *slot)
{
	walk_free(&slot->walk);
	probe_free(&slot->run);
	free(slot);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct probe_slot *slot = handle->data;

	if (!--slot->n_handles)
		slot_free(slot);
}

/* Out of the run; freed when the loop has let go of its handles. */
static void drop(struct agent *agent, struct probe_slot *slot)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i] != slot)
			agent->slots[kept++] = agent->slots[i];
	agent->n_slots = kept;
	slot->n_handles = 2 + !!slot->run.ring;
	uv_close((uv_handle_t *)&slot->gather, on_handle_closed);
	uv_close((uv_handle_t *)&slot->tick, on_handle_closed);
	if (slot->run.ring)
		uv_close((uv_handle_t *)&slot->ready, on_handle_closed);
}

void slots_drop(struct agent *agent, struct probe_slot *slot)
{
	for (unsigned i = agent->n_slots; i-- > 0;)
		if (agent->slots[i]->table == slot)	/* silent parts of it */
			drop(agent, agent->slots[i]);
	drop(agent, slot);
}

bool slots_in_use(const struct agent *agent, const struct probe_slot *slot)
{
	for (unsigned i = 0; i < agent->n_slots; i++)
		if (agent->slots[i]->table == slot && !agent->slots[i]->is_silent)
			return true;
	return false;
}

void slots_release(struct agent *agent)
{
	while (agent->n_slots)	/* before those that they need */
		slot_free(agent->slots[--agent->n_slots]);
}
