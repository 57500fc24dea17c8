/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The records of tcp_inerrs: filtered, coalesced by flow and reason, counted.
 *
 * The first of a flow and reason in a second goes into the ring, and with a count of those that follow into one of two maps. The
 * agent changes `epoch` each second, and so the map that is written to; a second later, when no program can still write to the
 * old one, it reads that, and empties it. So counts are exact, and cost one look-up and one addition a packet.
 */
#ifndef NETLINE_INERR_RECORDS_BPF_H
#define NETLINE_INERR_RECORDS_BPF_H

#include "filter.bpf.h"
#include "inerr_socket.bpf.h"

const volatile struct inerr_settings inerrs SEC(".rodata.inerrs") = {};

__u32 epoch SEC(".bss.epoch");
__u64 own_overflows SEC(".bss.own_overflows");	/* listen overflows of the agent's namespace that the kernel told one by one */

RING(events);

/* The agent chooses the flags: programs of kprobes may not allocate. */
#define FLOWS(name) struct { \
	__uint(type, BPF_MAP_TYPE_HASH); \
	__uint(max_entries, 16384); \
	__type(key, struct inerr_flow); \
	__type(value, struct inerr_tally); \
} name SEC(".maps")

FLOWS(flows_0);
FLOWS(flows_1);

/* What a run works with; too large for the stack. */
struct work {
	struct packet packet;
	struct meeting meeting;
	struct inerr_flow flow;
	struct inerr_tally tally;
	__u32 busy;
};
enum program { DROP, DROP_NESTED, VALIDATE, SEGMENT, CHECKSUM, RESET, PROGRAMS };

/*
 * Each program has two on each CPU: a softirq may come into the middle of a run in a task (the kernel lets a program interrupt itself
 * up to 6.0, 05b24ff9b2cf), but has ended when that goes on.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * PROGRAMS);
	__type(key, __u32);
	__type(value, struct work);
} works SEC(".maps");

static __always_inline struct work *work_begin(enum program program)
{
	__u32 key = program;
	struct work *w = bpf_map_lookup_elem(&works, &key);

	if (w && w->busy) {
		key += PROGRAMS;
		w = bpf_map_lookup_elem(&works, &key);
	}
	if (w)
		w->busy = 1;
	return w;
}

static __always_inline void work_end(struct work *w)
{
	w->busy = 0;
}

/* The address filters; the port is this host's. */
static __always_inline bool packet_wanted(const struct packet *p)
{
	if (!(settings.families & FAMILY_BIT(p->family)))
		return false;
	return !settings.by_port || bpf_map_lookup_elem(&ports, &p->destination_port);
}

static __always_inline void fill_socket(struct tcp_inerrs *r, const struct meeting *m)
{
	const struct sock *sk = m->sk;
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;

	r->expected_seq = r->window = NO_NUMBER;
	if (!sk)
		return;
	r->state = m->state == TCP_NEW_SYN_RECV ? TCP_SYN_RECV : m->state;
	r->cookie.value = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	if (!m->is_full)
		return;
	r->cgroup.value = cgroup_id(socket_cgroup(sk, false));
	if (m->state == TCP_LISTEN || m->state == TCP_CLOSE || m->state == TCP_SYN_SENT)
		return;
	r->expected_seq = BPF_CORE_READ(tcp, rcv_nxt);
	r->window = window_end(tcp, r->expected_seq) - (__u32)r->expected_seq;
}

static __always_inline void fill(struct work *w, const struct sk_buff *skb, const struct inerr_rule *rule, const struct socket_entry *owner)
{
	struct tcp_inerrs *r = &w->tally.first;
	const struct packet *p = &w->packet;

	__builtin_memset(&w->tally, 0, sizeof(w->tally));
	r->time.ns = bpf_ktime_get_ns();
	r->count = 1;
	r->seq = p->seq;
	r->ack = p->ack;
	r->netns.value = w->meeting.netns;
	r->source_ip = p->source_ip;
	r->destination_ip = p->destination_ip;
	__builtin_memcpy(r->kernel_reason, rule->name, KERNEL_REASON_LEN);
	r->packet_bytes = p->bytes;
	r->source_port = p->source_port;
	r->destination_port = p->destination_port;
	r->family = p->family;
	r->reason = w->flow.reason;
	r->class = inerr_class_of(r->reason);
	r->flags = p->flags;
	fill_socket(r, &w->meeting);
	if (w->meeting.net)
		name_interface(skb, w->meeting.net, r->interface);
	if (owner)
		FILL_OWNER(r, &owner->owner);
}

static __always_inline void submit(const struct tcp_inerrs *record)
{
	struct tcp_inerrs *r = RING_RESERVE(&events, sizeof(*r));

	if (!r)
		return;
	__builtin_memcpy(r, record, sizeof(*r));
	ring_submit(&events, r, sizeof(*r));
}

/* True if it is one more of a flow that the second has. */
static __always_inline bool add_to(void *flows, const struct inerr_flow *flow)
{
	struct inerr_tally *tally = bpf_map_lookup_elem(flows, flow);

	if (tally)
		__sync_fetch_and_add(&tally->more, 1);
	return tally;
}

static __always_inline void enter(void *flows, const struct work *w)
{
	if (!bpf_map_update_elem(flows, &w->flow, &w->tally, BPF_NOEXIST))
		submit(&w->tally.first);
	else if (!add_to(flows, &w->flow))	/* another CPU was not first: there is no room */
		COUNT(map_full, 1);
}

/* The packet is bad: `reason` says how. */
static __always_inline void tell(struct work *w, const struct sk_buff *skb, const struct inerr_rule *rule, __u8 reason)
{
	const struct socket_entry *owner = NULL;
	const struct packet *p = &w->packet;
	bool odd = epoch & 1;

	if (settings.by_pid)
		owner = owner_of(&w->meeting);
	if (!ADMIT(packet_wanted(p) && (!settings.by_pid || (owner && owner_wanted(owner)))))
		return;
	w->flow = (struct inerr_flow){ p->source_ip, p->destination_ip, w->meeting.netns, p->source_port, p->destination_port, reason };
	if (odd ? add_to(&flows_1, &w->flow) : add_to(&flows_0, &w->flow))
		return;
	if (!settings.by_pid)
		owner = owner_of(&w->meeting);
	fill(w, skb, rule, owner);
	if (odd)
		enter(&flows_1, w);
	else
		enter(&flows_0, w);
}
#endif
