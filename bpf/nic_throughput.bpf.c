/* SPDX-License-Identifier: GPL-2.0-only */
/* nic_throughput: counts at the driver's border, per CPU; the agent takes differences and never clears. */
#include "kernel.h"
#include "lib/nics.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define NO_HEADER 0xffff	/* skb->transport_header: not set */
#define GSO_TCP (1 << 0 | 1 << 4)	/* SKB_GSO_TCPV4, SKB_GSO_TCPV6: an anonymous enum, the same since 2.6.27 */
#define GSO_UDP (1 << 17)	/* SKB_GSO_UDP_L4, since 4.18 */

__u32 tick SEC(".bss.tick");	/* raised by the agent; at the first packet of a tick name and queues are read again */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct nic_key);
	__type(value, struct nic_counters);
} stats SEC(".maps");

/* Bytes from the start of the frame to the end of the transport header, which every segment repeats; 0 if unknown. */
static __always_inline __u32 header_bytes(const struct sk_buff *skb, __u32 gso_type, __u32 frame_start)
{
	bool tunnel = BPF_CORE_READ_BITFIELD_PROBED(skb, encapsulation);
	__u16 transport = tunnel ? skb->inner_transport_header : skb->transport_header;
	__u8 offset = 0;

	if (transport == NO_HEADER || transport < frame_start)
		return 0;
	if (gso_type & GSO_UDP)
		return transport - frame_start + 8;
	if (!(gso_type & GSO_TCP))
		return 0;
	bpf_probe_read_kernel(&offset, sizeof(offset), skb->head + transport + 12);	/* data offset */
	return transport - frame_start + (offset >> 4) * 4;
}

/* Adds an skb whose frame has `bytes` bytes as one piece. */
static __always_inline void add(struct nic_counters *c, const struct sk_buff *skb, __u32 bytes, __u32 frame_start)
{
	struct skb_shared_info *shared = (struct skb_shared_info *)(skb->head + skb->end);
	__u32 size = BPF_CORE_READ(shared, gso_size), segments = 1, headers;

	if (size) {
		headers = header_bytes(skb, BPF_CORE_READ(shared, gso_type), frame_start);
		segments = BPF_CORE_READ(shared, gso_segs);
		if (!segments && bytes > headers)	/* from an untrusted source, such as a tap device: not computed yet */
			segments = (bytes - headers + size - 1) / size;
		if (!segments)
			segments = 1;
		bytes += (segments - 1) * headers;
	}
	c->skbs++;
	c->packets += segments;
	c->bytes += bytes;
}

static __always_inline struct nic_counters *new_counters(const struct nic_key *key)
{
	struct nic_counters none = {};

	if (bpf_map_update_elem(&stats, key, &none, BPF_NOEXIST)) {
		struct nic_counters *c = bpf_map_lookup_elem(&stats, key);	/* another CPU was first? */

		if (!c)
			COUNT_LOST(map_full);
		return c;
	}
	return bpf_map_lookup_elem(&stats, key);
}

static __always_inline struct nic_counters *find_counters(const struct net_device *dev, const struct nic_key *key, bool egress)
{
	struct nic_counters *c;

	if (!nic_wanted(key->netns, key->index))
		return NULL;
	c = bpf_map_lookup_elem(&stats, key);
	if (!c)
		c = new_counters(key);
	if (!c)
		return NULL;
	if (c->tick != tick) {
		c->tick = tick;
		BPF_CORE_READ_INTO(&c->name, dev, name);
		c->queues = egress ? dev->real_num_tx_queues : dev->real_num_rx_queues;
	}
	return c;
}

SEC("?tp_btf/net_dev_start_xmit")
int BPF_PROG(transmit, struct sk_buff *skb, struct net_device *dev)
{
	struct nic_key key = {
		.netns = dev->nd_net.net->ns.inum, .index = dev->ifindex,
		.queue = skb->queue_mapping, .direction = DIRECTION_EGRESS,
	};
	struct nic_counters *c = find_counters(dev, &key, true);

	if (c)
		add(c, skb, skb->len, skb->data - skb->head);
	return 0;
}

SEC("?tp_btf/netif_receive_skb")
int BPF_PROG(receive, struct sk_buff *skb)
{
	struct net_device *dev = skb->dev;
	__u16 recorded = skb->queue_mapping;
	struct nic_key key = {
		.netns = dev->nd_net.net->ns.inum, .index = dev->ifindex,
		.queue = recorded ? recorded - 1 : NO_QUEUE, .direction = DIRECTION_INGRESS,
	};
	struct nic_counters *c = find_counters(dev, &key, false);
	__u32 start = skb->mac_header, data = skb->data - skb->head;

	if (c)	/* the MAC header has been pulled */
		add(c, skb, skb->len + (start < data ? data - start : 0), start < data ? start : data);
	return 0;
}
