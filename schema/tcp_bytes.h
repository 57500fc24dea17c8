/* SPDX-License-Identifier: BSD-2-Clause */
/* tcp_bytes: one record per TCP connection and side with traffic, every interval and at its end. Filled by bpf/lib/bytes.bpf.h, completed by the agent. */
#ifndef NETLINE_TCP_BYTES_H
#define NETLINE_TCP_BYTES_H

#include "record.h"
#include "connection.h"

enum connection_life { CONNECTION_OPEN, CONNECTION_CLOSED };

struct tcp_bytes {
	nl_time time;		/* open: filled by the agent, with what is marked here */
	nl_time start;		/* agent */
	__u64 duration_ns;	/* agent */
	__u64 bytes;		/* agent */
	__u64 source_bytes;	/* agent */
	__u64 destination_bytes;	/* agent */
	__u64 sent;
	__u64 retransmitted;
	__u64 received;
	__u64 sent_total;
	__u64 received_total;
	__u64 srtt_ns;
	nl_id cookie;
	nl_id netns;
	nl_id cgroup;
	__u64 told_key, told_start;	/* closed, and told of before: where in the map `told`, and since when; key 0: not */
	nl_ip source_ip;
	nl_ip destination_ip;
	char process_name[COMM_LEN];
	char thread_name[COMM_LEN];
	__u32 pid;
	__u32 tid;
	__u32 segments_sent;
	__u32 segments_received;
	__u16 source_port;
	__u16 destination_port;
	__u8 family;
	__u8 direction;
	__u8 role;
	__u8 connection;
};
_Static_assert(sizeof(struct tcp_bytes) == 224, "the same size for BPF and the agent");

struct progress {
	__u64 sent, received, retransmitted;
	__u32 segments_sent, segments_received;
};

/* The map `told`, by the address of the kernel's struct sock. */
struct told {
	__u64 start_ns;		/* of the connection whose it is */
	struct progress progress;
};

/* In `ret_grown` what `now` is more than `told`, member by member; `told` and `now` become the larger of both. */
static inline __attribute__((always_inline)) void progress_advance(struct progress *told, struct progress *now, struct progress *ret_grown)
{
#define ADVANCE(member, is_more) do { \
		ret_grown->member = 0; \
		if (is_more) { \
			ret_grown->member = now->member - told->member; \
			told->member = now->member; \
		} \
	} while (0)
	ADVANCE(sent, now->sent > told->sent);
	ADVANCE(received, now->received > told->received);
	ADVANCE(retransmitted, now->retransmitted > told->retransmitted);
	ADVANCE(segments_sent, (__s32)(now->segments_sent - told->segments_sent) > 0);	/* they wrap */
	ADVANCE(segments_received, (__s32)(now->segments_received - told->segments_received) > 0);
#undef ADVANCE
	*now = *told;
}

#ifndef __bpf__
static const char *const connection_lives[] = { "open", "closed" };

#define S struct tcp_bytes
static const struct row tcp_bytes_rows[] = {
	ROW(S, "@timestamp", time, NULL, "End of the interval, the same for all connections that were open then; of the last record, when the connection was closed"),
	ROW(S, "event.start", start, NULL, "Start of the interval"),
	ROW(S, "event.duration", duration_ns, "ns", "Length of the interval; of the last record, until the connection was closed"),
	NETWORK_ROWS(S),
	COMMUNITY_ROW(S),
	ROW(S, "network.bytes", bytes, "bytes", "Payload in both directions in the interval"),
	SOURCE_ROWS(S),
	ROW(S, "source.bytes", source_bytes, "bytes", "Payload that it sent in the interval"),
	DESTINATION_ROWS(S),
	ROW(S, "destination.bytes", destination_bytes, "bytes", "Payload that it sent in the interval"),
	OWNER_ROWS(S),
	CONTAINER_ROW(S),
	ROLE_ROW(S),
	ROW_ENUM(S, "netline.connection", connection, connection_lives, "Whether it was open at the end of the interval; closed: this is its last record"),
	ROW(S, "netline.bytes.sent", sent, "bytes", "Payload that this socket sent in the interval, retransmissions apart"),
	ROW(S, "netline.bytes.retransmitted", retransmitted, "bytes", "Payload that this socket sent again in the interval"),
	ROW(S, "netline.bytes.received", received, "bytes", "Payload that came in order in the interval, read by the process or not"),
	ROW(S, "netline.bytes.sent_total", sent_total, "bytes", "Payload sent since the connection was opened; one more or less if that was before netline"),
	ROW(S, "netline.bytes.received_total", received_total, "bytes", "Payload received since the connection was opened"),
	ROW(S, "netline.segments.sent", segments_sent, "1", "Segments that this socket sent in the interval, with retransmissions and those without payload"),
	ROW(S, "netline.segments.received", segments_received, "1", "Segments that this socket received in the interval, with those without payload"),
	ROW(S, "netline.srtt_ns", srtt_ns, "ns", "Smoothed round-trip time at the end of the interval", IF_ZERO("the kernel has measured none")),
	SOCKET_ROWS(S),
};
#undef S

static const struct record tcp_bytes_record = {
	RECORD_NAME("tcp_bytes"),
	.title = "Payload bytes of each TCP connection with traffic, every interval and when it is closed",
	.stream = "metrics",
	.event_kind = "metric",
	.event_category = "network",
	.event_type = "connection,info",
	.event_action = "tcp-bytes",
	.size = sizeof(struct tcp_bytes),
	.rows = tcp_bytes_rows,
	.n_rows = sizeof(tcp_bytes_rows) / sizeof(tcp_bytes_rows[0]),
};
#endif
#endif
