/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp_inerrs: TCP packets that the kernel drops because something is wrong with them.
 *
 * Where the tracepoint kfree_skb tells why (all of TCP's reasons: 5.19), that is all: the map `reasons` says what each means. It
 * fires for every dropped packet of the machine, of any protocol, so a look at the reason comes first. For older kernels see
 * lib/inerr_unexplained.bpf.h.
 */
#include "kernel.h"
#include "lib/descriptors.bpf.h"
#include "lib/inerr_checks.bpf.h"
#include "lib/inerr_unexplained.bpf.h"
#include "lib/number.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INERR_RULES);
	__type(key, __u32);
	__type(value, struct inerr_rule);
} reasons SEC(".maps");

/*
 * Which packets have been seen, for the second program on the hook: the kernel skips the first one where a softirq comes into
 * the middle of a run, and then that one does its work. Per CPU, so that others cannot be in the way; a packet of which the task
 * is preempted between the two and goes on on another CPU (7.x) may be counted twice. Every drop is marked, bad or not, because the
 * kernel counts what it skips in the same way: what both have missed is runs that the first one missed less those that stood in.
 */
#define SEEN (1 << 6)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SEEN);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

static __always_inline __u64 *seen_of(__u64 number)
{
	__u32 key = slot_of(number, SEEN);

	return bpf_map_lookup_elem(&seen, &key);
}

static __always_inline bool is_tcp_socket(const struct meeting *m)
{
	return m->sk && (!m->is_full || is_tcp(m->sk));
}

/* A RST for a socket without a window lies in none, and a listener has sent nothing that an ACK could be for (RFC 9293, 3.10.7.2). */
static __always_inline __u8 look_at_state(const struct meeting *m, const struct packet *p, __u8 reason)
{
	if (!m->sk || (m->state != TCP_LISTEN && m->state != TCP_SYN_SENT))
		return reason;
	if (reason == INERR_RST_IN_WINDOW)
		return INERR_RST_OUT_OF_WINDOW;
	return reason == INERR_BAD_FLAGS && m->state == TCP_LISTEN && p->flags & FLAG_ACK ? INERR_INVALID_ACK : reason;
}

/* A bare ACK that a later one has overtaken; one of the same number, too, in TIME_WAIT: for a full socket the kernel lets that pass. */
static __always_inline bool is_overtaken(const struct meeting *m, const struct packet *p)
{
	const struct sock *sk = m->sk;
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	bool is_bare = p->segment_bytes == p->data_offset && !(p->flags & (FLAG_SYN | FLAG_FIN));

	if (!is_bare)
		return false;
	return m->is_full ? before(p->ack, BPF_CORE_READ(tcp, snd_una)) : !before(BPF_CORE_READ(sk, __sk_common.skc_tw_snd_nxt), p->ack);
}

/* Whether the socket has received it before, or what came after it. */
static __always_inline bool is_late(const struct meeting *m, const struct packet *p, __u8 reason)
{
	const struct sock *sk = m->sk;
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	__u32 expected;

	if (!sk || (!m->is_full && m->state != TCP_TIME_WAIT))
		return false;
	expected = m->is_full ? BPF_CORE_READ(tcp, rcv_nxt) : BPF_CORE_READ(sk, __sk_common.skc_tw_rcv_nxt);
	return before(p->seq, expected) || (reason == INERR_PAWS && is_overtaken(m, p));
}

/* Of a segment that is not in the window, or too old for it: what was received before is a duplicate. A RST is none. */
static __always_inline __u8 look_at_side(const struct meeting *m, const struct packet *p, __u8 reason)
{
	return p->flags & FLAG_RST || !is_late(m, p, reason) ? reason : duplicate();
}

/* How the packet is bad, or INERR_NONE; `w` has what was found on the way. */
static __always_inline __u8 judge(struct work *w, const struct sk_buff *skb, void *location, const struct sock *rx_sk, const struct inerr_rule *rule)
{
	bool of_header = rule->check == CHECK_HEADER || rule->check == CHECK_OFFSET;
	struct meeting *m = &w->meeting;
	__u8 reason;

	if ((of_header && !dropped_at_entry(skb, location, rx_sk)) || !packet_read(skb, true, &w->packet))
		return INERR_NONE;
	reason = w->packet.flags & FLAG_RST ? rule->reset_reason : rule->reason;
	if (of_header)
		reason = look_at_header(&w->packet, rule->check);
	if (!reason || (rule->check == CHECK_ANSWER && is_own_answer(skb, &w->packet)))
		return INERR_NONE;
	*m = (struct meeting){};
	meet_told(m, skb, rx_sk);
	if (!m->sk && reason != INERR_NO_SOCKET) {
		guess_netns(m, inerrs.own_netns);
		meet_by_address(m, &w->packet);
		check_guess(m);
	}
	if (rule->check == CHECK_SIDE)
		return look_at_side(m, &w->packet, reason);
	return rule->check == CHECK_SOCKET && !is_tcp_socket(m) ? INERR_NONE : look_at_state(m, &w->packet, reason);
}

static __always_inline int on_drop(const struct sk_buff *skb, void *location, __u32 why, const struct sock *rx_sk, enum program program)
{
	const struct inerr_rule *rule = bpf_map_lookup_elem(&reasons, &why);
	struct work *w;
	__u8 reason;

	if (!rule || !(rule->reason | rule->reset_reason))
		return 0;
	w = work_begin(program);
	if (!w)
		return 0;
	reason = judge(w, skb, location, rx_sk, rule);
	if (reason == INERR_LISTEN_OVERFLOW && w->meeting.netns == inerrs.own_netns)
		__sync_fetch_and_add(&own_overflows, 1);
	if (reason)
		tell(w, skb, rule, reason);
	work_end(w);
	return 0;
}

#define RX_SK (inerrs.has_rx_sk ? (const struct sock *)ctx[3] : NULL)

SEC("?tp_btf/kfree_skb")
int drop(unsigned long long *ctx)
{
	__u64 number = number_of((void *)ctx[0]), *last = seen_of(number);

	if (last)
		*last = number;
	return on_drop((void *)ctx[0], (void *)ctx[1], ctx[2], RX_SK, DROP);
}

SEC("?tp_btf/kfree_skb")
int drop_nested(unsigned long long *ctx)
{
	__u64 number = number_of((void *)ctx[0]), *last = seen_of(number);

	if (!last)
		return 0;
	if (*last == number) {
		*last = 0;
		return 0;
	}
	COUNT(stood_in, 1);
	return on_drop((void *)ctx[0], (void *)ctx[1], ctx[2], RX_SK, DROP_NESTED);
}
