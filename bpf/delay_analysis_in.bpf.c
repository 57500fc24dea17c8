/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * delay_analysis_in: the way of each TCP packet that this host receives, from the driver to its end.
 *
 *   driver     the tracepoints at which it hands packets over: the packet gets a place in `trips`
 *   IP         the tracepoint netif_receive_skb
 *   TCP        a netfilter program, the last at LOCAL_IN, or tcp_v4_rcv() and tcp_v6_rcv(): now the packet counts
 *   queued     the tracepoint sk_data_ready, or sock_def_readable()
 *   read       the tracepoint skb_copy_datagram_iovec
 *
 * Most ends have no hook of their own: a packet without data is freed in silence, one with data may be appended to another, and at once
 * another CPU may use the skb for another packet. So each CPU remembers which packet TCP has now (`currents`), and while TCP works at it
 * that CPU alone decides what becomes of it, by what the kernel tells next: tcp_probe (TCP processes it), sk_data_ready (was it
 * put into the receive queue?), kfree_skb, and at the latest the next packet or the end of the batch (napi_poll). In
 * that time its trip is hidden: only a packet that waits in a queue, or may wait in a backlog, is found by its skb.
 */
#include "kernel.h"
#include "lib/elements.bpf.h"
#include "lib/intake.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define MAX_SECONDS 60	/* a packet under way for so long is told as of unknown end */

__u8 sweeps_all SEC(".bss.sweeps_all");	/* set by the agent when the programs are detached */

/* --- from the driver to IP --- */

static __always_inline int hand_over(const struct sk_buff *skb)
{
	__u64 now, number;
	__u32 found, place;
	bool sampled;
	struct trip *t;

	if (!netns_wanted(netns_of(skb->dev, true)))
		return 0;
	number = number_of(skb);
	found = trip_find(number);
	sampled = is_sampled();
	if (found == NO_TRIP && !sampled)
		return 0;
	now = bpf_ktime_get_ns();
	place = place_for(found, number, now);
	t = trip_begin(place, number, now);
	if (t)
		t->first_ns = now;
	if (!sampled)
		trip_end(place);
	return 0;
}

SEC("?tp_btf/napi_gro_receive_entry")
int BPF_PROG(gro_receive, struct sk_buff *skb)
{
	return hand_over(skb);
}

SEC("?tp_btf/napi_gro_frags_entry")
int BPF_PROG(gro_frags, struct sk_buff *skb)
{
	return hand_over(skb);
}

SEC("?tp_btf/netif_rx_entry")
int BPF_PROG(rx, struct sk_buff *skb)
{
	return hand_over(skb);
}

SEC("?tp_btf/netif_receive_skb_entry")
int BPF_PROG(receive, struct sk_buff *skb)
{
	return hand_over(skb);
}

SEC("?tp_btf/netif_receive_skb_list_entry")
int BPF_PROG(receive_list, struct sk_buff *skb)
{
	return hand_over(skb);
}

/* What cannot be TCP; skb->data is at the IP header. */
static __always_inline bool is_other(const struct sk_buff *skb, __u8 known)
{
	__u16 protocol = bpf_ntohs(skb->protocol);
	__u8 transport = 0;

	if (protocol == ETH_P_IP) {
		read_bytes(&transport, 1, skb->data + 9, known);
		return transport != IPPROTO_TCP;
	}
	if (protocol == ETH_P_IPV6) {
		read_bytes(&transport, 1, skb->data + 6, known);
		return transport == IPPROTO_UDP || transport == IPPROTO_ICMPV6;
	}
	return protocol != ETH_P_8021Q && protocol != ETH_P_8021AD;
}

static __always_inline int come_to_ip(const struct sk_buff *skb, __u8 known)
{
	__u32 found = trip_find(number_of(skb));
	struct trip *t = trip_at(found);

	if (!t || t->third_ns)
		return 0;
	if (is_other(skb, known)) {
		trip_end(found);
		return 0;
	}
	if (t->second_ns)	/* nobody has handed it over since, or it is another packet with the same skb (dev_forward_skb) */
		t->first_ns = 0;
	t->second_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("?tp_btf/netif_receive_skb")
int BPF_PROG(to_ip, struct sk_buff *skb)
{
	return come_to_ip(skb, true);
}

/* The same where there are netfilter programs, which is where addresses can be cast. */
SEC("?tp_btf/netif_receive_skb")
int BPF_PROG(to_ip_casts, struct sk_buff *skb)
{
	return come_to_ip(skb, CASTS);
}

/* --- TCP --- */

SEC("?netfilter/NF_INET_LOCAL_IN")
int local_in(struct bpf_nf_ctx *ctx)
{
	come_to_tcp(ctx->skb, CASTS, false);
	return NF_ACCEPT;
}

/* The packet begins with TCP's header here. */
static __always_inline int on_tcp_rcv(const struct sk_buff *skb, bool known)
{
	if (netns_wanted(netns_of(OF(skb, dev), known)))
		come_to_tcp(skb, known, true);
	return 0;
}

SEC("?fentry/tcp_v4_rcv")
int BPF_PROG(tcp_v4_fentry, struct sk_buff *skb)
{
	return on_tcp_rcv(skb, true);
}

SEC("?fentry/tcp_v6_rcv")
int BPF_PROG(tcp_v6_fentry, struct sk_buff *skb)
{
	return on_tcp_rcv(skb, true);
}

SEC("?kprobe/tcp_v4_rcv")
int BPF_KPROBE(tcp_v4_kprobe, struct sk_buff *skb)
{
	return on_tcp_rcv(skb, false);
}

SEC("?kprobe/tcp_v6_rcv")
int BPF_KPROBE(tcp_v6_kprobe, struct sk_buff *skb)
{
	return on_tcp_rcv(skb, false);
}

/*
 * Whether TCP has that skb for this trip's packet: it keeps the sequence number in skb->cb. What left the receive queue unseen has its
 * place still, and the skb may be used in a namespace that is none of ours.
 */
static __always_inline bool is_skb_of(const struct trip *t, const struct sk_buff *skb)
{
	return *(const __u32 *)skb->cb == t->seq;
}

/* TCP processes a packet of an established connection: as it came, or when the task that held its socket lets it go. */
SEC("?tp_btf/tcp_probe")
int BPF_PROG(process, struct sock *sk, struct sk_buff *skb)
{
	struct current *c = current_at(SOFTIRQ);
	__u64 number = number_of(skb);
	bool waited = !c || c->number != number;
	__u32 trip = !c ? NO_TRIP : waited ? trip_find(number) : c->trip, expected;
	struct trip *t = waited ? (trip_is_far(trip) ? trip_at(trip) : NULL) : trip_of_current(c);
	const struct tcp_sock *tcp = t && t->has_data ? as_tcp(sk) : NULL;

	if (!c || !t || !tcp || !is_skb_of(t, skb))
		return 0;
	expected = tcp->rcv_nxt;
	t->is_probed = true;
	trip_hide(trip);
	learn_flow(t->flow, sk);
	if (!waited)
		c->number = 0;
	if (before(expected, t->seq))
		t->ahead_ns = bpf_ktime_get_ns();
	if (t->ahead_ns && waited)
		end_trip(trip, END_OUT_OF_ORDER, t->ahead_ns);
	else if (!before(expected, t->end_seq))
		end_trip(trip, END_DROPPED, bpf_ktime_get_ns());	/* a duplicate */
	else
		set_current(waited ? BACKLOG : SOFTIRQ, number, skb, sk, trip, t);
	return 0;
}

static __always_inline int data_ready(const struct sock *sk, __u64 tail)
{
	struct trip *t;
	__u32 found;

	if (!delay.summary && (resolve(SOFTIRQ, sk, tail) || resolve(BACKLOG, sk, tail)))
		return 0;
	found = trip_find(tail);	/* a summary's, or what waited in the backlog of a connection that is being closed */
	t = trip_at(found);
	if (t && t->third_ns && t->has_data && !t->queued_ns)
		t->queued_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("?tp_btf/sk_data_ready")
int BPF_PROG(ready, const struct sock *sk)
{
	return data_ready(sk, number_of(sk->sk_receive_queue.prev));
}

SEC("?fentry/sock_def_readable")
int BPF_PROG(ready_fentry, const struct sock *sk)
{
	return data_ready(sk, number_of(sk->sk_receive_queue.prev));
}

SEC("?kprobe/sock_def_readable")
int BPF_KPROBE(ready_kprobe, const struct sock *sk)
{
	return data_ready(sk, number_at((__u64)BPF_CORE_READ(sk, sk_receive_queue.prev)));
}

/* --- the ends that have a hook --- */

static __always_inline void sum_up_read(const struct trip *t, __u64 now)
{
	struct delay_nic key = { t->netns, t->nic };
	struct delay_summaries *s = bpf_map_lookup_elem(&summaries, &key);
	__u64 tcp_ns = stage(t->third_ns, now);

	if (!s)
		return;
	SUMMARIZE(s, STAGE_TCP, tcp_ns);
	SUMMARIZE(s, STAGE_PROTOCOL, stage(t->third_ns, t->queued_ns));
	SUMMARIZE(s, STAGE_SOCKET_WAIT, stage(t->queued_ns, now));
	SUMMARIZE(s, STAGE_TOTAL, sum_of(sum_of(stage(t->first_ns, t->second_ns), stage(t->second_ns, t->third_ns)), tcp_ns));
}

/* The first read of a packet. */
static __always_inline int is_read(const struct sk_buff *skb, __u8 known)
{
	__u32 found = trip_find(number_of(skb));
	struct trip *t = trip_at(found);
	__u64 now;

	if (!t || !t->third_ns || !is_skb_of(t, skb))
		return 0;
	now = bpf_ktime_get_ns();
	if (delay.summary)
		sum_up_read(t, now);
	else
		tell(found, t, END_READ, now, known);
	trip_end(found);
	return 0;
}

SEC("?tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(copy, const struct sk_buff *skb)
{
	return is_read(skb, true);
}

SEC("?tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(copy_casts, const struct sk_buff *skb)
{
	return is_read(skb, CASTS);
}

#define IS_REASON(value, name) (bpf_core_enum_value_exists(enum skb_drop_reason, name) && (value) == bpf_core_enum_value(enum skb_drop_reason, name))

/*
 * Whether the kernel says what is wrong with the packet. TCP frees what it has taken in as well, such as a FIN that waits in the queue of a socket
 * that is gone then.
 */
static __always_inline bool is_refused(unsigned long long *ctx)
{
	if (!bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED))
		return false;
	return !IS_REASON((__u32)ctx[2], SKB_DROP_REASON_NOT_SPECIFIED) && !IS_REASON((__u32)ctx[2], SKB_DROP_REASON_QUEUE_PURGE);
}

/* A packet that this host has made has no trip of its own: the place is of one before it with the same skb. */
SEC("?tp_btf/kfree_skb")
int drop(unsigned long long *ctx)
{
	const struct sk_buff *skb = (const void *)ctx[0];
	__u64 number = number_of(skb);
	struct trip *t;
	__u32 found;

	if (drop_current(SOFTIRQ, number, is_refused(ctx)) || drop_current(BACKLOG, number, is_refused(ctx)))
		return 0;
	found = trip_find(number);
	t = skb->skb_iif ? trip_at(found) : NULL;
	if (!t)
		return 0;
	if (!trip_is_far(found))
		trip_end(found);
	else if (is_skb_of(t, skb))
		end_trip(found, END_DROPPED, bpf_ktime_get_ns());
	return 0;
}

SEC("?tp_btf/napi_poll")
int BPF_PROG(batch_end)
{
	settle();
	return 0;
}

/* Tells what has been under way for too long, or all. Packets that have not come to TCP are none of ours. */
__weak int sweep_set(__u32 i, __u32 row)
{
	__u32 first = batch_key(i) * SET_TRIPS;
	__u64 now = bpf_ktime_get_ns();

	for (__u32 j = 0; j < SET_TRIPS; j++) {
		struct trip *t = trip_is_far(first + j) ? trip_at(first + j) : NULL;
		__u64 since = t ? t->third_ns : 0;

		if (!since || (!sweeps_all && since + MAX_SECONDS * 1000000000ull >= now))
			continue;
		end_trip(first + j, !t->has_data ? END_PROCESSED : t->ahead_ns ? END_OUT_OF_ORDER : END_UNKNOWN, t->ahead_ns ?: now);
	}
	return 0;
}
EACH_KEY(sweep, sweep_set)
