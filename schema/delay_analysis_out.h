/* SPDX-License-Identifier: BSD-2-Clause */
/* delay_analysis_out: the way of a sent TCP packet, when the driver gets it. Filled by bpf/delay_analysis_out.bpf.c. */
#ifndef NETLINE_DELAY_ANALYSIS_OUT_H
#define NETLINE_DELAY_ANALYSIS_OUT_H

#include "connection.h"
#include "delay.h"

struct delay_analysis_out {
	nl_time time;
	__u64 duration_ns;
	__u64 tcp_ns;
	__u64 ip_ns;
	__u64 qdisc_ns;
	nl_id netns;
	nl_ip source_ip;
	nl_ip destination_ip;
	nl_ip source_nat_ip;
	nl_ip destination_nat_ip;
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
	__u16 source_nat_port;
	__u16 destination_nat_port;
	__u8 family;
	__u8 flags;
	_Bool retransmitted;
	__u8 hooks;
	__u8 pad[2];
};
_Static_assert(sizeof(struct delay_analysis_out) == 200, "the same size for BPF and the agent");

#ifndef __bpf__
#define S struct delay_analysis_out
#define NO_NAT "NAT has changed neither address nor port"
static const struct row delay_analysis_out_rows[] = {
	ROW(S, "@timestamp", time, NULL, "When the driver got the packet"),
	ROW(S, "event.duration", duration_ns, "ns", "From TCP to the driver: tcp_ns + ip_ns + qdisc_ns", IF_MAX("one of these is")),
	ROW_ENUM(S, "network.type", family, family_names, "IP version; v4-mapped addresses count as IPv4"),
	{ .path = "network.transport", .kind = KIND_CONST, .text = "tcp", .meaning = "Transport protocol" },
	COMMUNITY_ROW(S),
	{ .path = "network.direction", .kind = KIND_CONST, .text = "egress", .meaning = "This host has sent it" },
	ROW(S, "network.interface.name", interface, NULL, "NIC that sends it"),
	ROW(S, "source.ip", source_ip, NULL, "This host's address, as TCP has it: before NAT"),
	ROW(S, "source.port", source_port, "1", "Its port"),
	ROW(S, "source.nat.ip", source_nat_ip, NULL, "The source address with which it leaves", IF_ZERO(NO_NAT)),
	ROW(S, "source.nat.port", source_nat_port, "1", "The source port with which it leaves", IF_ZERO(NO_NAT)),
	ROW(S, "destination.ip", destination_ip, NULL, "Address to which TCP sends it: before NAT"),
	ROW(S, "destination.port", destination_port, "1", "Port to which TCP sends it"),
	ROW(S, "destination.nat.ip", destination_nat_ip, NULL, "The destination address with which it leaves", IF_ZERO(NO_NAT)),
	ROW(S, "destination.nat.port", destination_nat_port, "1", "The destination port with which it leaves", IF_ZERO(NO_NAT)),
	OWNER_ROWS(S),
	ROW(S, "netline.delay.tcp_ns", tcp_ns, "ns", "In TCP, from its stamp on the packet to IP", IF_MAX("the packet has no stamp, or one for a later time (pacing)")),
	ROW(S, "netline.delay.ip_ns", ip_ns, "ns", "In IP, with netfilter and neighbour", IF_MAX("no hook has seen it come to the queueing discipline")),
	ROW(S, "netline.delay.qdisc_ns", qdisc_ns, "ns", "In the queueing discipline, until the driver gets it", IF_MAX("no hook has seen it come there")),
	PACKET_ROWS(S),
	ROW(S, "netline.packet.segments", segments, "1", "Packets on the wire: more than 1 where the NIC or its driver cuts them (TSO, GSO)"),
	ROW(S, "netline.packet.retransmitted", retransmitted, NULL, "It has data, or a SYN or FIN, that was sent before"),
	ROW(S, "netline.sample_rate", sample_rate, "1", "One packet in so many is recorded"),
	ROW(S, "netline.socket.netns", netns, NULL, "Inode number of the network namespace"),
};
#undef S

static const struct record delay_analysis_out_record = {
	RECORD_NAME("delay_analysis_out"),
	.title = "A TCP packet was given to the driver: how long each layer took",
	.stream = "metrics",
	.event_kind = "metric",
	.event_category = "network",
	.event_type = "connection,info",
	.event_action = "delay-analysis-out",
	.size = sizeof(struct delay_analysis_out),
	.rows = delay_analysis_out_rows,
	.n_rows = sizeof(delay_analysis_out_rows) / sizeof(delay_analysis_out_rows[0]),
};
#endif
#endif
