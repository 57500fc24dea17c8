/* SPDX-License-Identifier: GPL-2.0-only */
/* What a dropped packet itself says, where the kernel's reason does not, or there is none. */
#ifndef NETLINE_INERR_CHECKS_BPF_H
#define NETLINE_INERR_CHECKS_BPF_H

#include "inerr_records.bpf.h"

#define IFF_LOOPBACK 8

/* What was received before is an error for nobody. */
static __always_inline __u8 duplicate(void)
{
	return inerrs.duplicates ? INERR_OLD_DATA : INERR_NONE;
}

static __always_inline bool in_tcp_receive(__u64 location)
{
	for (int i = 0; i < RECEIVE_RANGES; i++)
		if (location >= inerrs.receive[i].start && location < inerrs.receive[i].end)
			return true;
	return false;
}

/*
 * Whether tcp_v4_rcv() or tcp_v6_rcv() has dropped it before it looked for a socket. Where the addresses of functions are hidden
 * (kptr_restrict), by what they leave: no socket, and the data begins with the TCP header.
 */
static __always_inline bool dropped_at_entry(const struct sk_buff *skb, void *location, const struct sock *sk)
{
	if (inerrs.knows_location)
		return in_tcp_receive((__u64)location);
	return !sk && skb->data == skb->head + skb->transport_header;
}

/* The reason where the kernel's own does not tell, or INERR_NONE. */
static __always_inline __u8 look_at_header(const struct packet *p, __u8 check)
{
	if (check == CHECK_OFFSET)
		return p->data_offset < TCP_HEADER ? INERR_BAD_DATA_OFFSET : INERR_NONE;
	if (p->segment_bytes < TCP_HEADER)
		return INERR_HEADER_TOO_SHORT;
	return p->data_offset > p->segment_bytes ? INERR_BAD_DATA_OFFSET : INERR_NONE;
}

/* The host's own RST to itself, for a packet that had no socket. */
static __always_inline bool is_own_answer(const struct sk_buff *skb, const struct packet *p)
{
	const struct net_device *dev = BPF_CORE_READ(skb, dev);

	return p->flags & FLAG_RST && dev && BPF_CORE_READ(dev, flags) & IFF_LOOPBACK;
}
#endif
