/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket table: who owns a TCP socket, in which role, and since when.
 *
 * A hash by the address of struct sock, because SK_STORAGE cannot be used by tracing programs before 5.11, and because
 * an insertion or a deletion that succeeds is a claim that two CPUs cannot both win. An entry is made at connect, at
 * accept, and at start for sockets that are open already; it ends when the socket reaches CLOSE, which the kernel tells
 * exactly once. The cgroup is the socket's own: read it from there. Entries are preallocated: to allocate and free one in
 * the hooks took a third of their time.
 *
 * Functions that take a struct sock want one that the verifier knows (an argument of a tp_btf program): they read it
 * directly, which costs next to nothing, where bpf_probe_read_kernel() costs some 40 ns a member.
 */
#ifndef NETLINE_SOCKETS_BPF_H
#define NETLINE_SOCKETS_BPF_H

#include "probe.bpf.h"
#include "../../schema/connection.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);	/* the agent sets it by the machine's memory */
	__type(key, __u64);
	__type(value, struct socket_entry);
} sockets SEC(".maps");

static __always_inline struct socket_entry *sockets_find(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	return bpf_map_lookup_elem(&sockets, &key);
}

/* 0 or a negative errno: -EEXIST under BPF_NOEXIST, else the table is full. */
static __always_inline long sockets_put(const struct sock *sk, const struct socket_entry *entry, __u64 flags)
{
	__u64 key = (__u64)sk;

	return bpf_map_update_elem(&sockets, &key, entry, flags);
}

/* True if it was there. */
static __always_inline bool sockets_remove(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	return !bpf_map_delete_elem(&sockets, &key);
}

/*
 * Enters a socket that is not there from a task that holds it but not its lock: it may close meanwhile, and then nobody else would remove it.
 * The kernel tells of CLOSE a moment before it stores the state: in that moment an entry may be left, until its address is used again.
 */
static __always_inline void sockets_put_open(const struct sock *sk, const struct socket_entry *entry)
{
	sockets_put(sk, entry, BPF_NOEXIST);
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		sockets_remove(sk);
}

/* The current task. Its leader's name needs a look only if it is another thread. */
static __always_inline void current_owner(struct socket_owner *ret_owner)
{
	__u64 id = bpf_get_current_pid_tgid();

	ret_owner->pid = id >> 32;
	ret_owner->tid = id;
	bpf_get_current_comm(ret_owner->thread_name, COMM_LEN);
	if (ret_owner->pid == ret_owner->tid) {
		__builtin_memcpy(ret_owner->process_name, ret_owner->thread_name, COMM_LEN);
	} else {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();

		BPF_CORE_READ_INTO(&ret_owner->process_name, task, group_leader, comm);
	}
}

/* NULL if it is no full TCP socket: then a request, in TIME_WAIT, or of another protocol. */
static __always_inline struct tcp_sock *as_tcp(const struct sock *sk)
{
	return bpf_skc_to_tcp_sock((void *)sk);
}

static __always_inline __u16 local_port(const struct tcp_sock *tcp)
{
	return bpf_ntohs(((const struct inet_sock *)tcp)->inet_sport);	/* skc_num is 0 again at CLOSE */
}

/* The socket's cgroup: set at creation, inherited by accepted sockets; NULL if there is none. */
static __always_inline struct cgroup *socket_cgroup(const struct sock *sk)
{
	if (bpf_core_field_exists(struct sock_cgroup_data, cgroup))
		return sk->sk_cgrp_data.cgroup;

	__u64 value = ((const struct sock_cgroup_data___before_5_15 *)&sk->sk_cgrp_data)->val;

	return value & 1 ? NULL : (struct cgroup *)(value & ~3ull);	/* bit 0: net_cls and net_prio data instead */
}

static __always_inline bool is_mapped(const struct in6_addr *address)
{
	return !address->in6_u.u6_addr32[0] && !address->in6_u.u6_addr32[1] && address->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

/* Of the peer's address, so that a v4-mapped one counts as IPv4. */
static __always_inline __u8 socket_family(const struct sock *sk)
{
	return sk->__sk_common.skc_family == AF_INET || is_mapped(&sk->__sk_common.skc_v6_daddr) ? FAMILY_IPV4 : FAMILY_IPV6;
}

static __always_inline void copy_address(nl_ip *ret_to, __u32 ipv4, const struct in6_addr *ipv6, bool is_ipv4)
{
	__u32 *to = (__u32 *)ret_to->bytes;

	to[0] = is_ipv4 ? 0 : ipv6->in6_u.u6_addr32[0];
	to[1] = is_ipv4 ? 0 : ipv6->in6_u.u6_addr32[1];
	to[2] = is_ipv4 ? bpf_htonl(0xffff) : ipv6->in6_u.u6_addr32[2];
	to[3] = is_ipv4 ? ipv4 : ipv6->in6_u.u6_addr32[3];
}

/* Both addresses as IPv6, IPv4 mapped into it. */
static __always_inline void socket_addresses(const struct sock *sk, nl_ip *ret_local, nl_ip *ret_remote)
{
	const struct sock_common *common = &sk->__sk_common;
	bool is_ipv4 = common->skc_family == AF_INET;

	copy_address(ret_local, common->skc_rcv_saddr, &common->skc_v6_rcv_saddr, is_ipv4);
	copy_address(ret_remote, common->skc_daddr, &common->skc_v6_daddr, is_ipv4);
}
#endif
