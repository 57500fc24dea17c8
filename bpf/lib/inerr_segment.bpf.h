/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a segment fits its socket: the checks of tcp_validate_incoming(), and of what comes after it, as net/ipv4/tcp_input.c of
 * 5.10 has them, for kernels that do not tell what they found. To be removed with Linux 5.10 to 5.18.
 */
#ifndef NETLINE_INERR_SEGMENT_BPF_H
#define NETLINE_INERR_SEGMENT_BPF_H

#include "inerr_checks.bpf.h"

#define TIMESTAMP_OPTION 8
#define OPTIONS 10	/* as many of a segment are looked at */
#define OPTION_BYTES 40
#define PAWS_SECONDS (60 * 60 * 24 * 24)	/* TCP_PAWS_24DAYS */
#define PAWS_WINDOW 1	/* TCP_PAWS_WINDOW */

/* A segment against its socket. */
struct segment {
	const struct tcp_sock *tcp;
	__u32 seq, end_seq, ack;
	__u32 expected, window_end;
	__u8 state;
	__u8 flags;
};

/* The sender's timestamp. */
static __always_inline bool read_timestamp(const unsigned char *header, __u32 length, __u32 *ret_value)
{
	__u32 at = TCP_HEADER;

	for (int i = 0; i < OPTIONS && at < length; i++) {
		struct { __u8 kind, length; } option = {};

		bpf_probe_read_kernel(&option, sizeof(option), header + at);
		if (option.kind == TIMESTAMP_OPTION) {
			bpf_probe_read_kernel(ret_value, sizeof(*ret_value), header + at + 2);
			*ret_value = bpf_ntohl(*ret_value);
			return true;
		}
		if (!option.kind || (option.kind > 1 && option.length < 2))
			break;
		at += option.kind == 1 ? 1 : option.length;
	}
	return false;
}

/* tcp_paws_discard(). A repeated ACK is let through without a look at the window and the clock's tolerance. */
static __always_inline bool fails_paws(const struct segment *s, const unsigned char *header, __u32 length)
{
	const struct tcp_sock *tcp = s->tcp;
	__u32 recent = BPF_CORE_READ(tcp, rx_opt.ts_recent), value;

	if (!recent || !read_timestamp(header, length, &value) || (__s32)(recent - value) <= PAWS_WINDOW)
		return false;
	if (!before(bpf_ktime_get_ns() / 1000000000, BPF_CORE_READ(tcp, rx_opt.ts_recent_stamp) + PAWS_SECONDS))
		return false;
	return !(s->flags & FLAG_ACK && s->seq == s->end_seq && s->seq == s->expected && s->ack == BPF_CORE_READ(tcp, snd_una));
}

/* What was received before, or a bare ACK that a later one has overtaken. */
static __always_inline bool comes_late(const struct segment *s)
{
	const struct tcp_sock *tcp = s->tcp;

	return before(s->seq, s->expected) || (s->seq == s->end_seq && before(s->ack, BPF_CORE_READ(tcp, snd_una)));
}

/* tcp_reset_check(): after its FIN the peer's RST may come one too early. */
static __always_inline bool is_due_after_fin(const struct segment *s)
{
	return s->seq == s->expected - 1 && (s->state == TCP_CLOSE_WAIT || s->state == TCP_LAST_ACK || s->state == TCP_CLOSING);
}

/* Whether a RST in the window is exactly where it is due: the end of what was acknowledged selectively will do. */
static __always_inline bool resets(const struct segment *s)
{
	const struct tcp_sock *tcp = s->tcp;
	__u8 sacks = BPF_CORE_READ(tcp, rx_opt.num_sacks);
	struct tcp_sack_block blocks[4] = {};
	__u32 last;

	if (s->seq == s->expected || is_due_after_fin(s))
		return true;
	if (!sacks)
		return false;
	BPF_CORE_READ_INTO(&blocks, tcp, selective_acks);
	last = blocks[0].end_seq;
	for (int i = 1; i < 4; i++)
		if (i < sacks && before(last, blocks[i].end_seq))
			last = blocks[i].end_seq;
	return s->seq == last;
}

/* tcp_data_queue(). A byte at the very end of the window is one that tcp_sequence() lets through. */
static __always_inline __u8 judge_data(const struct segment *s)
{
	__u32 bytes = s->end_seq - s->seq;

	if (bytes && !before(s->expected, s->end_seq))
		return duplicate();
	if (bytes <= (s->flags & FLAG_FIN))
		return INERR_NONE;
	if (s->window_end == s->expected)
		return INERR_RECEIVE_BUFFER;
	return before(s->seq, s->window_end) ? INERR_NONE : INERR_OUT_OF_WINDOW;
}

/* What tcp_ack() refuses, which comes next. */
static __always_inline __u8 judge_accepted(const struct segment *s)
{
	const struct tcp_sock *tcp = s->tcp;
	__u32 acknowledged = BPF_CORE_READ(tcp, snd_una), window = BPF_CORE_READ(tcp, max_window);

	if (before(BPF_CORE_READ(tcp, snd_nxt), s->ack) || before(s->ack, acknowledged - window))
		return INERR_INVALID_ACK;
	return judge_data(s);
}

/* tcp_validate_incoming() */
static __always_inline __u8 judge_incoming(const struct segment *s, const unsigned char *header, __u32 length)
{
	const struct tcp_sock *tcp = s->tcp;
	bool is_reset = s->flags & FLAG_RST;

	if (!is_reset && fails_paws(s, header, length))
		return comes_late(s) ? duplicate() : INERR_PAWS;
	if (before(s->end_seq, BPF_CORE_READ(tcp, rcv_wup)) || before(s->window_end, s->seq)) {
		if (is_reset)
			return is_due_after_fin(s) ? INERR_NONE : INERR_RST_OUT_OF_WINDOW;
		if (s->flags & FLAG_SYN)
			return INERR_SYN_IN_WINDOW;
		return before(s->window_end, s->seq) ? INERR_OUT_OF_WINDOW : duplicate();
	}
	if (is_reset)
		return resets(s) ? INERR_NONE : INERR_RST_IN_WINDOW;
	return s->flags & FLAG_SYN ? INERR_SYN_IN_WINDOW : judge_accepted(s);
}

/* The segment that `header` is the beginning of; skb->len still has its header in it. */
static __always_inline void read_judged(struct segment *s, const struct sock *sk, const struct sk_buff *skb, const unsigned char *header, __u32 *ret_length)
{
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	struct tcp_header h = {};

	bpf_probe_read_kernel(&h, sizeof(h), header);
	*ret_length = (h.offset >> 4) * 4;
	s->tcp = tcp;
	s->seq = bpf_ntohl(h.seq);
	s->ack = bpf_ntohl(h.ack);
	s->flags = h.flags;
	s->end_seq = s->seq + !!(h.flags & FLAG_SYN) + (h.flags & FLAG_FIN) + BPF_CORE_READ(skb, len) - *ret_length;
	s->expected = BPF_CORE_READ(tcp, rcv_nxt);
	s->window_end = window_end(tcp, s->expected);
	s->state = BPF_CORE_READ(sk, __sk_common.skc_state);
}
#endif
