/* SPDX-License-Identifier: GPL-2.0-only */
/* Which socket a flow's packets met last: for those that are merged before TCP tells. */
#ifndef NETLINE_FLOWS_BPF_H
#define NETLINE_FLOWS_BPF_H

#include "number.bpf.h"
#include "packet.bpf.h"

#define FLOWS 4096
struct flow {
	__u64 hash;
	const struct sock *sk;
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOWS);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

static __always_inline struct flow *flow_at(__u64 hash)
{
	__u32 key = slot_of(hash, FLOWS);

	return bpf_map_lookup_elem(&flows, &key);
}

static __always_inline __u64 hash_of(const struct packet *p, __u32 netns)
{
	const __u64 *source = (const __u64 *)p->source_ip.bytes, *destination = (const __u64 *)p->destination_ip.bytes;
	__u64 hash = source[0] ^ source[1] * 3 ^ destination[0] * 5 ^ destination[1] * 7;

	return (hash ^ ((__u64)netns << 32 | (__u32)p->source_port << 16 | p->destination_port)) * 0x9e3779b97f4a7c15ull;
}

static __always_inline void learn_flow(__u64 hash, const struct sock *sk)
{
	struct flow *flow = flow_at(hash);

	if (flow && (flow->hash != hash || flow->sk != sk)) {
		flow->hash = hash;
		flow->sk = sk;
	}
}
#endif
