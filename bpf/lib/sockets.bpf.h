/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket table: who owns a TCP socket, in which role, and since when.
 *
 * A hash by the address of struct sock, because SK_STORAGE cannot be used by tracing programs before 5.11, and because
 * an insertion or a deletion that succeeds is a claim that two CPUs cannot both win. An entry is made at connect, at listen, at
 * accept, and at start for sockets that are open already; it ends when the socket reaches CLOSE, which the kernel tells
 * exactly once. The cgroup is the socket's own: read it from there.
 *
 * It is two maps, because a walk looks at every bucket of one: the second, large one is used when the first is full.
 *
 * Members of a struct sock that the verifier knows (an argument of a tp_btf program: `known`) are read directly, which costs next
 * to nothing; of one that is a mere number by bpf_probe_read_kernel(), some 40 ns a member.
 */
#ifndef NETLINE_SOCKETS_BPF_H
#define NETLINE_SOCKETS_BPF_H

#include "probe.bpf.h"
#include "../../schema/connection.h"

#define SOCKETS(name) struct { \
	__uint(type, BPF_MAP_TYPE_HASH); \
	__uint(max_entries, 1 << 16);	/* size and flags are the agent's choice */ \
	__type(key, __u64); \
	__type(value, struct socket_entry); \
} name SEC(".maps")

SOCKETS(sockets);
SOCKETS(more_sockets);

__u32 sockets_spilled SEC(".bss.spilled");	/* more_sockets is in use */

static __always_inline struct socket_entry *sockets_find(const struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct socket_entry *found = bpf_map_lookup_elem(&sockets, &key);

	if (!found && settings.more_sockets && sockets_spilled)
		found = bpf_map_lookup_elem(&more_sockets, &key);
	return found;
}

static __always_inline long sockets_put_more(const struct sock *sk, const struct socket_entry *entry, __u64 flags)
{
	__u64 key = (__u64)sk;

	sockets_spilled = true;
	return bpf_map_update_elem(&more_sockets, &key, entry, flags);
}

/* 0 or a negative errno: -EEXIST under BPF_NOEXIST, else the table is full. */
static __always_inline long sockets_put(const struct sock *sk, const struct socket_entry *entry, __u64 flags)
{
	__u64 key = (__u64)sk;
	long err;

	if (settings.more_sockets && sockets_spilled && bpf_map_lookup_elem(&more_sockets, &key))
		return sockets_put_more(sk, entry, flags);
	err = bpf_map_update_elem(&sockets, &key, entry, flags);
	return err && err != -EEXIST && settings.more_sockets ? sockets_put_more(sk, entry, flags) : err;
}

/* True if it was there. */
static __always_inline bool sockets_remove(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	return !bpf_map_delete_elem(&sockets, &key) || (settings.more_sockets && sockets_spilled && !bpf_map_delete_elem(&more_sockets, &key));
}

/*
 * Enters a socket that is not there from a task that holds it but not its lock: it may close meanwhile, and then nobody else would remove it.
 * The kernel tells of CLOSE a moment before it stores the state: in that moment an entry may be left, until its address is used again.
 * True if it was entered.
 */
static __always_inline bool sockets_put_open(const struct sock *sk, const struct socket_entry *entry)
{
	long err = sockets_put(sk, entry, BPF_NOEXIST);

	if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE) {
		sockets_remove(sk);
		return false;
	}
	return !err;
}

/* The current task. Its leader's name needs a look only if it is another thread. */
static __always_inline void current_owner(struct socket_entry *entry)
{
	struct socket_owner *owner = &entry->owner;
	__u64 id = bpf_get_current_pid_tgid();
	struct task_struct *task;

	owner->pid = id >> 32;
	owner->tid = id;
	bpf_get_current_comm(owner->thread_name, COMM_LEN);
	if (owner->pid == owner->tid)
		__builtin_memcpy(owner->process_name, owner->thread_name, COMM_LEN);
	if (owner->pid == owner->tid && !settings.by_mntns_set)
		return;
	task = (struct task_struct *)bpf_get_current_task();
	if (owner->pid != owner->tid)
		BPF_CORE_READ_INTO(&owner->process_name, task, group_leader, comm);
	if (settings.by_mntns_set)
		entry->mntns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
}

/* NULL if it is no full TCP socket: then a request, in TIME_WAIT, or of another protocol. */
static __always_inline struct tcp_sock *as_tcp(const struct sock *sk)
{
	return bpf_skc_to_tcp_sock((void *)sk);
}

/* What filters and records tell of a socket. */
struct view {
	nl_ip local_ip;
	nl_ip remote_ip;
	__u64 cookie;
	struct cgroup *cgroup;	/* a mere number; NULL: none */
	__u32 netns;
	__u16 local_port;
	__u16 remote_port;
	__u8 family;
};

static __always_inline __u32 netns_of_socket(const struct sock *sk, bool known)
{
	return known ? sk->__sk_common.skc_net.net->ns.inum : BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

/* The socket's cgroup: set at creation, inherited by accepted sockets. */
static __always_inline struct cgroup *socket_cgroup(const struct sock *sk, bool known)
{
	const struct sock_cgroup_data___before_5_15 *data = (const void *)&sk->sk_cgrp_data;
	__u64 value;

	if (bpf_core_field_exists(struct sock_cgroup_data, cgroup))
		return OF(sk, sk_cgrp_data.cgroup);
	value = OF(data, val);
	return value & 1 ? NULL : (struct cgroup *)(value & ~3ull);	/* bit 0: net_cls and net_prio data instead */
}

static __always_inline __u64 cgroup_id(const struct cgroup *cgroup)
{
	return BPF_CORE_READ(cgroup, kn, id);	/* 0 if there is none */
}

static __always_inline bool is_mapped(const __u32 *address)
{
	return !address[0] && !address[1] && address[2] == bpf_htonl(0xffff);
}

/* As IPv6, IPv4 mapped into it. */
static __always_inline void copy_address(nl_ip *ret_to, __u32 ipv4, const struct in6_addr *ipv6, bool is_ipv4, bool known)
{
	__u32 *to = (__u32 *)ret_to->bytes;

	if (is_ipv4) {
		to[0] = to[1] = 0;
		to[2] = bpf_htonl(0xffff);
		to[3] = ipv4;
	} else if (known) {
		to[0] = ipv6->in6_u.u6_addr32[0];
		to[1] = ipv6->in6_u.u6_addr32[1];
		to[2] = ipv6->in6_u.u6_addr32[2];
		to[3] = ipv6->in6_u.u6_addr32[3];
	} else {
		bpf_probe_read_kernel(to, sizeof(*ret_to), ipv6);
	}
}

/* A known one has to be known as a struct tcp_sock. */
static __always_inline void look(const struct sock *sk, bool known, struct view *ret_view)
{
	bool is_ipv4 = OF(sk, __sk_common.skc_family) == AF_INET;

	copy_address(&ret_view->local_ip, OF(sk, __sk_common.skc_rcv_saddr), &sk->__sk_common.skc_v6_rcv_saddr, is_ipv4, known);
	copy_address(&ret_view->remote_ip, OF(sk, __sk_common.skc_daddr), &sk->__sk_common.skc_v6_daddr, is_ipv4, known);
	ret_view->cookie = OF(sk, __sk_common.skc_cookie.counter);
	ret_view->cgroup = socket_cgroup(sk, known);
	ret_view->netns = netns_of_socket(sk, known);
	ret_view->local_port = bpf_ntohs(OF((const struct inet_sock *)sk, inet_sport));	/* skc_num is 0 again at CLOSE */
	ret_view->remote_port = bpf_ntohs(OF(sk, __sk_common.skc_dport));
	ret_view->family = is_mapped((const __u32 *)ret_view->remote_ip.bytes) ? FAMILY_IPV4 : FAMILY_IPV6;
}

static __always_inline __u64 srtt_ns(const struct tcp_sock *tcp, bool known)
{
	return (OF(tcp, srtt_us) >> 3) * 1000ull;
}

/* The members that the rows of schema/connection.h are about. */
#define FILL_OWNER(r, from) do { \
	const struct socket_owner *owner_ = (from); \
	(r)->pid = owner_->pid; \
	(r)->tid = owner_->tid; \
	__builtin_memcpy((r)->process_name, owner_->process_name, COMM_LEN); \
	__builtin_memcpy((r)->thread_name, owner_->thread_name, COMM_LEN); \
} while (0)

#define FILL_CONNECTION(r, view, role_) do { \
	bool is_server_ = (role_) == ROLE_SERVER; \
	(r)->cookie.value = (view)->cookie; \
	(r)->netns.value = (view)->netns; \
	(r)->cgroup.value = cgroup_id((view)->cgroup); \
	(r)->source_ip = is_server_ ? (view)->remote_ip : (view)->local_ip; \
	(r)->destination_ip = is_server_ ? (view)->local_ip : (view)->remote_ip; \
	(r)->source_port = is_server_ ? (view)->remote_port : (view)->local_port; \
	(r)->destination_port = is_server_ ? (view)->local_port : (view)->remote_port; \
	(r)->family = (view)->family; \
	(r)->role = (role_); \
	(r)->direction = is_server_ ? DIRECTION_INGRESS : (role_) == ROLE_CLIENT ? DIRECTION_EGRESS : DIRECTION_UNKNOWN; \
} while (0)
#endif
