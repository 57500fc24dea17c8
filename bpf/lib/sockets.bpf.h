/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket table: who owns a TCP socket, in which role, and since when.
 *
 * A hash by the address of struct sock, because SK_STORAGE cannot be used by tracing programs before 5.11, and because
 * an insertion or a deletion that succeeds is a claim that two CPUs cannot both win. An entry is made at connect, at the
 * birth of an accepted socket, and at start for sockets that are open already; it ends when the socket reaches CLOSE,
 * which the kernel tells exactly once. A full table is counted (map_full).
 */
#ifndef NETLINE_SOCKETS_BPF_H
#define NETLINE_SOCKETS_BPF_H

#include "probe.bpf.h"
#include "../../schema/connection.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);	/* the agent sets it by the machine's memory */
	__type(key, __u64);
	__type(value, struct socket_entry);
} sockets SEC(".maps");

static __always_inline void owner_of(struct task_struct *task, struct socket_owner *ret_owner)
{
	ret_owner->pid = BPF_CORE_READ(task, tgid);
	ret_owner->tid = BPF_CORE_READ(task, pid);
	BPF_CORE_READ_INTO(&ret_owner->process_name, task, group_leader, comm);
	BPF_CORE_READ_INTO(&ret_owner->thread_name, task, comm);
}

static __always_inline struct socket_entry *sockets_find(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	return bpf_map_lookup_elem(&sockets, &key);
}

/* 0, -EEXIST under BPF_NOEXIST, or another error: then the caller counts map_full. */
static __always_inline long sockets_put(const struct sock *sk, const struct socket_entry *entry, __u64 flags)
{
	__u64 key = (__u64)sk;

	return bpf_map_update_elem(&sockets, &key, entry, flags);
}

/* True for exactly one caller. */
static __always_inline bool sockets_take(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	return !bpf_map_delete_elem(&sockets, &key);
}

/* Enters a socket from a task that holds it but not its lock: it may close meanwhile, and then nobody else would remove it. */
static __always_inline void sockets_put_open(const struct sock *sk, const struct socket_entry *entry)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		return;
	sockets_put(sk, entry, BPF_NOEXIST);
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		sockets_take(sk);
}

static __always_inline bool is_tcp(const struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP &&
	       BPF_CORE_READ(sk, sk_type) == SOCK_STREAM;
}

static __always_inline __u32 netns_of(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline __u16 local_port(const struct sock *sk)
{
	return bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));	/* skc_num is 0 again at CLOSE */
}

/* The socket's cgroup: set at creation, inherited by accepted sockets; NULL if there is none. */
static __always_inline struct cgroup *socket_cgroup(const struct sock *sk)
{
	if (bpf_core_field_exists(struct sock_cgroup_data, cgroup))
		return BPF_CORE_READ(sk, sk_cgrp_data.cgroup);

	const struct sock_cgroup_data___before_5_15 *old = (const void *)&sk->sk_cgrp_data;
	__u64 value = BPF_CORE_READ(old, val);

	return value & 1 ? NULL : (struct cgroup *)(value & ~3ull);	/* bit 0: net_cls and net_prio data instead */
}

/* Of the peer's address, so that a v4-mapped one counts as IPv4. */
static __always_inline __u8 socket_family(const struct sock *sk)
{
	__u32 words[4];

	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		return FAMILY_IPV4;
	bpf_core_read(&words, sizeof(words), &sk->__sk_common.skc_v6_daddr);
	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff) ? FAMILY_IPV4 : FAMILY_IPV6;
}

/* Both addresses as IPv6, IPv4 mapped into it. */
static __always_inline void socket_addresses(const struct sock *sk, nl_ip *ret_local, nl_ip *ret_remote)
{
	__u32 local[4] = { 0, 0, bpf_htonl(0xffff), 0 }, remote[4] = { 0, 0, bpf_htonl(0xffff), 0 };

	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET) {
		local[3] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		remote[3] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	} else {
		bpf_core_read(&local, sizeof(local), &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(&remote, sizeof(remote), &sk->__sk_common.skc_v6_daddr);
	}
	__builtin_memcpy(ret_local, local, sizeof(local));
	__builtin_memcpy(ret_remote, remote, sizeof(remote));
}

/* The TCP socket behind a file, or NULL. */
static __always_inline struct sock *tcp_sock_of(const struct file *file)
{
	struct socket *socket;
	struct sock *sk;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	sk = socket ? BPF_CORE_READ(socket, sk) : NULL;	/* no socket: a file opened with O_PATH */
	return sk && is_tcp(sk) ? sk : NULL;
}

/* accept or accept4, also accept4 of 32-bit programs (364 is no number of 64-bit ones). */
static __always_inline bool is_accept_call(const struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	return regs->orig_ax == 43 || regs->orig_ax == 288 || regs->orig_ax == 364;
#elif defined(__TARGET_ARCH_arm64)
	return regs->syscallno == 202 || regs->syscallno == 242;
#endif
}

/* The TCP socket behind a descriptor of the current task, or NULL. */
static __always_inline struct sock *tcp_sock_of_fd(unsigned int fd)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files, *file = NULL;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	files = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return tcp_sock_of(file);
}
#endif
