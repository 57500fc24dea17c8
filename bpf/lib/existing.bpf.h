/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket table at start: sockets that processes hold already. First the listeners are found, by which the role of the
 * others is told, then all others; the iterator goes by pid, so the lowest one that holds a socket owns it. Their addresses
 * and times are not in the table: a connection of which the beginning was not seen makes no record.
 */
#ifndef NETLINE_EXISTING_BPF_H
#define NETLINE_EXISTING_BPF_H

#include "bytes_walk.bpf.h"

static __always_inline void enter_owner(const struct task_struct *task, struct socket_entry *entry)
{
	entry->owner.pid = BPF_CORE_READ(task, tgid);	/* which of its threads opened the socket is not known */
	BPF_CORE_READ_INTO(&entry->owner.process_name, task, group_leader, comm);
	if (settings.by_mntns_set)
		entry->mntns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
}

SEC("?iter/task_file")
int find_listeners(struct bpf_iter__task_file *ctx)
{
	struct socket_entry entry = { .role = ROLE_SERVER, .phase = PHASE_LISTENING };
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sock *sk = task && file ? tcp_sock_of(file) : NULL;

	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN)
		return 0;
	enter_owner(task, &entry);
	enter_listener(sk, false);
	sockets_put_open(sk, &entry);
	return 0;
}

SEC("?iter/task_file")
int find_sockets(struct bpf_iter__task_file *ctx)
{
	struct socket_entry entry = { .role = ROLE_UNKNOWN, .phase = PHASE_OPEN };
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sock *sk = task && file ? tcp_sock_of(file) : NULL;
	__u8 state = sk ? BPF_CORE_READ(sk, __sk_common.skc_state) : TCP_CLOSE;
	struct listener_key key;

	if (state == TCP_CLOSE || state == TCP_LISTEN || sockets_find(sk))
		return 0;
	key = listener_of(sk, false);
	if (state == TCP_SYN_SENT) {
		entry.role = ROLE_CLIENT;
		entry.phase = PHASE_CONNECTING;
	} else if (bpf_map_lookup_elem(&listening, &key)) {
		entry.role = ROLE_SERVER;
	}
	enter_owner(task, &entry);
	if (settings.bytes && !bytes_on_found(sk, &entry)) {
		count_full();
		return 0;
	}
	if (sockets_put_open(sk, &entry)) {
		if (settings.by_address)
			enter_address(sk, false);
	} else if (settings.bytes && !sockets_find(sk)) {
		forget_told(sk);
	}
	return 0;
}
#endif
