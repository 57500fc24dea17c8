/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * delay_analysis_out: the way of each TCP packet that this host sends, from TCP to the driver.
 *
 *   TCP        its own stamp on the packet (skb->tstamp), or where __tcp_transmit_skb() can be hooked, when that began
 *   IP         a netfilter program, the first at LOCAL_OUT, or __ip_local_out() and ip6_xmit(): the packet gets a place in `trips`
 *   qdisc      the tracepoint net_dev_queue
 *   driver     the tracepoint net_dev_start_xmit: the record is written
 *
 * A packet that never comes to the driver is none: kfree_skb takes it out. One that the kernel cuts on its way to the driver (GSO in
 * software) is another skb there: its first segment is found by socket and sequence number, and ends its way.
 */
#include "kernel.h"
#include "lib/departures.bpf.h"
#include "lib/summaries.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* --- from TCP to IP --- */

static __always_inline bool is_tcp_of(const struct sock *sk, bool known, __u32 *ret_netns)
{
	*ret_netns = netns_of_socket(sk, known);
	return OF(sk, sk_protocol) == IPPROTO_TCP && netns_wanted(*ret_netns);
}

SEC("?netfilter/NF_INET_LOCAL_OUT")
int local_out(struct bpf_nf_ctx *ctx)
{
	come_with_header(ctx->skb, CASTS, bpf_ntohs(ctx->skb->protocol), ctx->state->net->ns.inum);
	return NF_ACCEPT;
}

SEC("?fentry/__tcp_transmit_skb")
int BPF_PROG(transmit_fentry, struct sock *sk)
{
	return transmit(sk);
}

SEC("?fentry/__ip_local_out")
int BPF_PROG(local_out_fentry, struct net *net, struct sock *sk, struct sk_buff *skb)
{
	if (netns_wanted(net->ns.inum))
		come_with_header(skb, true, ETH_P_IP, net->ns.inum);
	return 0;
}

SEC("?fentry/ip6_xmit")
int BPF_PROG(ip6_xmit_fentry, const struct sock *sk, struct sk_buff *skb, struct flowi6 *flow)
{
	__u32 netns;

	if (is_tcp_of(sk, true, &netns))
		come_without_header(skb, true, flow, netns);
	return 0;
}

SEC("?kprobe/__tcp_transmit_skb")
int BPF_KPROBE(transmit_kprobe, struct sock *sk)
{
	return transmit(sk);
}

SEC("?kprobe/__ip_local_out")
int BPF_KPROBE(local_out_kprobe, struct net *net, struct sock *sk, struct sk_buff *skb)
{
	__u32 netns = BPF_CORE_READ(net, ns.inum);

	if (netns_wanted(netns))
		come_with_header(skb, false, ETH_P_IP, netns);
	return 0;
}

SEC("?kprobe/ip6_xmit")
int BPF_KPROBE(ip6_xmit_kprobe, const struct sock *sk, struct sk_buff *skb, struct flowi6 *flow)
{
	__u32 netns;

	if (is_tcp_of(sk, false, &netns))
		come_without_header(skb, false, flow, netns);
	return 0;
}

/* --- from the queueing discipline to the driver --- */

/* False: the trip is of an earlier packet, whose skb was at the same address, and that has left unseen. It ends here, and counts as missed. */
static __always_inline bool is_still_of(__u32 trip, const struct trip *t, const struct sk_buff *skb)
{
	const struct sock *sk = skb->sk;

	if (!sk || number_of(sk) == t->flow)
		return true;
	COUNT_LOST(missed);
	leave(trip, t);
	return false;
}

SEC("?tp_btf/net_dev_queue")
int BPF_PROG(queue, struct sk_buff *skb)
{
	__u64 number = number_of(skb);
	__u32 found = trip_find(number);
	struct trip *t = trip_at(found);

	if (!t || !is_still_of(found, t, skb) || t->third_ns)
		return 0;
	t->third_ns = bpf_ktime_get_ns();
	if (t->is_large)
		remember_cut(skb, number, found);
	return 0;
}

/* Behind the queueing discipline. */
static __always_inline __u32 find_trip(const struct sk_buff *skb)
{
	__u32 found = trip_find(number_of(skb));

	return found == NO_TRIP ? find_cut(skb) : found;
}

static __always_inline bool is_same(const nl_ip *a, const nl_ip *b)
{
	const __u64 *left = (const __u64 *)a->bytes, *right = (const __u64 *)b->bytes;

	return left[0] == right[0] && left[1] == right[1];
}

static __always_inline void fill_nat(struct delay_analysis_out *r, const struct sk_buff *skb, __u8 known)
{
	struct packet p = {};

	if (!packet_read(skb, known, &p))
		return;
	if (!is_same(&p.source_ip, &r->source_ip) || p.source_port != r->source_port) {
		r->source_nat_ip = p.source_ip;
		r->source_nat_port = p.source_port;
	}
	if (!is_same(&p.destination_ip, &r->destination_ip) || p.destination_port != r->destination_port) {
		r->destination_nat_ip = p.destination_ip;
		r->destination_nat_port = p.destination_port;
	}
}

struct stages {
	__u64 tcp_ns;
	__u64 ip_ns;
	__u64 qdisc_ns;
	__u64 total_ns;
};

static __always_inline struct stages stages_of(const struct trip *t, __u64 now)
{
	struct stages at = {
		.tcp_ns = stage(t->first_ns, t->second_ns), .ip_ns = stage(t->second_ns, t->third_ns), .qdisc_ns = stage(t->third_ns, now),
	};

	at.total_ns = sum_of(sum_of(at.tcp_ns, at.ip_ns), at.qdisc_ns);
	return at;
}

static __always_inline void tell(const struct sk_buff *skb, __u8 known, const struct net_device *dev, __u32 trip, const struct stages *at, __u64 now)
{
	const struct delay_analysis_out *told = bpf_map_lookup_elem(&details, &trip);
	struct delay_analysis_out *r;

	if (!ADMIT(nic_wanted(netns_of(dev, true), dev->ifindex) && is_slow(at->total_ns)) || !told)
		return;
	r = RING_RESERVE(&events, sizeof(*r));
	if (!r)
		return;
	*r = *told;
	r->time.ns = now;
	r->duration_ns = at->total_ns;
	r->tcp_ns = at->tcp_ns;
	r->ip_ns = at->ip_ns;
	r->qdisc_ns = at->qdisc_ns;
	read_name(r->interface, dev, true);
	fill_nat(r, skb, known);
	ring_submit(&events, r, sizeof(*r));
}

static __always_inline void sum_up(const struct net_device *dev, const struct stages *at)
{
	struct delay_summaries *s;

	if (!nic_wanted(netns_of(dev, true), dev->ifindex)) {
		(void)ADMIT(false);
		return;
	}
	if (at->ip_ns == NO_TIME) {
		COUNT_LOST(missed);
		return;
	}
	s = summaries_of(dev, true);
	if (!s) {
		COUNT_LOST(map_full);
		return;
	}
	SUMMARIZE(s, STAGE_TCP, at->tcp_ns);
	SUMMARIZE(s, STAGE_IP, at->ip_ns);
	SUMMARIZE(s, STAGE_QDISC, at->qdisc_ns);
	SUMMARIZE(s, STAGE_TOTAL, at->total_ns);
}

static __always_inline int come_to_driver(const struct sk_buff *skb, __u8 known, const struct net_device *dev)
{
	__u32 found = find_trip(skb);
	struct trip *t = trip_at(found);
	struct stages at;
	__u64 now;

	if (!t || !is_still_of(found, t, skb))
		return 0;
	now = bpf_ktime_get_ns();
	at = stages_of(t, now);
	if (delay.summary)
		sum_up(dev, &at);
	else
		tell(skb, known, dev, found, &at, now);
	leave(found, t);
	return 0;
}

SEC("?tp_btf/net_dev_start_xmit")
int BPF_PROG(start_xmit, struct sk_buff *skb, struct net_device *dev)
{
	return come_to_driver(skb, true, dev);
}

/* The same where there are netfilter programs, which is where addresses can be cast. */
SEC("?tp_btf/net_dev_start_xmit")
int BPF_PROG(start_xmit_casts, struct sk_buff *skb, struct net_device *dev)
{
	return come_to_driver(skb, CASTS, dev);
}

/* Dropped on the way: it does not leave. */
SEC("?tp_btf/kfree_skb")
int BPF_PROG(drop, struct sk_buff *skb)
{
	__u32 found = find_trip(skb);
	struct trip *t = trip_at(found);

	if (t && is_still_of(found, t, skb))
		leave(found, t);
	return 0;
}
