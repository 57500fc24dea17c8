/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows that every record about a TCP connection shares: the struct `s` has members of these names. */
#ifndef NETLINE_CONNECTION_H
#define NETLINE_CONNECTION_H

#include "record.h"

enum connection_role { ROLE_UNKNOWN, ROLE_CLIENT, ROLE_SERVER };

#ifndef __bpf__
static const char *const role_names[] = { "unknown", "client", "server" };

#define NETWORK_ROWS(s) \
	ROW_ENUM(s, "network.type", family, family_names, "IP version; v4-mapped addresses count as IPv4"), \
	{ .path = "network.transport", .kind = KIND_CONST, .text = "tcp", .meaning = "Transport protocol" }, \
	ROW_ENUM(s, "network.direction", direction, direction_names, "Seen from this host: egress if it initiated the connection, else ingress", IF_MAX("the initiator is unknown"))

/* What follows is when there is no port. */
#define SOURCE_ROWS(s, ...) \
	ROW(s, "source.ip", source_ip, NULL, "Address of the initiator; of the local side where the role is unknown"), \
	ROW(s, "source.port", source_port, "1", "Port of the initiator; of the local side where the role is unknown", __VA_ARGS__)

#define DESTINATION_ROWS(s) \
	ROW(s, "destination.ip", destination_ip, NULL, "Address of the other side"), \
	ROW(s, "destination.port", destination_port, "1", "Port of the other side")

#define COMMUNITY_ROW(s) \
	{ .path = "network.community_id", .kind = KIND_COMMUNITY_ID, .offset = offsetof(s, source_ip), .size = 32, .count_offset = offsetof(s, source_port) + \
	  0 * sizeof(char[offsetof(s, destination_ip) == offsetof(s, source_ip) + 16 && offsetof(s, destination_port) == offsetof(s, source_port) + 2 ? 1 : -1]), \
	  .meaning = "Community ID (v1) of the flow: the same in other tools that have it", .absence = ABSENT_AT_ZERO, \
	  .when = "--community-id is not given, or addresses or ports are unknown" }

#define CONTAINER_ROW(s) \
	ROW_(s, "container.id", cgroup, KIND_CONTAINER, NULL, "Container of the socket's cgroup, by its name (docker, containerd, cri-o, podman)", \
	     IF_ZERO("the cgroup is in no container, or it is not known"))

#define OWNER_ROWS(s) \
	ROW(s, "process.pid", pid, "1", "Process (thread group) that connected or accepted", IF_ZERO("the socket's owner is unknown")), \
	ROW(s, "process.name", process_name, NULL, "Its name: the comm of the thread group's leader", IF_ZERO("the socket's owner is unknown")), \
	ROW(s, "process.thread.id", tid, "1", "Thread that connected or accepted", IF_ZERO("the thread is unknown")), \
	ROW(s, "process.thread.name", thread_name, NULL, "The thread's comm", IF_ZERO("the thread is unknown"))

#define ROLE_ROW(s) \
	ROW_ENUM(s, "netline.role", role, role_names, "What this host is in the connection")

#define SOCKET_ROWS(s) \
	ROW(s, "netline.socket.cookie", cookie, NULL, "The socket's cookie, as in ss -e; a socket that connects again keeps it", IF_ZERO("the kernel gives none to tracing programs (before 5.12)")), \
	ROW(s, "netline.socket.netns", netns, NULL, "Inode number of the network namespace"), \
	ROW(s, "netline.socket.cgroup", cgroup, NULL, "Id of the socket's cgroup (v2)", IF_ZERO("the kernel has no cgroup v2 for sockets"))
#endif
#endif
