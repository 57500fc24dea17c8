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
	__u8 by_cgroup_set;	/* --cgroupmap: only those in the map `cgroup_set` */
	__u8 by_mntns_set;	/* --mntnsmap: only those in the map `mntns_set` */
	__u8 bytes;		/* tcp_bytes runs */
	__u8 by_address;	/* the table is asked for sockets by their addresses */
	__u8 more_sockets;	/* the table has its second map */
	__u8 no_wakeups;	/* below wake_bytes: the agent comes by itself */
};
_Static_assert(sizeof(struct settings) == 24, "no padding without a name");

/* Where a function's code is. */
struct code_range {
	__u64 start, end;
};

/* A program that goes over elements works on so many keys at a time, and leaves a row for each of which there is something to tell. */
#define BATCH_KEYS 64
#define MAX_ROW 256
#define NOT_RUN (~0u)
struct key_batch {
	__u32 n_keys;
	__u32 n_rows;		/* written at the end */
	__u64 keys[BATCH_KEYS];
	char rows[BATCH_KEYS * MAX_ROW];
};

/* Per CPU, one element; totals since load. produced = in records or on the way + filtered + ring_full + map_full + missed. */
struct counters {
	__u64 produced;
	__u64 filtered;
	__u64 ring_full;
	__u64 map_full;
	__u64 missed;		/* found later that a program has not seen it */
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
	PHASE_LISTENING,
};
struct socket_owner {
	__u32 pid;		/* thread group; 0: unknown */
	__u32 tid;		/* 0: unknown */
	char process_name[COMM_LEN];
	char thread_name[COMM_LEN];
};
struct socket_entry {
	__u64 start_ns;		/* connect called; on the accepting side established, or accepted if that was not seen; 0: before netline */
	struct socket_owner owner;
	__u32 mntns;		/* of the owner, when it connected or accepted; 0: not asked */
	__u8 role;		/* enum connection_role */
	__u8 phase;
	__u8 is_stale;		/* a walk has found the socket closed */
	__u8 is_closed;		/* CLOSE is being told */
};

/* What the table is wanted for: bits, by the probes that run. */
enum table_use {
	TABLE_RECORDS = 1 << 0,		/* of connections */
	TABLE_BYTES = 1 << 1,
	TABLE_ADDRESSES = 1 << 2,	/* sockets by their addresses */
	TABLE_OF_KPROBES = 1 << 3,	/* programs of kprobes, even if those that keep it are none */
};

/* Keys of the maps that find a socket (the address of its struct sock) without it. Ports are numbers, not in network order. */
struct address_key {
	nl_ip local_ip;
	nl_ip remote_ip;
	__u32 netns;
	__u16 local_port;
	__u16 remote_port;
};
struct listener_key {
	__u32 netns;
	__u32 port;
};
#endif
