/* SPDX-License-Identifier: GPL-2.0-only */
/* What both delay analyses have: which packets are wanted, and stages. */
#ifndef NETLINE_DELAY_BPF_H
#define NETLINE_DELAY_BPF_H

#include "filter.bpf.h"
#include "nics.bpf.h"
#include "packet.bpf.h"
#include "trips.bpf.h"
#include "../../schema/delay.h"

#define FLAG_COUNTED_AS_DATA (FLAG_SYN | FLAG_FIN)	/* take a sequence number each */
#define NF_ACCEPT 1
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58
#define MAX_STAGE_NS (1ull << 40)	/* 18 minutes: what takes longer is no stage, but a stamp of something else */

const volatile struct delay_settings delay SEC(".rodata.delay") = {};

RING(events);

CHOSEN(source_ports, __u16, 64);
CHOSEN(destination_ports, __u16, 64);
CHOSEN(excluded_ports, __u16, 64);

static __always_inline __u32 netns_of(const struct net_device *dev, bool known)
{
	return known ? dev->nd_net.net->ns.inum : BPF_CORE_READ(dev, nd_net.net, ns.inum);
}

static __always_inline bool netns_wanted(__u32 netns)
{
	return !delay.own_netns || netns == delay.own_netns;
}

/* A CPU's random numbers (xorshift64*): the kernel's cost a call for each packet. 0: not begun. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} randoms SEC(".maps");

static __always_inline bool is_sampled(void)
{
	__u32 zero = 0;
	__u64 *random = delay.sample > 1 ? bpf_map_lookup_elem(&randoms, &zero) : NULL, x;

	if (!random)
		return true;
	x = *random ?: (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32() | 1;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*random = x;
	return x * 0x2545f4914f6cdd1dull < delay.sampled_below;
}

/* Whether anything but its being TCP's is asked of a packet: a summary without filters has no need of its headers. */
static __always_inline bool looks_at_packets(void)
{
	const __u8 both = FAMILY_BIT(FAMILY_IPV4) | FAMILY_BIT(FAMILY_IPV6);

	return !delay.summary || settings.families != both || settings.by_port || settings.by_pid || delay.by_source_port ||
	       delay.by_destination_port || delay.by_excluded_port || delay.own_port;
}

/* Once IP has set the offsets of the headers. */
static __always_inline bool is_tcp_packet(const struct sk_buff *skb, __u8 known, __u16 protocol)
{
	const unsigned char *head = OF(skb, head), *network = head + OF(skb, network_header);
	__u8 transport = 0;

	read_bytes(&transport, 1, network + (protocol == ETH_P_IP ? 9 : 6), known);
	if (transport == IPPROTO_TCP)
		return protocol == ETH_P_IP || protocol == ETH_P_IPV6;
	return protocol == ETH_P_IPV6 && transport != IPPROTO_UDP && transport != IPPROTO_ICMPV6 &&
	       ipv6_transport(network, transport, head + OF(skb, transport_header), known) == IPPROTO_TCP;
}

static __always_inline bool packet_wanted(const struct packet *p, __u16 local_port)
{
	__u16 source = p->source_port, destination = p->destination_port;

	if (!(settings.families & FAMILY_BIT(p->family)))
		return false;
	if (settings.by_port && !bpf_map_lookup_elem(&ports, &local_port))
		return false;
	if (delay.by_source_port && !bpf_map_lookup_elem(&source_ports, &source))
		return false;
	if (delay.by_destination_port && !bpf_map_lookup_elem(&destination_ports, &destination))
		return false;
	return !delay.by_excluded_port ||
	       (!bpf_map_lookup_elem(&excluded_ports, &source) && !bpf_map_lookup_elem(&excluded_ports, &destination));
}

/* What the records of both directions tell of a packet: nothing else is there yet. */
#define FILL_PACKET(r, p) do { \
	__builtin_memset(r, 0, sizeof(*(r))); \
	(r)->source_ip = (p)->source_ip; \
	(r)->destination_ip = (p)->destination_ip; \
	(r)->source_port = (p)->source_port; \
	(r)->destination_port = (p)->destination_port; \
	(r)->family = (p)->family; \
	(r)->seq = (p)->seq; \
	(r)->ack = (p)->ack; \
	(r)->flags = (p)->flags; \
	(r)->packet_bytes = (p)->bytes; \
	(r)->sample_rate = delay.sample; \
	(r)->hooks = delay.way; \
} while (0)

/* netline's own: what it writes to a TCP connection that is its stdout. */
static __always_inline bool is_own_packet(const struct packet *p)
{
	return delay.own_port && p->source_port + p->destination_port == delay.own_port + delay.own_peer_port &&
	       (p->source_port == delay.own_port || p->destination_port == delay.own_port);
}

/* From one stamp to a later one; NO_TIME if one is missing, or they are not of the same packet. */
static __always_inline __u64 stage(__u64 from, __u64 to)
{
	return from && to >= from && to - from < MAX_STAGE_NS ? to - from : NO_TIME;
}

/* --min-latency. */
static __always_inline bool is_slow(__u64 duration_ns)
{
	return !delay.min_latency_ns || (duration_ns != NO_TIME && duration_ns >= delay.min_latency_ns);
}

static __always_inline __u64 sum_of(__u64 a, __u64 b)
{
	return a == NO_TIME || b == NO_TIME ? NO_TIME : a + b;
}

static __always_inline __u16 segments_of(const struct sk_buff *skb, __u8 known, __u32 payload)
{
	const unsigned char *shared = OF(skb, head) + OF(skb, end);
	__u16 size = AT(struct skb_shared_info, shared, gso_size), segments = size ? AT(struct skb_shared_info, shared, gso_segs) : 1;

	return segments ?: payload ? (payload + size - 1) / size : 1;	/* from a virtual machine, or a tap device: not computed yet */
}

static __always_inline void read_name(char *to, const struct net_device *dev, bool known)
{
	if (!known) {
		bpf_probe_read_kernel(to, sizeof(dev->name), dev->name);
		return;
	}
	COPY_16(to, dev->name);
}
#endif
