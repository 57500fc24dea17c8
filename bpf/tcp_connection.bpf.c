/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp_connection, and with it the socket table (lib/sockets.bpf.h): one object does both, because they stand on the same
 * hooks, and a second program on each would only cost. Here is what a socket's states tell; lib/accept.bpf.h has accept.
 *
 *   CLOSE -> SYN_SENT            in the connecting task: enter its owner
 *   CLOSE -> LISTEN              in the listening task: enter its owner
 *   SYN_SENT -> ESTABLISHED      record: connected
 *   SYN_RECV -> ESTABLISHED      softirq, final ACK of the handshake: into the accept queue
 *   accept returns               owner known; record: accepted
 *   any -> CLOSE                 record if there was none: failed, or closed before accept; the entry ends
 *
 * A connection of which the beginning was not seen makes no record of tcp_connection. For tcp_bytes (lib/bytes.bpf.h) CLOSE tells
 * what is left to tell; for probes that see packets without their socket lib/by_address.bpf.h is kept.
 */
#include "kernel.h"
#include "lib/accept.bpf.h"
#include "lib/existing.bpf.h"
#include "lib/taken.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* A process connects, or listens. */
static __always_inline void on_begin(const struct sock *sk, const struct tcp_sock *tcp, bool listens)
{
	struct socket_entry entry = { .role = listens ? ROLE_SERVER : ROLE_CLIENT, .phase = listens ? PHASE_LISTENING : PHASE_CONNECTING };
	const struct socket_entry *found = settings.bytes && !listens ? sockets_find(sk) : NULL;

	if (found && found->phase == PHASE_OPEN)	/* and not the first run of two */
		count_missed_close(sk);
	if (listens)
		enter_listener((const struct sock *)tcp, true);
	else
		entry.start_ns = bpf_ktime_get_ns();
	current_owner(&entry);
	if (sockets_put(sk, &entry, BPF_ANY))
		count_full();
}

/* An accepted connection is established. Returns when. */
static __always_inline __u64 on_queued(const struct sock *sk, const struct tcp_sock *tcp)
{
	struct queued queued = { .record.time.ns = bpf_ktime_get_ns() };
	__u64 key = (__u64)sk;
	struct view view;

	look((const struct sock *)tcp, true, &view);
	queued.refused = !(settings.actions & 1 << ACTION_ACCEPT) || !socket_wanted(&view);
	fill_socket(&queued.record, &view, tcp, false);
	if (bpf_map_update_elem(&accept_queue, &key, &queued, BPF_ANY))
		count_full();
	return queued.record.time.ns;
}

/* SYN_SENT is over, or SYN_RECV of a socket that a process has: what the table knows of it is told once. */
static __always_inline void on_handshake_end(const struct sock *sk, const struct tcp_sock *tcp, struct socket_entry *found, int to)
{
	struct socket_entry entry = *found;

	found->phase = PHASE_OPEN;
	if (to == TCP_CLOSE)
		sockets_remove(sk);
	if (entry.phase != PHASE_OPEN)
		tell_handshake(tcp, &entry, entry.role == ROLE_CLIENT && to == TCP_CLOSE ? sk->sk_err ?: REASON_ABORTED : 0);
}

/*
 * An accepted connection is established. First into the queue, then look whether it was accepted early: as on_accept_unqueued(). Returns
 * what a process has already, or NULL.
 */
static __always_inline struct socket_entry *on_established(const struct sock *sk, const struct tcp_sock *tcp)
{
	struct socket_entry *found;
	__u64 start_ns;

	if (sk->sk_socket) {
		found = sockets_find(sk);
		if (found && found->phase != PHASE_EARLY)	/* both sides connect; or the second run of two */
			return found;
	}
	start_ns = on_queued(sk, tcp);
	found = sockets_find(sk);
	if (!found || found->start_ns == start_ns)	/* accept took it from the queue just now */
		return NULL;
	if (found->phase == PHASE_EARLY)
		return take_from_queue(sk) ? found : NULL;
	count_missed_close(sk);	/* its address was another socket's, of which the end was missed */
	sockets_remove(sk);
	return NULL;
}

static __always_inline void on_close_queued(const struct sock *sk)
{
	struct queued queued;

	if (!queue_look(sk, &queued) || !take_from_queue(sk))	/* never there, or accept was faster */
		return;
	judge_queued(&queued.record, sk, ACCEPT_CLOSED);
	if (ADMIT(ownerless_wanted(&queued)))
		submit_copy(&queued.record);
}

/* Before the socket leaves the table. */
static __always_inline void on_close(const struct sock *sk, const struct tcp_sock *tcp, int from)
{
	if (from == TCP_LISTEN)
		forget_listener((const struct sock *)tcp);
	else if (settings.by_address)
		forget_address((const struct sock *)tcp);
	if (settings.bytes && from != TCP_LISTEN)
		bytes_on_close(sk, tcp, from);
}

/* SYN_SENT to SYN_RECV does not count: both sides connect, and the handshake goes on. */
static __always_inline bool is_of_interest(int from, int to)
{
	return to == TCP_SYN_SENT || to == TCP_LISTEN || to == TCP_CLOSE || (to != TCP_SYN_RECV && (from == TCP_SYN_SENT || from == TCP_SYN_RECV));
}

/* The socket is locked here, so transitions of one socket come one after the other; only accept may run beside them. */
static __always_inline void on_state(struct sock *sk, int from, int to)
{
	struct tcp_sock *tcp = as_tcp(sk);
	struct socket_entry *ended = NULL;

	if (!tcp)
		return;
	if (settings.cookies && (to == TCP_SYN_SENT || to == TCP_ESTABLISHED))
		bpf_get_socket_cookie(sk);	/* makes it */
	if (settings.by_address && to == TCP_ESTABLISHED && enter_address((const struct sock *)tcp, true))
		count_full();
	if (to == TCP_CLOSE)
		on_close(sk, tcp, from);
	if (to == TCP_SYN_SENT || to == TCP_LISTEN)
		on_begin(sk, tcp, to == TCP_LISTEN);
	else if (from == TCP_SYN_RECV && to == TCP_ESTABLISHED)
		ended = on_established(sk, tcp);
	else if (from == TCP_SYN_SENT || from == TCP_SYN_RECV)
		ended = sockets_find(sk);
	else if (!sockets_remove(sk))
		on_close_queued(sk);
	if (ended)
		on_handshake_end(sk, tcp, ended, to);
}

/* Reads the states again: the verifier would go on with each value apart that it knows by now. */
static __always_inline int on_transition(const unsigned long long *ctx, struct sock *sk, int from, int to)
{
	const volatile unsigned long long *arguments = ctx;

	if (is_of_interest(from, to))
		on_state(sk, arguments[1], arguments[2]);
	return 0;
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock *sk, int from, int to)
{
	take(sk, to);
	return on_transition(ctx, sk, from, to);
}

/* For the runs that the kernel skips: see lib/taken.bpf.h. Attached after set_state(), in this order. */
#define STAND_IN(name) SEC("?tp_btf/inet_sock_set_state") int BPF_PROG(name, struct sock *sk, int from, int to) \
{ \
	return take_missed(sk, to) ? on_transition(ctx, sk, from, to) : 0; \
}

STAND_IN(set_state_nested)
STAND_IN(set_state_preempted)	/* these only where tasks can be preempted in a tracepoint: one for each that is at a time */
STAND_IN(set_state_preempted_2)
STAND_IN(set_state_preempted_3)
STAND_IN(set_state_preempted_4)
STAND_IN(set_state_preempted_5)
STAND_IN(set_state_preempted_6)

/* At the end: what still waits in an accept queue. */
__weak int tell_pending(__u32 i, __u32 row)
{
	struct tcp_connection *r = batch_row(row, sizeof(*r));
	__u64 key = batch_key(i);
	struct queued *queued = bpf_map_lookup_elem(&accept_queue, &key);

	if (!queued || !r)
		return 0;
	*r = queued->record;
	judge_queued(r, (const struct sock *)key, ACCEPT_PENDING);
	return ADMIT(ownerless_wanted(queued));
}
EACH_KEY(find_pending, tell_pending)
