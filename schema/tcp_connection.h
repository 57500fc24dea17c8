/* SPDX-License-Identifier: BSD-2-Clause */
/* tcp_connection: one record per TCP connection and side, filled by bpf/tcp_connection.bpf.c. */
#ifndef NETLINE_TCP_CONNECTION_H
#define NETLINE_TCP_CONNECTION_H

#include "record.h"
#include "connection.h"

enum connection_action { ACTION_CONNECT, ACTION_ACCEPT };
enum connection_outcome { OUTCOME_SUCCESS, OUTCOME_FAILURE };
enum accept_state { ACCEPT_NONE, ACCEPT_ACCEPTED, ACCEPT_CLOSED, ACCEPT_PENDING };

/* Reasons of failure: errno numbers, and from here on our own. */
enum connection_reason { REASON_ABORTED = 200, REASON_CLOSED_BEFORE_ACCEPT };

struct tcp_connection {
	nl_time time;
	__u64 handshake_ns;
	__u64 srtt_ns;
	__u64 accept_wait_ns;
	nl_id cookie;
	nl_id netns;
	nl_id cgroup;
	nl_ip source_ip;
	nl_ip destination_ip;
	char process_name[COMM_LEN];
	char thread_name[COMM_LEN];
	__u32 pid;
	__u32 tid;
	__u16 source_port;
	__u16 destination_port;
	__u16 reason;
	__u8 action;
	__u8 outcome;
	__u8 family;
	__u8 direction;
	__u8 role;
	__u8 accept_state;
	__u8 pad[4];
};
_Static_assert(sizeof(struct tcp_connection) == 144, "the same size for BPF and the agent");

#ifndef __bpf__
#include "errno_names.h"

static const char *const connection_actions[] = { "tcp-connect", "tcp-accept" };
static const char *const connection_outcomes[] = { "success", "failure" };
static const char *const accept_states[] = { NULL, "accepted", "closed", "pending" };
static const char *const connection_reasons[] = {
	ERRNO_NAMES,
	[REASON_ABORTED] = "aborted",
	[REASON_CLOSED_BEFORE_ACCEPT] = "closed_before_accept",
};

#define S struct tcp_connection
static const struct row tcp_connection_rows[] = {
	ROW(S, "@timestamp", time, NULL, "When the connection was established, or when it failed"),
	ROW_ENUM(S, "event.action", action, connection_actions, "Which side this host was: the one that connected or the one that accepted"),
	ROW_ENUM(S, "event.outcome", outcome, connection_outcomes, "Whether the connection was established and, on the accepting side, not closed before a process accepted it"),
	ROW_ENUM(S, "event.reason", reason, connection_reasons, "Why it failed: the kernel's errno in lower case, aborted (closed or out of ports before an answer came) or closed_before_accept", IF_ZERO("the outcome is success")),
	ROW(S, "event.duration", handshake_ns, "ns", "Time from the connect call to ESTABLISHED or to the failure", IF_ZERO("the action is tcp-accept, or the connect call was not seen")),
	NETWORK_ROWS(S),
	COMMUNITY_ROW(S),
	SOURCE_ROWS(S, IF_ZERO("the connect failed because no port was free")),
	DESTINATION_ROWS(S),
	OWNER_ROWS(S),
	CONTAINER_ROW(S),
	ROLE_ROW(S),
	ROW(S, "netline.srtt_ns", srtt_ns, "ns", "Round-trip time that the kernel measured over the handshake", IF_ZERO("the action is tcp-connect, or the kernel measured none")),
	ROW_ENUM(S, "netline.accept.state", accept_state, accept_states, "What became of it in the accept queue: a process accepted it, it was closed first, or it was still there when the agent stopped", IF_ZERO("the action is tcp-connect")),
	ROW(S, "netline.accept.wait_ns", accept_wait_ns, "ns", "Time in the accept queue: until a process accepted it, it was closed, or the agent stopped", IF_ZERO("the action is tcp-connect, or the accept call was not seen")),
	SOCKET_ROWS(S),
};
#undef S

static const struct record tcp_connection_record = {
	RECORD_NAME("tcp_connection"),
	.title = "One record per TCP connection and side, when it is established and accepted, or when it fails",
	.stream = "logs",
	.event_kind = "event",
	.event_category = "network",
	.event_type = "connection,start",
	.size = sizeof(struct tcp_connection),
	.rows = tcp_connection_rows,
	.n_rows = sizeof(tcp_connection_rows) / sizeof(tcp_connection_rows[0]),
};
#endif
#endif
