/* SPDX-License-Identifier: BSD-2-Clause */
#include "delay.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../schema/delay_analysis_summary.h"
#include "../kern.h"
#include "../log.h"
#include "nic_filter.h"

#define MAX_NICS 1024
#define FEW_NICS 64	/* where memory for all of them is taken at the start */
#define FORGET_NS 60000000000ull	/* a NIC without packets for so long */

/* If stdout is a TCP connection, its packets are none of ours: each record would make more of them. */
static void find_own_connection(struct delay_settings *settings)
{
	struct sockaddr_storage here = { 0 }, there = { 0 };
	socklen_t here_len = sizeof(here), there_len = sizeof(there), len = sizeof(int);
	int type;

	if (getsockopt(STDOUT_FILENO, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM ||
	    getsockname(STDOUT_FILENO, (struct sockaddr *)&here, &here_len) ||
	    getpeername(STDOUT_FILENO, (struct sockaddr *)&there, &there_len))
		return;
	if (here.ss_family != AF_INET && here.ss_family != AF_INET6)
		return;
	settings->own_port = ntohs(((struct sockaddr_in *)&here)->sin_port);	/* where it is in sockaddr_in6, too */
	settings->own_peer_port = ntohs(((struct sockaddr_in *)&there)->sin_port);
}

/* What is not used is as small as can be. */
static int size_maps(struct probe_run *run)
{
	struct bpf_map *summaries = bpf_object__find_map_by_name(run->object, "summaries");
	bool summary = run->config->summary, allocates = summary && probe_may_allocate(run);
	int err = bpf_map__set_max_entries(summaries, !summary ? 1 : allocates ? MAX_NICS : FEW_NICS);

	if (!err && allocates)
		err = bpf_map__set_map_flags(summaries, BPF_F_NO_PREALLOC);
	return err ?: summary ? bpf_map__set_max_entries(bpf_object__find_map_by_name(run->object, "details"), 1) : 0;
}

/* Where tasks are preempted in programs, the kernel skips those of fentry and kprobes meanwhile, but not those of netfilter (Linux 7.x). */
static bool would_be_skipped(const struct probe_run *run)
{
	return run->way->kind != WAY_TRACEPOINT && !run->config->way && kern_preempts_tracepoints() && !kern_try_netfilter();
}

int delay_configure(struct probe_run *run, uint8_t direction, bool owners)
{
	const struct probe_config *config = run->config;
	struct delay_settings settings;
	int err;

	if (would_be_skipped(run))
		return probe_fail(run, -EOPNOTSUPP, "the kernel skips such programs while a task is preempted in one");
	err = size_maps(run);
	if (err)
		return probe_fail(run, err, "cannot set the sizes of maps: %s", strerror(-err));
	probe_connection_settings(run);
	run->settings.by_nic = config->n_nics > 0;
	((struct delay_state *)run->state)->direction = direction;
	settings = (struct delay_settings){
		.min_latency_ns = config->min_latency_ns,
		.sampled_below = UINT64_MAX / config->sample,
		.sample = config->sample,
		.own_netns = config->all_netns ? 0 : kern_own_netns(),
		.way = run->way->kind,
		.summary = config->summary,
		.by_source_port = config->n_source_ports > 0,
		.by_destination_port = config->n_destination_ports > 0,
		.by_excluded_port = config->n_excluded_ports > 0,
		.owners = owners,
	};
	if (!config->all_netns && !settings.own_netns)
		return probe_fail(run, -ENOENT, "cannot tell the own network namespace (/proc/self/ns/net)");
	find_own_connection(&settings);
	return bpf_map__set_initial_value(bpf_object__find_map_by_name(run->object, ".rodata.delay"), &settings, sizeof(settings));
}

/* Extremes count from tick 1 on: what the programs find in new elements is of none. */
static int next_tick(struct probe_run *run)
{
	struct delay_state *state = run->state;
	uint32_t next = state->tick + 1;
	int err = probe_set_variable(run, ".bss.tick", &next);

	if (!err)
		state->tick = next;
	return err;
}

int delay_loaded(struct probe_run *run)
{
	const struct probe_config *config = run->config;

	return probe_connection_sets(run) ?:
	       probe_fill_set(run, "source_ports", config->source_ports, sizeof(config->source_ports[0]), config->n_source_ports) ?:
	       probe_fill_set(run, "destination_ports", config->destination_ports, sizeof(config->destination_ports[0]), config->n_destination_ports) ?:
	       probe_fill_set(run, "excluded_ports", config->excluded_ports, sizeof(config->excluded_ports[0]), config->n_excluded_ports) ?:
	       nic_admit_all(run) ?: next_tick(run);
}

/* --- summaries --- */

struct delay_known {
	struct delay_nic nic;
	uint64_t changed;	/* monotonic ns */
	uint64_t sum_ns[STAGES];
	uint32_t buckets[STAGES][DELAY_BUCKETS];
};

/* The smallest time that belongs to a bucket. */
static uint64_t bucket_floor(unsigned bucket)
{
	unsigned octave = (bucket - 1) / 4, quarter = (bucket - 1) % 4;

	return bucket ? (4ull + quarter) << (octave + DELAY_FIRST_BIT - 2) : 0;
}

static uint64_t bucket_end(unsigned bucket)
{
	return bucket == DELAY_BUCKETS - 1 ? UINT64_MAX : bucket_floor(bucket + 1);
}

static uint64_t bucket_middle(unsigned bucket)
{
	uint64_t floor = bucket_floor(bucket);

	return bucket == DELAY_BUCKETS - 1 ? floor : (floor + bucket_floor(bucket + 1)) / 2;
}

static uint64_t held_to(uint64_t value, uint64_t min, uint64_t max)
{
	return value < min ? min : value > max ? max : value;
}

/* What came since the tick before: the buckets with packets. A program may be in the middle of adding one. */
static void take_buckets(struct delay_analysis_summary *record, const struct delay_summaries *per_cpu, int cpus, struct delay_known *known)
{
	unsigned lowest = DELAY_BUCKETS, highest = 0;
	uint64_t sum_ns = 0;

	for (unsigned bucket = 0; bucket < DELAY_BUCKETS; bucket++) {
		uint32_t count = 0, before = known->buckets[record->stage][bucket];

		for (int i = 0; i < cpus; i++)
			count += per_cpu[i].stages[record->stage].buckets[bucket];
		known->buckets[record->stage][bucket] = count;
		if (count == before)
			continue;
		lowest = lowest == DELAY_BUCKETS ? bucket : lowest;
		highest = bucket;
		record->values[record->buckets] = bucket_middle(bucket);
		record->counts[record->buckets++] = count - before;
		record->count += count - before;
	}
	for (int i = 0; i < cpus; i++)
		sum_ns += per_cpu[i].stages[record->stage].sum_ns;
	record->sum_ns = sum_ns - known->sum_ns[record->stage];
	known->sum_ns[record->stage] = sum_ns;
	if (!record->count)
		return;
	record->min_ns = held_to(record->min_ns, bucket_floor(lowest), bucket_end(lowest) - 1);
	record->max_ns = held_to(record->max_ns, bucket_floor(highest), bucket_end(highest) - 1);
	record->max_ns = held_to(record->max_ns, record->min_ns, UINT64_MAX);
	record->sum_ns = held_to(record->sum_ns, record->min_ns * record->count, record->max_ns * record->count);
}

static void take_extremes(struct delay_analysis_summary *record, const struct delay_summaries *per_cpu, int cpus, uint32_t tick)
{
	record->min_ns = UINT64_MAX;
	record->max_ns = 0;
	for (int i = 0; i < cpus; i++) {
		const struct delay_extremes *e = &per_cpu[i].stages[record->stage].extremes[tick & 1];

		if (e->tick != tick)
			continue;
		record->min_ns = e->min_ns < record->min_ns ? e->min_ns : record->min_ns;
		record->max_ns = e->max_ns > record->max_ns ? e->max_ns : record->max_ns;
	}
}

static void take_name(struct delay_analysis_summary *record, const struct delay_summaries *per_cpu, int cpus)
{
	uint32_t newest = 0;

	for (int i = 0; i < cpus; i++) {
		if (!per_cpu[i].name[0] || per_cpu[i].tick < newest)
			continue;
		newest = per_cpu[i].tick;
		memcpy(record->interface, per_cpu[i].name, sizeof(record->interface));
	}
}

/* The records of a NIC; `tick`: the one that has ended. */
static void tell_nic(struct probe_run *run, struct delay_known *known, const struct delay_summaries *per_cpu, int cpus, uint32_t tick, uint64_t now)
{
	const struct delay_state *state = run->state;
	struct delay_analysis_summary head = {
		.time.ns = now, .start = probe_start_of(&run->interval), .duration_ns = now - run->interval.start,
		.netns.value = known->nic.netns, .sample_rate = run->config->sample, .direction = state->direction, .hooks = run->way->kind,
	};

	take_name(&head, per_cpu, cpus);
	for (unsigned stage = 0; stage < STAGES; stage++) {
		struct delay_analysis_summary record = head;

		record.stage = stage;
		take_extremes(&record, per_cpu, cpus, tick);
		take_buckets(&record, per_cpu, cpus, known);
		if (!record.count)
			continue;
		known->changed = now;
		probe_emit(run, &record);
	}
}

static struct delay_known *known_of(struct delay_state *state, const struct delay_nic *nic, uint64_t now)
{
	struct delay_known *more;

	for (unsigned i = 0; i < state->n_known; i++)
		if (!memcmp(&state->known[i].nic, nic, sizeof(*nic)))
			return &state->known[i];
	more = realloc(state->known, (state->n_known + 1) * sizeof(*more));
	if (!more)
		return NULL;
	state->known = more;
	more += state->n_known++;
	*more = (struct delay_known){ .nic = *nic, .changed = now };
	return more;
}

/* One that has been idle for long, and in the last interval, is taken out of the map, where the kernel can do that in one step (5.14, 3e87f192b405). */
static bool read_nic(const struct probe_run *run, int fd, const struct delay_known *known, struct delay_summaries *per_cpu, uint64_t now, bool *ret_gone)
{
	bool is_idle = now - known->changed > FORGET_NS && known->changed < run->interval.start;

	*ret_gone = is_idle && !bpf_map_lookup_and_delete_elem(fd, &known->nic, per_cpu);
	return *ret_gone || !bpf_map_lookup_elem(fd, &known->nic, per_cpu);
}

static void tell_all(struct probe_run *run, struct delay_summaries *per_cpu, int cpus, uint32_t tick, uint64_t now)
{
	struct delay_state *state = run->state;
	int fd = probe_map_fd(run, "summaries");
	struct delay_nic key, *last = NULL;
	struct delay_known *known;
	bool gone;

	while (!bpf_map_get_next_key(fd, last, &key)) {
		known_of(state, &key, now);
		last = &key;
	}
	for (unsigned i = 0; i < state->n_known; i++) {
		known = &state->known[i];
		if (!read_nic(run, fd, known, per_cpu, now, &gone))
			continue;
		tell_nic(run, known, per_cpu, cpus, tick, now);
		if (gone)
			*known = state->known[--state->n_known], i--;
	}
}

static void summarize(struct probe_run *run, uint64_t now)
{
	struct delay_state *state = run->state;
	int cpus = libbpf_num_possible_cpus();
	struct delay_summaries *per_cpu;
	uint32_t ended = state->tick;

	per_cpu = calloc(cpus, sizeof(*per_cpu));
	if (!per_cpu || next_tick(run))
		log_error("%s: no summary: %s", run->probe->name, per_cpu ? run->reason : strerror(ENOMEM));
	else
		tell_all(run, per_cpu, cpus, ended, now);
	free(per_cpu);
}

void delay_tick(struct probe_run *run, uint64_t now)
{
	if (nic_admit_all(run))	/* NICs come and go */
		log_error("%s: %s", run->probe->name, run->reason);
	if (run->config->summary)
		summarize(run, now);
}

/* A packet goes through IP, and is counted there. */
uint64_t delay_weight(const struct probe_run *run, const void *wire)
{
	const struct delay_analysis_summary *record = wire;

	return !run->config->summary ? 1 : record->stage == STAGE_IP ? record->count : 0;
}

void delay_release(struct probe_run *run)
{
	free(((struct delay_state *)run->state)->known);
}
