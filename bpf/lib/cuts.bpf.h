/* SPDX-License-Identifier: GPL-2.0-only */
/* Of sent packets of several segments: where the first of these finds its trip, if the kernel cuts them (GSO in software). */
#ifndef NETLINE_CUTS_BPF_H
#define NETLINE_CUTS_BPF_H

#include "packet.bpf.h"
#include "trips.bpf.h"

#define CUTS 4096
struct cut {
	__u64 sk;
	__u64 skb;
	__u32 seq;
	__u32 trip;
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CUTS);
	__type(key, __u32);
	__type(value, struct cut);
} cuts SEC(".maps");

/* Packets of several segments behind IP: if there is none, no segment is looked for. (Never less than there are, but for CPUs that take the same place.) */
__u32 large_trips SEC(".bss.large_trips");

static __always_inline struct cut *cut_of(__u64 sk, __u32 seq)
{
	__u32 key = slot_of(sk ^ seq, CUTS);

	return bpf_map_lookup_elem(&cuts, &key);
}

static __always_inline void remember_cut(const struct sk_buff *skb, __u64 number, __u32 trip)
{
	__u64 sk = number_of(skb->sk);
	struct packet p = {};
	struct cut *cut;

	__sync_fetch_and_add(&large_trips, 1);
	if (!packet_read_tcp(skb, true, &p))
		return;
	cut = cut_of(sk, p.seq);
	if (cut)
		*cut = (struct cut){ .sk = sk, .skb = number, .seq = p.seq, .trip = trip };
}

/* The trip is over, or another one takes its place. */
static __always_inline void forget_cut(const struct trip *t)
{
	if (t->is_large && t->third_ns)
		__sync_fetch_and_add(&large_trips, -1);
}

/* The trip of the packet of which this is the first segment. */
static __always_inline __u32 find_cut(const struct sk_buff *skb)
{
	const struct sock *sk = skb->sk;
	struct packet p = {};
	struct cut *cut;

	if (!*(volatile __u32 *)&large_trips || !sk || sk->sk_protocol != IPPROTO_TCP || !packet_read_tcp(skb, true, &p))
		return NO_TRIP;
	cut = cut_of(number_of(sk), p.seq);
	return cut && cut->sk == number_of(sk) && cut->seq == (__u32)p.seq && trip_holds(cut->trip, cut->skb) ? cut->trip : NO_TRIP;
}
#endif
