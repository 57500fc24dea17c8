/* SPDX-License-Identifier: GPL-2.0-only */
/* Received packets when they come to TCP: which of them count, and what is told of each. */
#ifndef NETLINE_INTAKE_BPF_H
#define NETLINE_INTAKE_BPF_H

#include "by_address.bpf.h"
#include "currents.bpf.h"
#include "summaries.bpf.h"

static __always_inline bool pid_wanted(const struct packet *p, __u32 netns)
{
	struct address_key key = { p->destination_ip, p->source_ip, netns, p->destination_port, p->source_port };
	struct listener_key listener = { .netns = netns, .port = p->destination_port };
	const struct socket_entry *entry;
	__u64 *sk;

	if (!settings.by_pid)
		return true;
	sk = bpf_map_lookup_elem(&by_address, &key) ?: bpf_map_lookup_elem(&listening, &listener);
	entry = sk ? sockets_find((const struct sock *)*sk) : NULL;
	return entry && owner_wanted(entry);
}

static __always_inline void describe(__u32 trip, const struct packet *p, const struct sk_buff *skb, __u8 known, __u32 netns)
{
	struct delay_analysis_in *r = bpf_map_lookup_elem(&details, &trip);
	const struct net_device *dev = OF(skb, dev);

	if (!r)
		return;
	FILL_PACKET(r, p);
	r->netns.value = netns;
	r->segments = segments_of(skb, known, p->segment_bytes - p->data_offset);
	read_name(r->interface, dev, known);
}

/* The packet's trip, begun here if none of the hooks before has seen it; NO_TRIP: it is not sampled. */
static __always_inline __u32 trip_of(__u64 number, __u64 now)
{
	__u32 place = trip_find(number);
	const struct trip *t = trip_at(place);

	if (t && !t->third_ns)
		return place;
	if (place == NO_TRIP && delay.sample > 1)
		return NO_TRIP;
	place = place_for(place, number, now);
	trip_begin(place, number, now);
	return place;
}

static __always_inline void refuse(__u64 number, __u64 now)
{
	__u32 found = trip_find(number);

	(void)ADMIT(false);
	if (!delay.summary && trip_is_far(found))
		end_trip(found, END_UNKNOWN, now);
	else
		trip_end(found);
}

/* Summaries tell of MAC and IP what has come to TCP. False: it is lost, because no hook has seen it come to IP, or there are too many NICs. */
static __always_inline bool sum_up_arrival(const struct trip *t, const struct net_device *dev, bool known)
{
	__u64 ip_ns = stage(t->second_ns, t->third_ns);
	struct delay_summaries *s;

	if (ip_ns == NO_TIME) {
		COUNT_LOST(missed);
		return false;
	}
	s = summaries_of(dev, known);
	if (!s) {
		COUNT_LOST(map_full);
		return false;
	}
	SUMMARIZE(s, STAGE_MAC, stage(t->first_ns, t->second_ns));
	SUMMARIZE(s, STAGE_IP, ip_ns);
	return true;
}

static __always_inline void take_in(const struct sk_buff *skb, __u8 known, const struct packet *p)
{
	__u64 now = bpf_ktime_get_ns(), number = number_by(skb, known);
	const struct net_device *dev = OF(skb, dev);
	__u32 netns = netns_of(dev, known), nic = OF(dev, ifindex), payload = p->segment_bytes - p->data_offset, place;
	struct trip *t;

	if (!delay.summary)
		settle();
	if (is_own_packet(p))
		return;
	if (!packet_wanted(p, p->destination_port) || !nic_wanted(netns, nic) || !pid_wanted(p, netns)) {
		refuse(number, now);
		return;
	}
	place = trip_of(number, now);
	t = trip_at(place);
	if (!t) {
		(void)ADMIT(false);
		return;
	}
	t->third_ns = now;
	t->netns = netns;
	t->nic = nic;
	t->seq = p->seq;
	t->end_seq = p->seq + payload;
	t->has_data = payload > 0;
	t->flow = hash_of(p, netns);
	if (delay.summary) {
		if (!sum_up_arrival(t, dev, known) || !t->has_data)	/* only what will be read goes on */
			trip_end(place);
		return;
	}
	COUNT(produced, 1);
	trip_set_far(place, now);
	describe(place, p, skb, known, netns);
	set_current(SOFTIRQ, number, skb, NULL, place, t);
	if (!t->has_data)
		trip_hide(place);
}

/* Not sampled: no more is looked at than whether it is TCP's. */
static __always_inline bool is_passed_over(const struct sk_buff *skb, __u8 known, __u16 protocol)
{
	if (delay.sample <= 1 || delay.own_port || trip_find(number_by(skb, known)) != NO_TRIP)
		return false;
	if (is_tcp_packet(skb, known, protocol))
		(void)ADMIT(false);
	return true;
}

/* `pulled`: the packet begins with TCP's header, no more with that of IP. The length in that is 0 where GRO has merged more than fits. */
static __always_inline void come_to_tcp(const struct sk_buff *skb, __u8 known, bool pulled)
{
	__u16 protocol = bpf_ntohs(OF(skb, protocol));
	struct packet p = {};
	__u32 header;

	if (is_passed_over(skb, known, protocol))
		return;
	if (looks_at_packets() ? !packet_read_as(skb, known, protocol, 0, &p) :
	    !is_tcp_packet(skb, known, protocol) || !packet_read_tcp(skb, known, &p))
		return;
	header = OF(skb, transport_header) - OF(skb, network_header);
	p.bytes = OF(skb, len) + (pulled ? header : 0);
	p.segment_bytes = p.bytes - header;
	if (p.data_offset >= TCP_HEADER && p.data_offset <= p.segment_bytes)
		take_in(skb, known, &p);
}
#endif
