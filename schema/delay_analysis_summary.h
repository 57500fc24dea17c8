/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * delay_analysis_summary: every tick, per direction, interface and stage, how long the packets of the interval took. Filled by the agent from
 * what the programs of delay_analysis_in and delay_analysis_out have counted.
 */
#ifndef NETLINE_DELAY_ANALYSIS_SUMMARY_H
#define NETLINE_DELAY_ANALYSIS_SUMMARY_H

#include "delay.h"

struct delay_analysis_summary {
	nl_time time;
	nl_time start;
	__u64 duration_ns;
	__u64 count;
	__u64 sum_ns;
	__u64 min_ns;
	__u64 max_ns;
	__u64 values[DELAY_BUCKETS];
	__u64 counts[DELAY_BUCKETS];
	nl_id netns;
	char interface[16];	/* IFNAMSIZ */
	__u32 sample_rate;
	__u16 buckets;
	__u8 direction;
	__u8 stage;
	__u8 hooks;
	__u8 pad[7];
};
_Static_assert(sizeof(struct delay_analysis_summary) == 96 + 16 * DELAY_BUCKETS, "no padding without a name");

#ifndef __bpf__
static const char *const delay_stages[] = { "mac", "ip", "tcp", "protocol", "socket_wait", "qdisc", "total" };

#define S struct delay_analysis_summary
static const struct row delay_analysis_summary_rows[] = {
	ROW(S, "@timestamp", time, NULL, "End of the interval"),
	ROW(S, "event.start", start, NULL, "Start of the interval"),
	ROW(S, "event.duration", duration_ns, "ns", "Length of the interval"),
	{ .path = "network.transport", .kind = KIND_CONST, .text = "tcp", .meaning = "Transport protocol" },
	ROW_ENUM(S, "network.direction", direction, direction_names, "Packets that this host has sent, or that came to it"),
	ROW(S, "network.interface.name", interface, NULL, "NIC of the packets"),
	ROW_ENUM(S, "netline.delay.stage", stage, delay_stages, "Stage of the way, as in delay_analysis_in and delay_analysis_out; of the incoming, tcp, protocol, socket_wait and total are of packets that a process has read"),
	ROW(S, "netline.delay.count", count, "1", "Packets that went through this stage, as the kernel hands them on: of several segments one"),
	ROW(S, "netline.delay.sum_ns", sum_ns, "ns", "Sum of their times"),
	ROW(S, "netline.delay.min_ns", min_ns, "ns", "The shortest"),
	ROW(S, "netline.delay.max_ns", max_ns, "ns", "The longest"),
	ROW_ARRAY(S, "netline.delay.histogram.values", values, buckets, "ns", "Middle of each bucket that has packets, four for each power of two: a packet's time is within 12.5 % of it; 128 stands for less than 256 ns, 17179869184 for that and more"),
	ROW_ARRAY(S, "netline.delay.histogram.counts", counts, buckets, "1", "Packets in each of these buckets"),
	HOOKS_ROW(S),
	ROW(S, "netline.sample_rate", sample_rate, "1", "One packet in so many is counted"),
	ROW(S, "netline.socket.netns", netns, NULL, "Inode number of the network namespace"),
};
#undef S

static const struct record delay_analysis_summary_record = {
	RECORD_NAME("delay_analysis_summary"),
	.title = "How long TCP packets took in one stage of their way during an interval",
	.stream = "metrics",
	.event_kind = "metric",
	.event_category = "network",
	.event_type = "connection,info",
	.event_action = "delay-analysis-summary",
	.size = sizeof(struct delay_analysis_summary),
	.rows = delay_analysis_summary_rows,
	.n_rows = sizeof(delay_analysis_summary_rows) / sizeof(delay_analysis_summary_rows[0]),
};
#endif
#endif
