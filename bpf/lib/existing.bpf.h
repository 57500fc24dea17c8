/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket table at start: sockets that processes hold already. First the listeners are found, by which the role of the
 * others is told, then all others; the iterator goes by pid, so the lowest one that holds a socket owns it. Their addresses
 * and times are not in the table: a connection of which the beginning was not seen makes no record.
 */
#ifndef NETLINE_EXISTING_BPF_H
#define NETLINE_EXISTING_BPF_H

#include "descriptors.bpf.h"
#include "sockets.bpf.h"

struct listener {
	__u32 netns;
	__u16 port;	/* network order */
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct listener);
	__type(value, __u8);
} listeners SEC(".maps");

static __always_inline struct listener listener_of(const struct sock *sk)
{
	return (struct listener){ .netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum),
				  .port = BPF_CORE_READ((struct inet_sock *)sk, inet_sport) };
}

SEC("?iter/task_file")
int find_listeners(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct sock *sk = file ? tcp_sock_of(file) : NULL;
	__u8 yes = 1;

	if (sk && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN) {
		struct listener key = listener_of(sk);

		bpf_map_update_elem(&listeners, &key, &yes, BPF_ANY);
	}
	return 0;
}

SEC("?iter/task_file")
int find_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sock *sk = task && file ? tcp_sock_of(file) : NULL;
	struct socket_entry entry = { .role = ROLE_UNKNOWN, .phase = PHASE_OPEN };
	__u8 state = sk ? BPF_CORE_READ(sk, __sk_common.skc_state) : TCP_CLOSE;
	struct listener key;

	if (state == TCP_CLOSE || state == TCP_LISTEN)
		return 0;
	key = listener_of(sk);
	if (state == TCP_SYN_SENT) {
		entry.role = ROLE_CLIENT;
		entry.phase = PHASE_CONNECTING;
	} else if (bpf_map_lookup_elem(&listeners, &key)) {
		entry.role = ROLE_SERVER;
	}
	entry.owner.pid = BPF_CORE_READ(task, tgid);	/* which of its threads opened the socket is not known */
	BPF_CORE_READ_INTO(&entry.owner.process_name, task, group_leader, comm);
	sockets_put_open(sk, &entry);
	return 0;
}
#endif
