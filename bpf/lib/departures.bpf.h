/* SPDX-License-Identifier: GPL-2.0-only */
/* Sent packets when they come to IP: which of them count, and what is told of each. */
#ifndef NETLINE_DEPARTURES_BPF_H
#define NETLINE_DEPARTURES_BPF_H

#include "cuts.bpf.h"
#include "delay.bpf.h"
#include "../../schema/delay_analysis_out.h"

/* What is told of each packet under way, by its number in `trips`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TRIPS);
	__type(key, __u32);
	__type(value, struct delay_analysis_out);
} details SEC(".maps");

/* Which socket sends now on this CPU, and since when. */
struct sending {
	__u64 sk;
	__u64 ns;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sending);
} sendings SEC(".maps");

static __always_inline int transmit(const struct sock *sk)
{
	__u32 zero = 0;
	struct sending *sending = bpf_map_lookup_elem(&sendings, &zero);

	if (sending) {
		sending->sk = (__u64)sk;
		sending->ns = bpf_ktime_get_ns();
	}
	return 0;
}

/* TCP's stamp is on the monotonic clock; others, such as a user's, need not be. */
static __always_inline bool is_monotonic(const struct sk_buff *skb, bool known)
{
	const struct sk_buff___before_6_11 *old = (const void *)skb;

	if (bpf_core_field_exists(struct sk_buff, tstamp_type))
		return (known ? BPF_CORE_READ_BITFIELD(skb, tstamp_type) : BPF_CORE_READ_BITFIELD_PROBED(skb, tstamp_type)) == 1;
	if (bpf_core_field_exists(struct sk_buff___before_6_11, mono_delivery_time))
		return known ? BPF_CORE_READ_BITFIELD(old, mono_delivery_time) : BPF_CORE_READ_BITFIELD_PROBED(old, mono_delivery_time);
	return true;
}

/* When TCP began to send it; 0: unknown. */
static __always_inline __u64 sent_ns(const struct sk_buff *skb, __u64 sk, bool known, __u64 stamp)
{
	__u32 zero = 0;
	struct sending *sending = delay.way == WAY_TRACEPOINT ? NULL : bpf_map_lookup_elem(&sendings, &zero);

	if (sending && sending->sk == sk && sk) {
		sending->sk = 0;
		return sending->ns;
	}
	return is_monotonic(skb, known) ? stamp : 0;
}

/* Whether it was sent before. What TCP sends for the first time begins at snd_nxt, which moves on afterwards. */
static __always_inline bool is_retransmitted(const struct sock *sk, __u8 known, const struct packet *p, __u32 payload, __u64 stamp)
{
	__u8 state = sk ? OF(sk, __sk_common.skc_state) : TCP_CLOSE;

	if (state == TCP_NEW_SYN_RECV)	/* which keeps when the SYN-ACK was sent first, in us */
		return p->flags & FLAG_SYN && AT(struct tcp_request_sock, sk, snt_synack) != stamp / 1000;
	if (state == TCP_SYN_RECV && p->flags & FLAG_SYN)	/* a SYN again, as SYN-ACK; or the first one of a socket that TCP Fast Open has made */
		return AT(struct tcp_sock, sk, snd_una) == (__u32)p->seq;
	if (state == TCP_CLOSE || state == TCP_TIME_WAIT || state == TCP_LISTEN || (!payload && !(p->flags & FLAG_COUNTED_AS_DATA)))
		return false;
	return before(p->seq, AT(struct tcp_sock, sk, snd_nxt));
}

/* What the table knows of the packet's socket, or NULL. */
static __always_inline const struct socket_entry *entry_of(const struct sock *sk)
{
	return delay.owners && sk ? sockets_find(sk) : NULL;
}

static __always_inline bool wanted(const struct packet *p, const struct sock *sk)
{
	const struct socket_entry *entry;

	if (!packet_wanted(p, p->source_port))
		return false;
	if (!settings.by_pid)
		return true;
	entry = entry_of(sk);
	return entry && owner_wanted(entry);
}

static __always_inline void leave(__u32 trip, const struct trip *t)
{
	forget_cut(t);
	trip_end(trip);
}

/* Another trip may be in its place, that has not ended: its packet has left unseen, or there are too many. */
static __always_inline __u32 take_place(__u64 skb)
{
	__u32 found = trip_find(skb), place = found == NO_TRIP ? trip_place(skb) : found;
	const struct trip *other = trip_is_there(place) ? trip_at(place) : NULL;

	if (!other)
		return place;
	forget_cut(other);
	if (found == NO_TRIP)
		COUNT_LOST(map_full);
	else
		COUNT_LOST(missed);
	return place;
}

static __always_inline void come_to_ip(const struct sk_buff *skb, __u8 known, const struct packet *p, __u32 netns)
{
	__u64 now = bpf_ktime_get_ns(), number = number_by(skb, known), stamp = OF(skb, tstamp);
	const struct sock *sk = OF(skb, sk);
	const struct socket_entry *entry;
	struct delay_analysis_out *r;
	struct trip *t;
	__u16 segments;
	__u32 place;

	if (is_own_packet(p))
		return;
	if (!wanted(p, sk) || (delay.own_port && !is_sampled())) {
		(void)ADMIT(false);
		return;
	}
	place = take_place(number);
	t = trip_begin(place, number, now);
	if (!t)
		return;
	t->first_ns = sent_ns(skb, (__u64)sk, known, stamp);
	t->second_ns = now;
	t->flow = sk ? number_by(sk, known) : 0;
	segments = segments_of(skb, known, p->segment_bytes - p->data_offset);
	t->is_large = segments > 1;
	r = delay.summary ? NULL : bpf_map_lookup_elem(&details, &place);
	if (!r)
		return;
	FILL_PACKET(r, p);
	r->netns.value = netns;
	r->segments = segments;
	r->retransmitted = is_retransmitted(sk, known, p, p->segment_bytes - p->data_offset, stamp);
	entry = entry_of(sk);
	if (entry)
		FILL_OWNER(r, &entry->owner);
}

/* Not sampled: no more is looked at than that it is TCP's. */
static __always_inline bool is_passed_over(void)
{
	if (delay.own_port || is_sampled())
		return false;
	(void)ADMIT(false);
	return true;
}

/* IPv6 marks what is longer than 64 KiB by an option (a hop-by-hop header of 8 bytes) that no segment has on the wire (since 5.19). */
static __always_inline __u32 jumbo_option(const struct packet *p, __u32 headers)
{
	return p->family == FAMILY_IPV6 && !p->bytes && headers > sizeof(struct ipv6_header) ? 8 : 0;
}

/* The IP header is there, but skb->protocol need not be yet. */
static __always_inline void come_with_header(const struct sk_buff *skb, __u8 known, __u16 protocol, __u32 netns)
{
	__u32 headers = OF(skb, transport_header) - OF(skb, network_header);
	struct packet p = {};

	if (delay.sample > 1 && (!is_tcp_packet(skb, known, protocol) || is_passed_over()))
		return;
	if (looks_at_packets() ? !packet_read_as(skb, known, protocol, OF(skb, len) - headers, &p) : !is_tcp_packet(skb, known, protocol))
		return;
	p.bytes = OF(skb, len) - jumbo_option(&p, headers);
	p.segment_bytes = OF(skb, len) - headers;
	come_to_ip(skb, known, &p, netns);
}

/* There is no IP header yet: addresses are the flow's, and the packet begins with TCP. */
static __always_inline void come_without_header(const struct sk_buff *skb, __u8 known, const struct flowi6 *flow, __u32 netns)
{
	struct packet p = { .family = FAMILY_IPV6 };

	if (is_passed_over() || (looks_at_packets() && !packet_read_tcp(skb, known, &p)))
		return;
	p.segment_bytes = OF(skb, len);
	p.bytes = p.segment_bytes + sizeof(struct ipv6_header);
	BPF_CORE_READ_INTO(&p.source_ip, flow, saddr);
	BPF_CORE_READ_INTO(&p.destination_ip, flow, daddr);
	come_to_ip(skb, known, &p, netns);
}
#endif
