/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the three records about the way of a TCP packet through the kernel share: delay_analysis_in, _out and _summary.
 *
 * A way has stages, each from one hook to the next:
 *
 *   in    driver --mac--> IP --ip--> TCP --protocol--> receive queue --socket_wait--> read
 *                                        `---------------- tcp ----------------------'
 *   out   TCP --tcp--> IP --ip--> queueing discipline --qdisc--> driver
 */
#ifndef NETLINE_DELAY_H
#define NETLINE_DELAY_H

#include "agent_probe.h"
#include "record.h"
#include "tcp_flags.h"

enum delay_stage { STAGE_MAC, STAGE_IP, STAGE_TCP, STAGE_PROTOCOL, STAGE_SOCKET_WAIT, STAGE_QDISC, STAGE_TOTAL, STAGES };

#define NO_TIME (~0ull)		/* of a stage: one of its stamps is missing */

/* What follows is between the agent and the programs. */

/* Constant while the programs run (.rodata.delay). */
struct delay_settings {
	__u64 min_latency_ns;	/* --min-latency; 0: none */
	__u64 sampled_below;	/* 2^64 / sample: of random numbers, those that choose a packet */
	__u32 sample;		/* --sample: one packet in so many */
	__u32 own_netns;	/* packets of other network namespaces are none of the probe's; 0: of all */
	__u16 own_port;		/* stdout is a TCP connection: its local port, and the other one; else 0 */
	__u16 own_peer_port;
	__u8 way;		/* enum probe_way */
	__u8 summary;
	__u8 by_source_port;	/* --sport: only those in the map `source_ports` */
	__u8 by_destination_port;
	__u8 by_excluded_port;	/* --exclude-port: none with one of those in the map `excluded_ports` */
	__u8 owners;		/* the socket table is there */
	__u8 pad[6];
};
_Static_assert(sizeof(struct delay_settings) == 40, "no padding without a name");

/* A log-linear histogram: 4 buckets for each power of two of ns, from 256 ns (what is less is in the first) to 17 s (the last). */
#define DELAY_FIRST_BIT 8
#define DELAY_LAST_BIT 34
#define DELAY_BUCKETS ((DELAY_LAST_BIT - DELAY_FIRST_BIT) * 4 + 2)

/* Totals since load, but the extremes: two sets of them, so that the agent reads one while the other is filled. The count is that of the buckets. */
struct delay_extremes {
	__u64 min_ns, max_ns;
	__u32 tick;		/* in which they were seen: set tick % 2 */
	__u32 pad;
};
struct delay_histogram {
	__u64 sum_ns;
	struct delay_extremes extremes[2];
	__u32 buckets[DELAY_BUCKETS];
};
/* Key and value of the map `summaries`, per CPU. */
struct delay_nic {
	__u32 netns;
	__u32 index;
};
struct delay_summaries {
	char name[16];
	__u32 tick;		/* in which the name was read */
	__u32 pad;
	struct delay_histogram stages[STAGES];
};

#ifndef __bpf__
#define HOOKS_ROW(s) \
	ROW_ENUM(s, "netline.delay.hooks", hooks, probe_ways, "The way in which netline is attached: it says where the borders of the stages are")

#define PACKET_ROWS(s) \
	HOOKS_ROW(s), \
	ROW(s, "netline.tcp.seq", seq, "1", "Sequence number"), \
	ROW(s, "netline.tcp.ack", ack, "1", "Acknowledgment number"), \
	ROW_ENUM(s, "netline.tcp.flags", flags, tcp_flag_names, "The packet's flags, the highest bit first", IF_ZERO("none is set")), \
	ROW(s, "netline.packet.bytes", packet_bytes, "bytes", "Length from the IP header on; of several segments, with one header for all")
#endif
#endif
