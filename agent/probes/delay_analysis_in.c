/* SPDX-License-Identifier: BSD-2-Clause */
#include "../../schema/delay_analysis_in.h"
#include "../../schema/delay_analysis_summary.h"

#include "../kern.h"
#include "../log.h"
#include "../ring.h"
#include "delay.h"
#include "nic_filter.h"

BPF_OBJECT(delay_analysis_in);

#define SWEEP_SECONDS 10
#define LAST_READINGS 50	/* about so many ms after it was detached and the ring was empty, no program can be in the middle of a packet */

struct state {
	struct delay_state common;	/* first */
	unsigned seconds, last_readings;
	bool swept;
};

/* The kernel tells who reads; whose socket it is matters to the filter only. */
static bool needs_owners(const struct probe_config *config)
{
	return config->n_pids;
}

static const char *const ready_programs[] = { [WAY_FENTRY] = "ready_fentry", [WAY_KPROBE] = "ready_kprobe", [WAY_TRACEPOINT] = "ready" };
static const char *const packet_programs[] = { "process", "drop", "batch_end", NULL };	/* for a record per packet */

static int configure(struct probe_run *run)
{
	enum probe_way way = kern_has_tracepoint("sk_data_ready") ? WAY_TRACEPOINT : run->way->kind;
	int err = probe_enable(run, ready_programs[way]);

	if (!err && !run->config->summary)
		err = probe_enable_all(run, packet_programs) ?: probe_load_only(run, "sweep");
	return err ?: delay_configure(run, DIRECTION_INGRESS, needs_owners(run->config));
}

/* Packets that have been under way for very long, or at the end all that still are. */
static void sweep(struct probe_run *run, bool all)
{
	uint8_t sweeps_all = all;

	if (probe_set_variable(run, ".bss.sweeps_all", &sweeps_all) || probe_each(run, "sweep", "trips", 0, NULL))
		log_error("delay_analysis_in: packets without an end are not told: %s", run->reason);
}

/* What was told neither by a record nor by the sweep: two CPUs have taken the same place for their packets. */
static void count_unmatched(struct probe_run *run)
{
	struct probe_totals totals;

	probe_read_totals(run, &totals);
	if ((int64_t)totals.in_flight > 0)
		run->lost_by[LOST_UNMATCHED] += totals.in_flight;
}

static void collect(struct probe_run *run, bool last)
{
	struct state *state = run->state;

	if (run->config->summary)
		return;
	if (last && !state->swept)
		sweep(run, state->swept = true);
	else if (last && !ring_pending(run->ring) && ++state->last_readings == LAST_READINGS)	/* what is in the ring is not lost */
		count_unmatched(run);
	else if (!last && ++state->seconds % SWEEP_SECONDS == 0)
		sweep(run, false);
}

/* A packet that one of these does not see loses a stage or its end, and is told all the same. */
static const char *const may_miss[] = {
	"gro_receive", "gro_frags", "rx", "receive", "receive_list", "to_ip", "to_ip_casts", "process", "ready", "ready_fentry", "ready_kprobe",
	"copy", "copy_casts", "drop", "batch_end", NULL,
};

static const struct way ways[] = {
	{ WAY_FENTRY, (const char *const[]){ "tcp_v4_fentry", "tcp_v6_fentry", "to_ip", "copy", NULL } },
	{ WAY_KPROBE, (const char *const[]){ "tcp_v4_kprobe", "tcp_v6_kprobe", "to_ip", "copy", NULL } },
	{ WAY_TRACEPOINT, (const char *const[]){ "local_in", "to_ip_casts", "copy_casts", NULL } },
};

const struct probe delay_analysis_in_probe = {
	.name = "delay_analysis_in",
	.summary = "how long each received TCP packet takes to IP, to TCP and to the process that reads it, and how its way ends",
	.needs = &tcp_connection_probe,
	.needs_if = needs_owners,
	.table = TABLE_ADDRESSES,
	.record = &delay_analysis_in_record,
	.summary_record = &delay_analysis_summary_record,
	.object = delay_analysis_in_object,
	.object_end = delay_analysis_in_object_end,
	.ways = ways,
	.n_ways = sizeof(ways) / sizeof(ways[0]),
	.programs = (const char *const[]){ "gro_receive", "gro_frags", "rx", "receive", "receive_list", NULL },
	.may_miss = may_miss,
	.filters = DELAY_FILTERS,
	.state_size = sizeof(struct state),
	.configure = configure,
	.loaded = delay_loaded,
	.tick = delay_tick,
	.collect = collect,
	.weight = delay_weight,
	.release = delay_release,
};
