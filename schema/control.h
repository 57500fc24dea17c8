/* SPDX-License-Identifier: BSD-2-Clause */
/* What the agent and the BPF programs agree on beside the records: settings before load, counters and table entries after. */
#ifndef NETLINE_CONTROL_H
#define NETLINE_CONTROL_H

#include "record.h"

#define FAMILY_BIT(family) (1 << (family))

/* Constant while the programs run (.rodata.settings): the verifier removes what is off. */
struct settings {
	__u64 cgroup;		/* --cgroup: id; 0: any */
	__u32 wake_bytes;	/* fill of the ring at which the agent is woken before its time */
	__u8 by_pid;		/* --pid: only those in the map `pids` */
	__u8 by_port;		/* --port: only those in the map `ports` */
	__u8 by_nic;		/* --nic: only those in the map `nics` */
	__u8 families;		/* FAMILY_BIT() of each that is wanted */
	__u8 actions;		/* bit ACTION_CONNECT, bit ACTION_ACCEPT: wanted */
	__u8 cookies;		/* the kernel has bpf_get_socket_cookie() for tracing programs */
	__u8 pad[6];
};
_Static_assert(sizeof(struct settings) == 24, "no padding without a name");

/* Per CPU, one element; totals since load. produced = in records or on the way + filtered + ring_full + map_full. */
struct counters {
	__u64 produced;
	__u64 filtered;
	__u64 ring_full;
	__u64 map_full;
	__u64 stood_in;		/* runs in the place of a program that the kernel skipped */
};

/* Key and value of the map `stats` of nic_throughput, per CPU. */
#define NO_QUEUE 0xffff		/* the driver recorded none */
struct nic_key {
	__u32 netns;
	__u32 index;
	__u16 queue;
	__u8 direction;
	__u8 pad;
};
struct nic_counters {
	__u64 skbs;
	__u64 packets;
	__u64 bytes;
	char name[16];
	__u32 queues;
	__u32 tick;		/* in which name and queues were read */
};
struct nic_id {
	__u32 netns;
	__u32 index;
};

/* The socket table: key is the address of the kernel's struct sock. */
enum socket_phase {
	PHASE_OPEN,
	PHASE_CONNECTING,
	PHASE_EARLY,		/* accepted before the handshake ended: TCP Fast Open */
};
struct socket_owner {
	__u32 pid;		/* thread group; 0: unknown */
	__u32 tid;		/* 0: unknown */
	char process_name[COMM_LEN];
	char thread_name[COMM_LEN];
};
struct socket_entry {
	__u64 start_ns;		/* connect called, or established on the accepting side; 0: before netline */
	struct socket_owner owner;
	__u8 role;		/* enum connection_role */
	__u8 phase;
	__u8 pad[6];
};
#endif
