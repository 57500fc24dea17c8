/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whose packet it was. Sockets are mere numbers here: the kernel tells requests and sockets in TIME_WAIT as well, which are no
 * more than a struct sock_common, and what is found by address may have been closed meanwhile.
 */
#ifndef NETLINE_INERR_SOCKET_BPF_H
#define NETLINE_INERR_SOCKET_BPF_H

#include "by_address.bpf.h"
#include "packet.bpf.h"

#define NETDEV_HASH 256	/* NETDEV_HASHENTRIES, since 2.6.30 */
#define NETDEV_CHAIN 16	/* as many of one hash are looked at */

struct meeting {
	const struct sock *sk;	/* NULL: none, or unknown */
	const struct net *net;	/* NULL: unknown */
	__u32 netns;
	__u8 state;		/* of sk */
	bool is_full;		/* sk is a struct sock, and not only its first part */
};

/* Where its receive window ends, which is not before `expected`: tcp_receive_window(). */
static __always_inline __u32 window_end(const struct tcp_sock *tcp, __u32 expected)
{
	__u32 end = BPF_CORE_READ(tcp, rcv_wup) + BPF_CORE_READ(tcp, rcv_wnd);

	return before(end, expected) ? expected : end;
}

static __always_inline const struct net *net_of_skb(const struct sk_buff *skb)
{
	const struct net_device *dev = BPF_CORE_READ(skb, dev);	/* TCP takes it off when it has found the socket */
	unsigned long dst = BPF_CORE_READ(skb, _skb_refdst) & ~3ul;

	if (!dev && dst)
		dev = BPF_CORE_READ((const struct dst_entry *)dst, dev);
	return dev ? BPF_CORE_READ(dev, nd_net.net) : NULL;
}

static __always_inline void meet(struct meeting *m, const struct sock *sk)
{
	m->sk = sk;
	m->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	m->is_full = m->state != TCP_TIME_WAIT && m->state != TCP_NEW_SYN_RECV;
}

/* What the kernel says. */
static __always_inline void meet_told(struct meeting *m, const struct sk_buff *skb, const struct sock *rx_sk)
{
	const struct sock *sk = rx_sk ?: BPF_CORE_READ(skb, sk);
	const struct net *net = sk ? BPF_CORE_READ(sk, __sk_common.skc_net.net) : net_of_skb(skb);

	if (sk)
		meet(m, sk);
	m->net = net;
	m->netns = net ? BPF_CORE_READ(net, ns.inum) : 0;
}

static __always_inline bool same_address(const nl_ip *a, const nl_ip *b)
{
	const __u64 *x = (const __u64 *)a->bytes, *y = (const __u64 *)b->bytes;

	return x[0] == y[0] && x[1] == y[1];
}

/* Whether a listener takes what is for an address: it has that one or any, and any of IPv6 is IPv4's as well. */
static __always_inline bool listens_at(const struct view *view, const nl_ip *ip)
{
	const __u32 *own = (const __u32 *)view->local_ip.bytes, *to = (const __u32 *)ip->bytes;

	if (same_address(&view->local_ip, ip))
		return true;
	return !own[0] && !own[1] && !own[3] && (!own[2] || is_mapped(to));
}

/*
 * Where neither socket nor NIC nor route is left on the packet (before 6.11, when TCP takes its data), the agent's namespace is tried:
 * elsewhere the socket stays unknown.
 */
static __always_inline void guess_netns(struct meeting *m, __u32 own)
{
	if (!m->net)
		m->netns = own;
}

static __always_inline void check_guess(struct meeting *m)
{
	const struct sock *sk = m->sk;

	if (m->net)
		return;
	m->netns = sk ? m->netns : 0;
	m->net = sk ? BPF_CORE_READ(sk, __sk_common.skc_net.net) : NULL;
}

/* A packet that did not come as far as its socket, or of which the kernel does not tell it: the one that it would have met. */
static __always_inline void meet_by_address(struct meeting *m, const struct packet *p)
{
	struct address_key key = { p->destination_ip, p->source_ip, m->netns, p->destination_port, p->source_port };
	struct listener_key listener = { m->netns, p->destination_port };
	__u64 *found = bpf_map_lookup_elem(&by_address, &key);
	struct view view;

	if (found) {
		look((const struct sock *)*found, false, &view);
		if (view.netns == m->netns && view.local_port == p->destination_port && view.remote_port == p->source_port &&
		    same_address(&view.remote_ip, &p->source_ip))
			meet(m, (const struct sock *)*found);
		return;
	}
	found = m->net ? bpf_map_lookup_elem(&listening, &listener) : NULL;	/* of a guessed namespace a port says too little */
	if (!found)
		return;
	look((const struct sock *)*found, false, &view);
	if (view.netns == m->netns && view.local_port == p->destination_port && listens_at(&view, &p->destination_ip))
		meet(m, (const struct sock *)*found);
}

/* The owner in the socket table, or NULL. A request's is the listener's. */
static __always_inline const struct socket_entry *owner_of(const struct meeting *m)
{
	const struct sock *sk = m->sk;

	if (!sk || m->state == TCP_TIME_WAIT)
		return NULL;
	if (m->state == TCP_NEW_SYN_RECV)
		sk = BPF_CORE_READ(sk, __sk_common.skc_listener);
	return sockets_find(sk);
}

/* Where the packet came in. TCP takes skb->dev off, and a packet in a queue has other things in its place. */
static __always_inline void name_interface(const struct sk_buff *skb, const struct net *net, char *ret_name)
{
	int index = BPF_CORE_READ(skb, skb_iif);
	struct hlist_head *heads = BPF_CORE_READ(net, dev_index_head);
	struct hlist_node *node = NULL;

	bpf_probe_read_kernel(&node, sizeof(node), heads + (index & (NETDEV_HASH - 1)));
	for (int i = 0; i < NETDEV_CHAIN && node; i++) {
		const struct net_device *dev = (const void *)node - bpf_core_field_offset(struct net_device, index_hlist);

		if (BPF_CORE_READ(dev, ifindex) == index) {
			bpf_core_read_str(ret_name, sizeof(dev->name), &dev->name);
			return;
		}
		node = BPF_CORE_READ(node, next);
	}
}
#endif
