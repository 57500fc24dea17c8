/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections that are established and that no process has accepted yet. */
#ifndef NETLINE_ACCEPT_QUEUE_BPF_H
#define NETLINE_ACCEPT_QUEUE_BPF_H

#include "../kernel.h"
#include "../../schema/tcp_connection.h"

/*
 * The record, ready but for what accept tells. Preallocated (2 MiB), because entries come and go with every connection:
 * allocating them would be the larger part of the cost.
 */
struct queued {
	struct tcp_connection record;
	__u32 refused;	/* by filters that are about the socket */
	__u32 is_closed;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct queued);
} accept_queue SEC(".maps");

/* True if the socket is in the queue; it may leave it meanwhile: see take_from_queue(). */
static __always_inline bool queue_look(const struct sock *sk, struct queued *ret_queued)
{
	__u64 key = (__u64)sk;
	struct queued *found = bpf_map_lookup_elem(&accept_queue, &key);

	if (found)
		*ret_queued = *found;
	return found;
}

/* Each socket is in the queue once; true for exactly one caller. */
static __always_inline bool take_from_queue(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	return !bpf_map_delete_elem(&accept_queue, &key);
}

/* Whether a process got the socket: it has a file, or had one. Sockets in the accept queue have neither. */
static __always_inline bool has_been_accepted(const struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_socket) || BPF_CORE_READ(sk, __sk_common.skc_flags) & (1ul << SOCK_DEAD);
}

/* A socket in the queue was closed, or the agent ends: `state` says which. */
static __always_inline void judge_queued(struct tcp_connection *r, const struct sock *sk, __u8 state)
{
	__u64 now = bpf_ktime_get_ns();

	if (has_been_accepted(sk)) {	/* by a call that the hooks do not see: owner and wait are unknown */
		r->accept_state = ACCEPT_ACCEPTED;
		return;
	}
	r->accept_state = state;
	r->accept_wait_ns = now - r->time.ns;
	if (state == ACCEPT_CLOSED) {
		r->time.ns = now;
		r->outcome = OUTCOME_FAILURE;
		r->reason = REASON_CLOSED_BEFORE_ACCEPT;
	}
}
#endif
