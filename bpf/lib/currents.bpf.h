/* SPDX-License-Identifier: GPL-2.0-only */
/* The packet that TCP processes now, on each CPU, and what becomes of it. */
#ifndef NETLINE_CURRENTS_BPF_H
#define NETLINE_CURRENTS_BPF_H

#include "arrivals.bpf.h"
#include "flows.bpf.h"

/* What TCP processes now on this CPU: SOFTIRQ as it came, BACKLOG what had waited for the task that held its socket. */
enum { SOFTIRQ, BACKLOG, CURRENTS };
struct current {
	__u64 number;		/* of the skb, as in `trips`; 0: nothing */
	const struct sk_buff *skb;
	const struct sock *sk;	/* NULL: TCP has not told */
	__u64 since_ns;		/* when it came to TCP: whether it is still that trip */
	__u32 trip;
	__u32 pad;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CURRENTS);
	__type(key, __u32);
	__type(value, struct current);
} currents SEC(".maps");

static __always_inline struct current *current_at(__u32 which)
{
	return bpf_map_lookup_elem(&currents, &which);
}

/* The trip of the packet that TCP processes now, or NULL. */
static __always_inline struct trip *trip_of_current(const struct current *c)
{
	struct trip *t = c && c->number ? trip_at(c->trip) : NULL;

	return t && t->third_ns == c->since_ns ? t : NULL;
}

static __always_inline void set_current(__u32 which, __u64 number, const struct sk_buff *skb, const struct sock *sk, __u32 trip, const struct trip *t)
{
	struct current *c = current_at(which);

	if (!c)
		return;
	c->number = number;
	c->skb = skb;
	c->sk = sk;
	c->since_ns = t->third_ns;
	c->trip = trip;
}

/* Whether the packet is in a queue of its socket: TCP has given it to that, or freed it. */
static __always_inline bool is_kept(const struct current *c, const struct sock *sk)
{
	const struct sk_buff *skb = c->skb;

	return BPF_CORE_READ(skb, sk) == sk;
}

/* Whether a merged packet's data is in that skb of the backlog. */
static __always_inline bool is_within(const struct trip *t, const struct sk_buff *tail)
{
	struct { __u32 seq, end_seq; } range = {};

	bpf_probe_read_kernel(&range, sizeof(range), (const void *)tail + bpf_core_field_offset(struct sk_buff, cb));
	return !before(t->seq, range.seq) && !before(range.end_seq, t->end_seq);
}

/*
 * A packet with data that TCP has not processed waits in its socket's backlog, or was appended to one that does. It was, too, if
 * its data has been received without it.
 */
static __always_inline bool is_in_backlog_of_another(const struct trip *t, const struct sk_buff *skb)
{
	const struct flow *flow = flow_at(t->flow);
	const struct sock *sk = flow && flow->hash == t->flow ? flow->sk : NULL;
	const struct tcp_sock *tcp = (const void *)sk;
	const struct sk_buff *tail;
	__u32 received;

	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_ESTABLISHED)
		return false;
	tail = BPF_CORE_READ(sk, sk_backlog.tail);
	if (tail && tail != skb && is_within(t, tail))
		return true;
	received = BPF_CORE_READ(tcp, rcv_nxt);
	return tail != skb && !before(received, t->end_seq) && !*(volatile const __u8 *)&t->is_probed;
}

/* What this CPU had: nothing more will be told of it. */
static __always_inline void settle(void)
{
	struct current *c = current_at(SOFTIRQ);
	struct trip *t = trip_of_current(c);
	__u64 now;

	if (c)
		c->number = 0;
	if (!c || !t)
		return;
	now = bpf_ktime_get_ns();
	if (!t->has_data)
		end_trip(c->trip, END_PROCESSED, now);
	else if (t->ahead_ns)
		end_trip(c->trip, END_OUT_OF_ORDER, t->ahead_ns);
	else if (c->sk && is_kept(c, c->sk))	/* less than the reader waits for */
		trip_show(c->trip, number_at((__u64)c->skb));
	else if (c->sk)
		end_trip(c->trip, END_UNKNOWN, now);
	else if (is_in_backlog_of_another(t, c->skb))
		end_trip(c->trip, END_BACKLOG_COALESCED, now);
}

/* Where TCP has not told of the socket, ports say whether the packet is for it. */
static __always_inline bool is_for(const struct current *c, const struct sock *sk)
{
	const struct delay_analysis_in *known;
	__u32 trip = c->trip;

	if (c->sk)
		return c->sk == sk;
	known = bpf_map_lookup_elem(&details, &trip);
	return known && known->source_port == bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport)) &&
	       known->destination_port == BPF_CORE_READ(sk, __sk_common.skc_num);
}

/* Data has come to a socket: this packet is in the receive queue, or was appended to one that is. False: it is not for that socket. */
static __always_inline bool resolve(__u32 which, const struct sock *sk, __u64 tail)
{
	struct current *c = current_at(which);
	struct trip *t = trip_of_current(c);
	__u64 number, now;

	if (!c || !t || !t->has_data || t->ahead_ns || !is_for(c, sk))
		return false;
	now = bpf_ktime_get_ns();
	number = c->number;
	c->number = 0;
	if (number == tail || is_kept(c, sk)) {
		t->queued_ns = now;
		trip_show(c->trip, number);
	} else {
		end_trip(c->trip, END_COALESCED, now);
	}
	return true;
}

static __always_inline bool drop_current(__u32 which, __u64 number, bool refused)
{
	struct current *c = current_at(which);
	struct trip *t = trip_of_current(c);

	if (!c || !t || c->number != number)
		return false;
	c->number = 0;
	end_trip(c->trip, t->has_data || refused ? END_DROPPED : END_PROCESSED, bpf_ktime_get_ns());
	return true;
}
#endif
