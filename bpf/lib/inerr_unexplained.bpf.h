/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bad packets on kernels that do not say why they drop one (before 5.19, da40b613f89c): each hook stands where only such packets
 * come, or at the beginning of a function of which the checks are done here as well.
 *
 * Not told: what the socket's memory, its backlog and signatures refuse, and what is for a listener, a request or a socket in SYN_SENT
 * or TIME_WAIT with right checksum, header and flags. To be removed with Linux 5.10 to 5.18.
 */
#ifndef NETLINE_INERR_UNEXPLAINED_BPF_H
#define NETLINE_INERR_UNEXPLAINED_BPF_H

#include "inerr_segment.bpf.h"

static const struct inerr_rule unexplained = {};

/* A bad packet, of which the socket is known or NULL. */
static __always_inline int tell_unexplained(const struct sk_buff *skb, const struct sock *sk, __u8 reason, enum program program)
{
	struct work *w = work_begin(program);

	if (!w)
		return 0;
	if (packet_read(skb, false, &w->packet)) {
		w->meeting = (struct meeting){};
		meet_told(&w->meeting, skb, sk);
		if (!w->meeting.sk && reason != INERR_NO_SOCKET)
			meet_by_address(&w->meeting, &w->packet);
		if (reason != INERR_NO_SOCKET || !is_own_answer(skb, &w->packet))
			tell(w, skb, &unexplained, reason);
	}
	work_end(w);
	return 0;
}

static __always_inline int on_validate(const struct sock *sk, const struct sk_buff *skb, const unsigned char *header)
{
	struct segment s;
	__u32 length;
	__u8 reason;

	read_judged(&s, sk, skb, header, &length);
	reason = judge_incoming(&s, header, length);
	return reason ? tell_unexplained(skb, sk, reason, VALIDATE) : 0;
}

/* A segment without any of these is dropped before tcp_validate_incoming(), in each state. */
static __always_inline int on_segment(const struct sock *sk, const struct sk_buff *skb)
{
	__u8 flags = 0;

	bpf_probe_read_kernel(&flags, sizeof(flags), BPF_CORE_READ(skb, data) + 13);
	return flags & (FLAG_ACK | FLAG_RST | FLAG_SYN) ? 0 : tell_unexplained(skb, sk, INERR_BAD_FLAGS, SEGMENT);
}

/* The checksum is wrong. TCP asks with the packet's data at its own header; netfilter may have asked before. */
static __always_inline int on_checksum(const struct sk_buff *skb, __u16 wrong)
{
	if (!wrong || BPF_CORE_READ(skb, data) != BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header))
		return 0;
	return tell_unexplained(skb, NULL, INERR_BAD_CHECKSUM, CHECKSUM);
}

/* TCP answers what has no socket by a RST; with a RST it comes here, too, and is not answered. */
static __always_inline int on_send_reset(const struct sock *sk, const struct sk_buff *skb)
{
	return sk ? 0 : tell_unexplained(skb, NULL, INERR_NO_SOCKET, RESET);
}

SEC("?fentry/tcp_validate_incoming")
int BPF_PROG(validate_fentry, struct sock *sk, struct sk_buff *skb, const void *header)
{
	return on_validate(sk, skb, header);
}

SEC("?kprobe/tcp_validate_incoming")
int BPF_KPROBE(validate_kprobe, struct sock *sk, struct sk_buff *skb, const void *header)
{
	return on_validate(sk, skb, header);
}

SEC("?fentry/tcp_rcv_established")
int BPF_PROG(established_fentry, struct sock *sk, struct sk_buff *skb)
{
	return on_segment(sk, skb);
}

SEC("?kprobe/tcp_rcv_established")
int BPF_KPROBE(established_kprobe, struct sock *sk, struct sk_buff *skb)
{
	return on_segment(sk, skb);
}

SEC("?fentry/tcp_rcv_state_process")
int BPF_PROG(state_fentry, struct sock *sk, struct sk_buff *skb)
{
	return on_segment(sk, skb);
}

SEC("?kprobe/tcp_rcv_state_process")
int BPF_KPROBE(state_kprobe, struct sock *sk, struct sk_buff *skb)
{
	return on_segment(sk, skb);
}

SEC("?fentry/tcp_v4_send_reset")
int BPF_PROG(reset_v4_fentry, const struct sock *sk, struct sk_buff *skb)
{
	return on_send_reset(sk, skb);
}

SEC("?kprobe/tcp_v4_send_reset")
int BPF_KPROBE(reset_v4_kprobe, const struct sock *sk, struct sk_buff *skb)
{
	return on_send_reset(sk, skb);
}

SEC("?fentry/tcp_v6_send_reset")
int BPF_PROG(reset_v6_fentry, const struct sock *sk, struct sk_buff *skb)
{
	return on_send_reset(sk, skb);
}

SEC("?kprobe/tcp_v6_send_reset")
int BPF_KPROBE(reset_v6_kprobe, const struct sock *sk, struct sk_buff *skb)
{
	return on_send_reset(sk, skb);
}

SEC("?fexit/__skb_checksum_complete")
int BPF_PROG(checksum_fexit, struct sk_buff *skb, __u16 wrong)
{
	return on_checksum(skb, wrong);
}

/* Between entry and return of a kprobe's function: the packet. A softirq in the middle leaves none, and then the outer one is not told. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, const struct sk_buff *);
} summed SEC(".maps");

SEC("?kprobe/__skb_checksum_complete")
int BPF_KPROBE(checksum_kprobe, struct sk_buff *skb)
{
	__u32 zero = 0;
	const struct sk_buff **at = bpf_map_lookup_elem(&summed, &zero);

	if (at)
		*at = skb;
	return 0;
}

SEC("?kretprobe/__skb_checksum_complete")
int BPF_KRETPROBE(checksum_kretprobe, __u16 wrong)
{
	__u32 zero = 0;
	const struct sk_buff **at = bpf_map_lookup_elem(&summed, &zero), *skb;

	if (!at || !*at)
		return 0;
	skb = *at;
	*at = NULL;
	return on_checksum(skb, wrong);
}

/* Header errors. */
SEC("?tp_btf/kfree_skb")
int BPF_PROG(drop_unexplained, struct sk_buff *skb, void *location)
{
	struct work *w = work_begin(DROP);
	__u8 reason;

	if (!w)
		return 0;
	if (dropped_at_entry(skb, location, NULL) && packet_read(skb, true, &w->packet)) {
		reason = look_at_header(&w->packet, CHECK_HEADER) ?: look_at_header(&w->packet, CHECK_OFFSET);
		if (reason) {
			w->meeting = (struct meeting){};
			meet_told(&w->meeting, skb, NULL);
			if (!w->meeting.sk)
				meet_by_address(&w->meeting, &w->packet);
			tell(w, skb, &unexplained, reason);
		}
	}
	work_end(w);
	return 0;
}
#endif
