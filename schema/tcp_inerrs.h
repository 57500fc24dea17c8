/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tcp_inerrs: a bad TCP packet came in. Filled by bpf/tcp_inerrs.bpf.c; an interval's listen overflows by the agent.
 *
 * The first of a flow and reason in a second is a record at once; those that follow are one record more, with their number.
 */
#ifndef NETLINE_TCP_INERRS_H
#define NETLINE_TCP_INERRS_H

#include "connection.h"
#include "control.h"
#include "record.h"
#include "tcp_flags.h"

/* In the order of their classes: inerr_class_of() stands on it. */
enum inerr_reason {
	INERR_NONE,
	INERR_BAD_CHECKSUM, INERR_HEADER_TOO_SHORT, INERR_BAD_DATA_OFFSET, INERR_BAD_FLAGS,
	INERR_OUT_OF_WINDOW, INERR_OLD_DATA, INERR_PAWS, INERR_SYN_IN_WINDOW, INERR_RST_OUT_OF_WINDOW, INERR_RST_IN_WINDOW, INERR_INVALID_ACK,
	INERR_MD5, INERR_AO,
	INERR_NO_SOCKET,
	INERR_RECEIVE_BUFFER, INERR_BACKLOG, INERR_LISTEN_OVERFLOW,
	INERR_OTHER,
};
enum inerr_class { CLASS_MALFORMED, CLASS_OUT_OF_WINDOW, CLASS_AUTHENTICATION, CLASS_NO_SOCKET, CLASS_RESOURCE, CLASS_OTHER };

static inline __u8 inerr_class_of(__u8 reason)
{
	return reason <= INERR_BAD_FLAGS ? CLASS_MALFORMED : reason <= INERR_INVALID_ACK ? CLASS_OUT_OF_WINDOW :
	       reason <= INERR_AO ? CLASS_AUTHENTICATION : reason <= INERR_NO_SOCKET ? CLASS_NO_SOCKET :
	       reason <= INERR_LISTEN_OVERFLOW ? CLASS_RESOURCE : CLASS_OTHER;
}

#define KERNEL_REASON_LEN 32
#define NO_NUMBER (~0ull)	/* sequence numbers and windows may be 0 */

struct tcp_inerrs {
	nl_time time;
	__u64 count;
	__u64 seq;
	__u64 ack;
	__u64 expected_seq;
	__u64 window;
	nl_id cookie;
	nl_id netns;
	nl_id cgroup;
	nl_ip source_ip;
	nl_ip destination_ip;
	char kernel_reason[KERNEL_REASON_LEN];
	char interface[16];	/* IFNAMSIZ */
	char process_name[COMM_LEN];
	char thread_name[COMM_LEN];
	__u32 pid;
	__u32 tid;
	__u32 packet_bytes;
	__u16 source_port;
	__u16 destination_port;
	__u8 family;
	__u8 reason;
	__u8 class;
	__u8 state;
	__u8 flags;
	__u8 pad[3];
};
_Static_assert(sizeof(struct tcp_inerrs) == 208, "the same size for BPF and the agent");

/* What follows is between the agent and the programs. */

/* Which packets a kernel's reason is about, where the reason alone does not tell. */
enum inerr_check {
	CHECK_NOTHING,
	CHECK_HEADER,	/* only if the TCP header does not fit into the packet */
	CHECK_OFFSET,	/* only if the data offset is too small */
	CHECK_SIDE,	/* whether it begins before what is expected, and is a duplicate */
	CHECK_SOCKET,	/* only with a TCP socket */
	CHECK_ANSWER,	/* not if it is the host's own RST to itself */
};

/* Element of the map `reasons`, whose index is the kernel's reason. */
struct inerr_rule {
	char name[KERNEL_REASON_LEN];
	__u8 reason;		/* enum inerr_reason; INERR_NONE: no error */
	__u8 reset_reason;	/* the same for a segment with RST */
	__u8 check;
	__u8 pad;
};
#define INERR_RULES 256

/* Key and value of the maps `flows_0` and `flows_1`. */
struct inerr_flow {
	nl_ip source_ip;
	nl_ip destination_ip;
	__u32 netns;
	__u16 source_port;
	__u16 destination_port;
	__u32 reason;
};
struct inerr_tally {
	struct tcp_inerrs first;
	__u64 more;	/* that came after the first */
};

#define RECEIVE_RANGES 4	/* tcp_v4_rcv, tcp_v6_rcv, and what the compiler has put apart of each */

/* Constant while the programs run (.rodata.inerrs). */
struct inerr_settings {
	struct code_range receive[RECEIVE_RANGES];	/* for `location` of a drop */
	__u32 own_netns;
	__u8 knows_location;	/* `receive` is filled */
	__u8 has_rx_sk;		/* the tracepoint tells the socket (6.11, c53795d48ee8) */
	__u8 duplicates;
	__u8 pad;
};

#ifndef __bpf__

static const char *const inerr_reasons[] = {
	NULL, "bad_checksum", "header_too_short", "bad_data_offset", "bad_flags",
	"out_of_window", "old_data", "paws", "syn_in_window", "rst_out_of_window", "rst_in_window", "invalid_ack",
	"md5", "ao", "no_socket", "receive_buffer", "backlog", "listen_overflow", "other",
};
static const char *const inerr_classes[] = { "malformed", "out_of_window", "authentication", "no_socket", "resource", "other" };

/* As the kernel numbers them; a request's NEW_SYN_RECV is SYN_RECV to everybody else. */
static const char *const tcp_state_names[] = {
	NULL, "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING",
};

#define S struct tcp_inerrs
#define NO_SOCKET_KNOWN "the packet's socket is unknown, or there is none"
static const struct row tcp_inerrs_rows[] = {
	ROW(S, "@timestamp", time, NULL, "When the packet was dropped, of several the first; of an interval's listen overflows its end"),
	ROW_ENUM(S, "event.reason", reason, inerr_reasons, "What was bad about it. syn_in_window: a SYN for an open connection, also that of the handshake if it comes twice; rst_in_window: a RST in the window, but not exactly where it is due; rst_out_of_window: one outside of it, or for a socket that has none; invalid_ack: of what was not sent, or of what is too old; any for a listener; old_data, with --duplicates: what was received before, and keepalives; listen_overflow: no room in a listener's accept queue"),
	ROW_ENUM(S, "network.type", family, family_names, "IP version", IF_MAX("the record is an interval's listen overflows")),
	{ .path = "network.transport", .kind = KIND_CONST, .text = "tcp", .meaning = "Transport protocol" },
	COMMUNITY_ROW(S),
	{ .path = "network.direction", .kind = KIND_CONST, .text = "ingress", .meaning = "The packet came to this host" },
	ROW(S, "network.interface.name", interface, NULL, "NIC on which the packet came", IF_ZERO("the record is an interval's listen overflows, or the NIC is gone")),
	ROW(S, "source.ip", source_ip, NULL, "Address of the packet's sender", IF_ZERO("the record is an interval's listen overflows")),
	ROW(S, "source.port", source_port, "1", "Its port", IF_ZERO("the segment is too short to have one")),
	ROW(S, "destination.ip", destination_ip, NULL, "Address to which the packet was sent", IF_ZERO("the record is an interval's listen overflows")),
	ROW(S, "destination.port", destination_port, "1", "Port to which the packet was sent", IF_ZERO("the segment is too short to have one")),
	OWNER_ROWS(S),
	CONTAINER_ROW(S),
	ROW_ENUM(S, "netline.inerr.class", class, inerr_classes, "The group that the reason belongs to"),
	ROW(S, "netline.inerr.kernel_reason", kernel_reason, NULL, "The kernel's own name of the drop reason, without SKB_DROP_REASON_", IF_ZERO("the kernel gives none")),
	ROW(S, "netline.inerr.count", count, "1", "How many packets the record stands for: 1, or those of a flow and reason that came after the first within a second"),
	ROW_ENUM(S, "netline.tcp.state", state, tcp_state_names, "State of the packet's socket", IF_ZERO(NO_SOCKET_KNOWN)),
	ROW_ENUM(S, "netline.tcp.flags", flags, tcp_flag_names, "The segment's flags, the highest bit first", IF_ZERO("none is set, or the segment is too short")),
	ROW(S, "netline.tcp.seq", seq, "1", "Sequence number", IF_MAX("the segment is too short")),
	ROW(S, "netline.tcp.ack", ack, "1", "Acknowledgment number", IF_MAX("the segment is too short")),
	ROW(S, "netline.tcp.expected_seq", expected_seq, "1", "Sequence number that the socket expected next", IF_MAX(NO_SOCKET_KNOWN ", or it is not connected")),
	ROW(S, "netline.tcp.window", window, "1", "The socket's receive window: how many bytes it takes from expected_seq on", IF_MAX(NO_SOCKET_KNOWN ", or it is not connected")),
	ROW(S, "netline.packet.bytes", packet_bytes, "bytes", "Length of the IP packet by its header", IF_ZERO("the header does not tell, or there is no packet")),
	ROW(S, "netline.socket.cookie", cookie, NULL, "The socket's cookie, as in ss -e", IF_ZERO(NO_SOCKET_KNOWN ", or nobody has asked for its cookie")),
	ROW(S, "netline.socket.netns", netns, NULL, "Inode number of the network namespace", IF_ZERO("it is unknown")),
	ROW(S, "netline.socket.cgroup", cgroup, NULL, "Id of the socket's cgroup (v2)", IF_ZERO(NO_SOCKET_KNOWN ", or the kernel has no cgroup v2 for sockets")),
};
#undef S

static const struct record tcp_inerrs_record = {
	RECORD_NAME("tcp_inerrs"),
	.title = "A bad TCP packet came in, and was dropped",
	.stream = "logs",
	.event_kind = "event",
	.event_category = "network",
	.event_type = "connection,info",
	.event_action = "tcp-input-error",
	.size = sizeof(struct tcp_inerrs),
	.rows = tcp_inerrs_rows,
	.n_rows = sizeof(tcp_inerrs_rows) / sizeof(tcp_inerrs_rows[0]),
};
#endif
#endif
