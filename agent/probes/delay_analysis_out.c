/* SPDX-License-Identifier: BSD-2-Clause */
#include "../../schema/delay_analysis_out.h"
#include "../../schema/delay_analysis_summary.h"

#include "delay.h"
#include "nic_filter.h"

BPF_OBJECT(delay_analysis_out);

/* Records name the owner of the socket; summaries do not. */
static bool needs_owners(const struct probe_config *config)
{
	return !config->summary || config->n_pids;
}

static int configure(struct probe_run *run)
{
	return delay_configure(run, DIRECTION_EGRESS, needs_owners(run->config));
}

/* A packet that one of these does not see loses a stage, or is counted as missed when its skb comes again. */
static const char *const may_miss[] = { "transmit_fentry", "transmit_kprobe", "queue", "start_xmit", "start_xmit_casts", "drop", NULL };

static const struct way ways[] = {
	{ WAY_FENTRY, (const char *const[]){ "transmit_fentry", "local_out_fentry", "ip6_xmit_fentry", "start_xmit", NULL } },
	{ WAY_KPROBE, (const char *const[]){ "transmit_kprobe", "local_out_kprobe", "ip6_xmit_kprobe", "start_xmit", NULL } },
	{ WAY_TRACEPOINT, (const char *const[]){ "local_out", "start_xmit_casts", NULL } },
};

const struct probe delay_analysis_out_probe = {
	.name = "delay_analysis_out",
	.summary = "how long each TCP packet that is sent takes in TCP, IP and the queueing discipline",
	.needs = &tcp_connection_probe,
	.needs_if = needs_owners,
	.table = TABLE_OF_KPROBES,	/* before 6.6 it has no way fentry where others have */
	.record = &delay_analysis_out_record,
	.summary_record = &delay_analysis_summary_record,
	.object = delay_analysis_out_object,
	.object_end = delay_analysis_out_object_end,
	.ways = ways,
	.n_ways = sizeof(ways) / sizeof(ways[0]),
	.programs = (const char *const[]){ "queue", "drop", NULL },
	.may_miss = may_miss,
	.filters = DELAY_FILTERS,
	.state_size = sizeof(struct delay_state),
	.configure = configure,
	.loaded = delay_loaded,
	.tick = delay_tick,
	.weight = delay_weight,
	.release = delay_release,
};
