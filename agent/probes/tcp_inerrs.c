/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets the programs up for this kernel, and makes the records of what they have gathered. */
#include "../../schema/tcp_inerrs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../clock.h"
#include "../kern.h"
#include "../log.h"
#include "../probe.h"
#include "inerr_reasons.h"

BPF_OBJECT(tcp_inerrs);

#define NETSTAT "/proc/net/netstat"
#define BATCH 1024	/* more than a hash bucket ever has */
#define FILTERS (FILTER_PID | FILTER_PORT | FILTER_FAMILY)

struct state {
	uint32_t own_netns, epoch;
	uint64_t overflows_before;	/* the kernel's count at the start */
	uint64_t overflows_told, overflows_seen;
};

struct batch {
	struct inerr_flow keys[BATCH];
	struct inerr_tally tallies[BATCH];
};

/* --- what the kernel offers --- */

static void find_reason(void *context, const char *name, uint32_t value)
{
	(void)value;
	if (!strcmp(name, DROP_REASON_PREFIX "TCP_INVALID_SEQUENCE"))
		*(bool *)context = true;
}

/*
 * The ways fentry and kprobe look for themselves where the kernel does not say why it drops a packet: before 5.19 (da40b613f89c), though
 * 5.17 and some 5.15 tell the few reasons that they have.
 */
static int check_way(struct probe_run *run)
{
	bool tells_reason = false;

	kern_enum("skb_drop_reason", find_reason, &tells_reason);
	if (run->way->kind == WAY_TRACEPOINT && !tells_reason)
		return probe_fail(run, -EOPNOTSUPP, "the kernel does not tell why TCP drops a packet");
	if (run->way->kind != WAY_TRACEPOINT && tells_reason)
		return probe_fail(run, -EOPNOTSUPP, "needed only where the kernel does not tell why TCP drops a packet");
	return 0;
}

static int configure(struct probe_run *run)
{
	static const char *const receive[] = { "tcp_v4_rcv", "tcp_v6_rcv", NULL };
	struct state *state = run->state;
	struct inerr_settings settings = { .has_rx_sk = kern_tracepoint_takes("kfree_skb", 3, "sock"), .duplicates = run->config->duplicates };
	int err = check_way(run);

	if (err)
		return err;
	probe_connection_settings(run);
	state->own_netns = settings.own_netns = kern_own_netns();
	settings.knows_location = kern_code(PROC_KALLSYMS, receive, settings.receive, RECEIVE_RANGES) > 0;
	for (unsigned i = 0; i < 2 && !err && probe_may_allocate(run); i++)
		err = bpf_map__set_map_flags(bpf_object__find_map_by_name(run->object, i ? "flows_1" : "flows_0"), BPF_F_NO_PREALLOC);
	return err ?: bpf_map__set_initial_value(bpf_object__find_map_by_name(run->object, ".rodata.inerrs"), &settings, sizeof(settings));
}

static void add_rule(void *context, const char *name, uint32_t value)
{
	struct probe_run *run = context;
	struct inerr_rule rule;

	if (value < INERR_RULES && inerr_rule_of(name, run->config->duplicates, &rule) &&
	    bpf_map_update_elem(probe_map_fd(run, "reasons"), &value, &rule, BPF_ANY))
		log_error("tcp_inerrs: %s is not reported: %s", name, strerror(errno));
}

/* --- listen overflows: the kernel has no event for a SYN that finds the accept queue full, but a counter --- */

/* The agent's own namespace's; 0 if there is none. */
static uint64_t read_overflows(void)
{
	FILE *file = fopen(NETSTAT, "re");
	char names[8192], values[8192];
	uint64_t overflows = 0;

	while (file && fgets(names, sizeof(names), file) && fgets(values, sizeof(values), file)) {
		char *name, *value, *rest_names, *rest_values;

		name = strtok_r(names, " \n", &rest_names);
		value = strtok_r(values, " \n", &rest_values);
		for (; name && value; name = strtok_r(NULL, " \n", &rest_names), value = strtok_r(NULL, " \n", &rest_values))
			if (!strcmp(name, "ListenOverflows"))
				overflows = strtoull(value, NULL, 10);
	}
	if (file)
		fclose(file);
	return overflows;
}

/*
 * Those that no record has told of. One that has its own event (6.15) is counted a moment before that, so an overflow is
 * told of when two readings have seen it, or at the end.
 */
static void tell_overflows(struct probe_run *run, bool last)
{
	struct state *state = run->state;
	uint64_t counted, by_event = 0, unseen, sure;
	uint32_t key = 0;
	struct tcp_inerrs record = {
		.time.ns = clock_now(), .reason = INERR_LISTEN_OVERFLOW, .class = inerr_class_of(INERR_LISTEN_OVERFLOW), .family = 0xff,
		.netns.value = state->own_netns, .seq = NO_NUMBER, .ack = NO_NUMBER, .expected_seq = NO_NUMBER, .window = NO_NUMBER,
	};

	if (run->config->filters & FILTERS || bpf_map_lookup_elem(probe_map_fd(run, ".bss.own_overflows"), &key, &by_event))
		return;
	counted = read_overflows() - state->overflows_before;
	unseen = counted > by_event ? counted - by_event : 0;
	sure = last || unseen < state->overflows_seen ? unseen : state->overflows_seen;
	state->overflows_seen = unseen;
	if (sure <= state->overflows_told)
		return;
	record.count = sure - state->overflows_told;
	state->overflows_told = sure;
	probe_emit(run, &record);
}

/* --- what the programs have gathered --- */

static void tell_batch(struct probe_run *run, struct batch *batch, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct tcp_inerrs *record = &batch->tallies[i].first;

		record->count = batch->tallies[i].more;
		if (record->count)
			run->sink(run, record);	/* the kernel's side has counted it */
	}
}

/* Empties a map that no program writes to. */
static void read_flows(struct probe_run *run, uint32_t epoch)
{
	int fd = probe_map_fd(run, epoch & 1 ? "flows_1" : "flows_0"), err = 0;
	struct batch *batch = calloc(1, sizeof(*batch));
	uint32_t position, n;

	for (bool first = true; batch && !err; first = false) {
		n = BATCH;
		err = bpf_map_lookup_and_delete_batch(fd, first ? NULL : &position, &position, batch->keys, batch->tallies, &n, NULL);
		if (!err || err == -ENOENT)
			tell_batch(run, batch, n);
	}
	if (err != -ENOENT)
		log_error("tcp_inerrs: cannot read what has gathered: %s", strerror(batch ? -err : ENOMEM));
	free(batch);
}

static void collect(struct probe_run *run, bool last)
{
	struct state *state = run->state;

	read_flows(run, state->epoch + 1);
	if (last) {
		read_flows(run, state->epoch);
	} else {
		state->epoch++;
		if (probe_set_variable(run, ".bss.epoch", &state->epoch))
			log_error("tcp_inerrs: %s", run->reason);
	}
	tell_overflows(run, last);
}

static uint64_t weight(const struct probe_run *run, const void *wire)
{
	(void)run;
	return ((const struct tcp_inerrs *)wire)->count;
}

static int loaded(struct probe_run *run)
{
	struct state *state = run->state;

	kern_enum("skb_drop_reason", add_rule, run);
	state->overflows_before = read_overflows();
	return probe_connection_sets(run);
}

static const struct way ways[] = {
	{ WAY_TRACEPOINT, (const char *const[]){ "drop", "drop_nested", NULL } },
	{ WAY_FENTRY, (const char *const[]){ "drop_unexplained", "validate_fentry", "established_fentry", "state_fentry", "checksum_fexit",
					    "reset_v4_fentry", "reset_v6_fentry", NULL } },
	{ WAY_KPROBE, (const char *const[]){ "drop_unexplained", "validate_kprobe", "established_kprobe", "state_kprobe", "checksum_kprobe",
					    "checksum_kretprobe", "reset_v4_kprobe", "reset_v6_kprobe", NULL } },
};

const struct probe tcp_inerrs_probe = {
	.name = "tcp_inerrs",
	.summary = "bad TCP packets that came in: what was wrong with them, and whose socket they were for",
	.needs = &tcp_connection_probe,
	.table = TABLE_ADDRESSES,
	.record = &tcp_inerrs_record,
	.object = tcp_inerrs_object,
	.object_end = tcp_inerrs_object_end,
	.ways = ways,
	.n_ways = sizeof(ways) / sizeof(ways[0]),
	.filters = FILTERS,
	.by_default = true,
	.state_size = sizeof(struct state),
	.configure = configure,
	.loaded = loaded,
	.collect = collect,
	.weight = weight,
};
