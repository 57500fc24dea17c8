/* SPDX-License-Identifier: BSD-2-Clause */
/* delay_analysis_in: the way of a received TCP packet, when it has ended. Filled by bpf/delay_analysis_in.bpf.c. */
#ifndef NETLINE_DELAY_ANALYSIS_IN_H
#define NETLINE_DELAY_ANALYSIS_IN_H

#include "connection.h"
#include "delay.h"

enum delay_end { END_READ, END_PROCESSED, END_COALESCED, END_BACKLOG_COALESCED, END_OUT_OF_ORDER, END_DROPPED, END_UNKNOWN };

struct delay_analysis_in {
	nl_time time;
	__u64 duration_ns;
	__u64 mac_ns;
	__u64 ip_ns;
	__u64 tcp_ns;
	__u64 protocol_ns;
	__u64 socket_wait_ns;
	nl_id netns;
	nl_ip source_ip;
	nl_ip destination_ip;
	char interface[16];	/* IFNAMSIZ */
	char process_name[COMM_LEN];
	char thread_name[COMM_LEN];
	__u32 pid;
	__u32 tid;
	__u32 seq;
	__u32 ack;
	__u32 packet_bytes;
	__u32 sample_rate;
	__u16 segments;
	__u16 source_port;
	__u16 destination_port;
	__u8 family;
	__u8 flags;
	__u8 end;
	__u8 hooks;
	__u8 pad[6];
};
_Static_assert(sizeof(struct delay_analysis_in) == 184, "the same size for BPF and the agent");

#ifndef __bpf__
static const char *const delay_ends[] = { "read", "processed", "coalesced", "backlog_coalesced", "out_of_order", "dropped", "unknown" };

#define S struct delay_analysis_in
#define NOT_READ "no process has read it"
static const struct row delay_analysis_in_rows[] = {
	ROW(S, "@timestamp", time, NULL, "When the packet's way ended"),
	ROW(S, "event.duration", duration_ns, "ns", "From the driver to the end: mac_ns + ip_ns + tcp_ns", IF_MAX("one of these is")),
	ROW_ENUM(S, "network.type", family, family_names, "IP version; v4-mapped addresses count as IPv4"),
	{ .path = "network.transport", .kind = KIND_CONST, .text = "tcp", .meaning = "Transport protocol" },
	COMMUNITY_ROW(S),
	{ .path = "network.direction", .kind = KIND_CONST, .text = "ingress", .meaning = "The packet came to this host" },
	ROW(S, "network.interface.name", interface, NULL, "NIC on which the packet came", IF_ZERO("the NIC is unknown")),
	ROW(S, "source.ip", source_ip, NULL, "Address of the packet's sender"),
	ROW(S, "source.port", source_port, "1", "Its port"),
	ROW(S, "destination.ip", destination_ip, NULL, "Address to which the packet was sent, as TCP sees it: after NAT"),
	ROW(S, "destination.port", destination_port, "1", "Port to which the packet was sent, as TCP sees it"),
	ROW(S, "process.pid", pid, "1", "Process (thread group) that has read it", IF_ZERO(NOT_READ)),
	ROW(S, "process.name", process_name, NULL, "Its name: the comm of the thread group's leader", IF_ZERO(NOT_READ)),
	ROW(S, "process.thread.id", tid, "1", "Thread that has read it", IF_ZERO(NOT_READ)),
	ROW(S, "process.thread.name", thread_name, NULL, "The thread's comm", IF_ZERO(NOT_READ)),
	ROW_ENUM(S, "netline.delay.end", end, delay_ends, "How its way ended. read: a process got its first bytes; processed: there is no data in it; coalesced: appended to a packet that waits to be read; backlog_coalesced: the same, while a process held the socket; out_of_order: put aside until what is missing comes; dropped: refused, or a duplicate; unknown: nothing tells, such as of data that is spliced or never read"),
	ROW(S, "netline.delay.mac_ns", mac_ns, "ns", "From the driver's hand-over to IP", IF_MAX("no hook has seen the hand-over")),
	ROW(S, "netline.delay.ip_ns", ip_ns, "ns", "In IP, with netfilter and the route", IF_MAX("no hook has seen it come to IP")),
	ROW(S, "netline.delay.tcp_ns", tcp_ns, "ns", "In TCP, to the end: protocol_ns + socket_wait_ns where there are both", IF_MAX("there is no data in it, or the end is unknown")),
	ROW(S, "netline.delay.protocol_ns", protocol_ns, "ns", "TCP's own work, until the packet is in the receive queue, or merged, or refused", IF_MAX("its time is unknown")),
	ROW(S, "netline.delay.socket_wait_ns", socket_wait_ns, "ns", "In the receive queue, until a process reads it", IF_MAX(NOT_READ ", or the kernel did not tell when it came there")),
	PACKET_ROWS(S),
	ROW(S, "netline.packet.segments", segments, "1", "Packets on the wire: more than 1 where GRO has merged them before IP"),
	ROW(S, "netline.sample_rate", sample_rate, "1", "One packet in so many is recorded"),
	ROW(S, "netline.socket.netns", netns, NULL, "Inode number of the network namespace"),
};
#undef S

static const struct record delay_analysis_in_record = {
	RECORD_NAME("delay_analysis_in"),
	.title = "A received TCP packet has come to its end: how long each layer took",
	.stream = "metrics",
	.event_kind = "metric",
	.event_category = "network",
	.event_type = "connection,info",
	.event_action = "delay-analysis-in",
	.size = sizeof(struct delay_analysis_in),
	.rows = delay_analysis_in_rows,
	.n_rows = sizeof(delay_analysis_in_rows) / sizeof(delay_analysis_in_rows[0]),
};
#endif
#endif
