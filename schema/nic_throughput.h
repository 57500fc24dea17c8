/* SPDX-License-Identifier: BSD-2-Clause */
/* nic_throughput: every tick, per NIC and direction, the total and each queue with traffic. Filled by the agent from
 * the counters of bpf/nic_throughput.bpf.c. */
#ifndef NETLINE_NIC_THROUGHPUT_H
#define NETLINE_NIC_THROUGHPUT_H

#include "record.h"

#define NIC_NAME_LEN 16	/* IFNAMSIZ */

enum nic_scope { SCOPE_QUEUE, SCOPE_TOTAL };

struct nic_throughput {
	nl_time time;
	nl_time start;
	__u64 duration_ns;
	__u64 bytes;
	__u64 packets;
	__u64 skbs;
	__u64 bytes_total;
	__u64 packets_total;
	__u64 speed_bps;
	nl_fixed avg_packet_bytes;
	nl_fixed bytes_per_sec;
	nl_fixed packets_per_sec;
	nl_id netns;
	char name[NIC_NAME_LEN];
	__u32 index;
	__u32 queue;
	__u32 queues;
	__u8 direction;
	__u8 scope;
	__u8 pad[2];
};
_Static_assert(sizeof(struct nic_throughput) == 136, "no padding without a name");

#ifndef __bpf__
static const char *const nic_scopes[] = { "queue", "total" };

#define S struct nic_throughput
static const struct row nic_throughput_rows[] = {
	ROW(S, "@timestamp", time, NULL, "End of the interval"),
	ROW(S, "event.start", start, NULL, "Start of the interval"),
	ROW(S, "event.duration", duration_ns, "ns", "Measured length of the interval"),
	ROW_ENUM(S, "network.direction", direction, direction_names, "egress: sent by the NIC, ingress: received"),
	ROW(S, "network.bytes", bytes, "bytes", "Bytes on the wire in the interval, with MAC header and with the headers that segmentation repeats"),
	ROW(S, "network.packets", packets, "packets", "Packets on the wire in the interval, segments of one skb counted one by one"),
	ROW(S, "network.interface.name", name, NULL, "Name of the NIC at the end of the interval"),
	ROW(S, "netline.nic.netns", netns, NULL, "Inode number of the NIC's network namespace"),
	ROW(S, "netline.nic.index", index, "1", "Interface index, unique in the network namespace"),
	ROW_ENUM(S, "netline.nic.scope", scope, nic_scopes, "One queue, or all queues together"),
	ROW(S, "netline.nic.queue", queue, "1", "Number of the queue, from 0", IF_MAX("the scope is total")),
	ROW(S, "netline.nic.queues", queues, "1", "Number of queues that the driver uses in this direction", IF_ZERO("the scope is queue, or the number is unknown")),
	ROW(S, "netline.nic.speed_bps", speed_bps, "bits/s", "Link speed", IF_ZERO("the driver tells none, or the NIC is in another network namespace")),
	ROW(S, "netline.nic.skbs", skbs, "1", "Socket buffers handed to or from the driver: fewer than packets where segments are merged"),
	ROW(S, "netline.nic.avg_packet_bytes", avg_packet_bytes, "bytes", "Average packet: bytes / packets", IF_MAX("there were no packets")),
	ROW(S, "netline.nic.bytes_per_sec", bytes_per_sec, "bytes/s", "Bytes a second over the measured interval", IF_MAX("the interval has no length")),
	ROW(S, "netline.nic.packets_per_sec", packets_per_sec, "packets/s", "Packets a second over the measured interval", IF_MAX("the interval has no length")),
	ROW(S, "netline.nic.bytes_total", bytes_total, "bytes", "Bytes since the agent started"),
	ROW(S, "netline.nic.packets_total", packets_total, "packets", "Packets since the agent started"),
};
#undef S

static const struct record nic_throughput_record = {
	RECORD_NAME("nic_throughput"),
	.title = "What a NIC sent or received in an interval, per queue and in total",
	.stream = "metrics",
	.event_kind = "metric",
	.event_category = "network",
	.event_type = "info",
	.event_action = "nic-throughput",
	.size = sizeof(struct nic_throughput),
	.rows = nic_throughput_rows,
	.n_rows = sizeof(nic_throughput_rows) / sizeof(nic_throughput_rows[0]),
};
#endif
#endif
