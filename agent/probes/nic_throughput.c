/* SPDX-License-Identifier: BSD-2-Clause */
/* Every tick: records from what the programs have counted; NICs of the agent's own namespace come from rtnetlink as well, so that idle ones have records. */
#include "../../schema/nic_throughput.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kern.h"
#include "../log.h"
#include "../nic.h"
#include "../probe.h"
#include "nic_counts.h"
#include "nic_filter.h"

BPF_OBJECT(nic_throughput);

#define SECOND 1000000000ull
#define FORGET_NS (60 * SECOND)	/* a NIC of another namespace, or one that is gone, without traffic for so long */
#define SPEED_NS (10 * SECOND)	/* how often speed and channels are asked of the driver */

struct nic {
	struct nic_link link;
	uint64_t speed_bps, asked;
};

struct state {
	uint32_t own_netns, tick;
	struct nic_counts before;
	struct nic *nics;	/* of the own namespace, by index */
	unsigned n_nics;
};

static int configure(struct probe_run *run)
{
	run->settings.by_nic = run->config->n_nics > 0;
	return 0;
}

/* Asks for the NICs of the own namespace; what was known of each is kept by index. */
static void refresh_nics(struct probe_run *run, uint64_t now)
{
	struct state *state = run->state;
	struct nic_link *links;
	struct nic *nics;
	unsigned n, old = 0;

	if (nic_list(&links, &n))
		return;	/* then the list of the last tick serves */
	nics = calloc(n + 1, sizeof(*nics));
	for (unsigned i = 0; nics && i < n; i++) {
		while (old < state->n_nics && state->nics[old].link.index < links[i].index)
			old++;
		if (old < state->n_nics && state->nics[old].link.index == links[i].index)
			nics[i] = state->nics[old];
		if (!nics[i].asked || now - nics[i].asked >= SPEED_NS) {
			nics[i].speed_bps = nic_speed_bps(links[i].name);
			nic_channels(links[i].name, links[i].queues);
			nics[i].asked = now;
		} else {
			memcpy(links[i].queues, nics[i].link.queues, sizeof(links[i].queues));
		}
		nics[i].link = links[i];
	}
	free(links);
	if (!nics)
		return;
	free(state->nics);
	state->nics = nics;
	state->n_nics = n;
}

/* --nic: the kernel's side knows NICs by index, so that one keeps being counted when it is renamed. */
static int select_nics(struct probe_run *run)
{
	struct state *state = run->state;
	int err = 0;

	for (unsigned i = 0; i < state->n_nics && !err; i++)
		err = nic_admit(run, state->own_netns, &state->nics[i].link);
	return err;
}

/* From now on each NIC's name and number of queues are read again at its next packet. */
static int next_tick(struct probe_run *run)
{
	struct state *state = run->state;

	state->tick++;
	return probe_set_variable(run, ".bss.tick", &state->tick);
}

static int loaded(struct probe_run *run)
{
	struct state *state = run->state;

	state->own_netns = kern_own_netns();
	if (!state->own_netns)
		return probe_fail(run, -ENOENT, "cannot tell the own network namespace (/proc/self/ns/net)");
	refresh_nics(run, 0);
	return select_nics(run) ?: next_tick(run);	/* counters begin with tick 0: names are read at the first packet */
}

static nl_fixed per(uint64_t value, uint64_t unit, uint64_t divisor)
{
	if (!divisor)
		return (nl_fixed){ UINT64_MAX };
	return (nl_fixed){ (unsigned __int128)value * unit / divisor };
}

/* One record: a queue, or the total over rows of one direction. */
static void emit(struct probe_run *run, struct nic_throughput *record)
{
	record->avg_packet_bytes = per(record->bytes, 1000, record->packets);
	record->bytes_per_sec = per(record->bytes, 1000 * SECOND, record->duration_ns);
	record->packets_per_sec = per(record->packets, 1000 * SECOND, record->duration_ns);
	probe_emit(run, record);
}

static void add(struct nic_throughput *record, const struct nic_count *row)
{
	record->bytes += row->bytes;
	record->packets += row->packets;
	record->skbs += row->skbs;
	record->bytes_total += row->now.bytes;
	record->packets_total += row->now.packets;
}

/* The records of one NIC and direction, from its rows: `head` has what they share. */
static void emit_direction(struct probe_run *run, const struct nic_throughput *head, const struct nic_count *rows, unsigned n)
{
	struct nic_throughput total = *head;

	for (unsigned i = 0; i < n; i++) {
		struct nic_throughput queue = *head;

		if (rows[i].key.direction != head->direction)
			continue;
		add(&total, &rows[i]);
		if (rows[i].now.queues)
			total.queues = rows[i].now.queues;
		if (!rows[i].packets || rows[i].key.queue == NO_QUEUE)
			continue;
		queue.scope = SCOPE_QUEUE;
		queue.queue = rows[i].key.queue;
		queue.queues = 0;
		add(&queue, &rows[i]);
		emit(run, &queue);
	}
	total.scope = SCOPE_TOTAL;
	total.queue = UINT32_MAX;
	emit(run, &total);
}

/* `nic`: if it is of the own namespace and there; else its name is what the kernel's side saw last. */
static void emit_nic(struct probe_run *run, const struct nic *nic, const struct nic_count *rows, unsigned n, uint64_t now)
{
	struct nic_throughput head = {
		.time.ns = now, .start = probe_start_of(&run->interval), .duration_ns = now - run->interval.start,
	};

	head.netns.value = nic ? ((struct state *)run->state)->own_netns : rows->key.netns;
	head.index = nic ? nic->link.index : rows->key.index;
	head.speed_bps = nic ? nic->speed_bps : 0;
	for (unsigned i = 0, newest = 0; !nic && i < n; i++) {
		if (rows[i].now.name[0] && rows[i].now.tick >= newest) {
			memcpy(head.name, rows[i].now.name, sizeof(head.name));
			newest = rows[i].now.tick;
		}
	}
	if (nic)
		memcpy(head.name, nic->link.name, sizeof(head.name));
	for (head.direction = DIRECTION_EGRESS; head.direction <= DIRECTION_INGRESS; head.direction++) {
		head.queues = nic ? nic->link.queues[head.direction] : 0;
		emit_direction(run, &head, rows, n);
	}
}

static const struct nic *own_nic(const struct state *state, const struct nic_key *key)
{
	for (unsigned i = 0; key->netns == state->own_netns && i < state->n_nics; i++)
		if (state->nics[i].link.index == key->index)
			return &state->nics[i];
	return NULL;
}

/* Leaves out a NIC that is gone, or that has been idle in another namespace for long. */
static bool forget(struct probe_run *run, struct nic_count *rows, unsigned n, uint64_t now)
{
	uint64_t limit = rows->key.netns == ((struct state *)run->state)->own_netns ? 1 : FORGET_NS;

	for (unsigned i = 0; i < n; i++)
		if (now - rows[i].changed < limit)
			return false;
	return nic_counts_remove(run, rows, n, now);
}

static void tick(struct probe_run *run, uint64_t now)
{
	struct state *state = run->state;
	struct nic_counts counts = { 0 };
	unsigned n;

	refresh_nics(run, now);
	if (select_nics(run) || next_tick(run))
		log_error("nic_throughput: %s", run->reason);
	nic_counts_read(run, &counts, &state->before, now);
	for (unsigned i = 0; i < counts.n; i += n) {
		struct nic_count *rows = &counts.rows[i];
		const struct nic *nic = own_nic(state, &rows->key);

		for (n = 1; i + n < counts.n && nic_same(&rows->key, &rows[n].key); n++)
			;
		if (nic || !forget(run, rows, n, now))
			emit_nic(run, nic, rows, n, now);
	}
	for (unsigned i = 0; i < state->n_nics; i++) {
		const struct nic_key key = { .netns = state->own_netns, .index = state->nics[i].link.index };
		bool counted = false;

		for (unsigned j = 0; j < counts.n && !counted; j++)
			counted = nic_same(&counts.rows[j].key, &key);
		if (!counted && nic_selected(run->config, state->nics[i].link.name))
			emit_nic(run, &state->nics[i], NULL, 0, now);
	}
	nic_counts_release(&state->before);
	state->before = counts;
}

static void release(struct probe_run *run)
{
	struct state *state = run->state;

	nic_counts_release(&state->before);
	free(state->nics);
}

const struct probe nic_throughput_probe = {
	.name = "nic_throughput",
	.summary = "bytes and packets of each NIC and queue, in both directions, every interval",
	.record = &nic_throughput_record,
	.object = nic_throughput_object,
	.object_end = nic_throughput_object_end,
	.ways = (const struct way[]){ { WAY_TRACEPOINT, (const char *const[]){ "transmit", "receive", NULL } } },
	.n_ways = 1,
	.filters = FILTER_NIC,
	.by_default = true,
	.state_size = sizeof(struct state),
	.configure = configure,
	.loaded = loaded,
	.tick = tick,
	.release = release,
};
