/* SPDX-License-Identifier: GPL-2.0-only */
/* --summary: how long packets took, counted by NIC and stage on each CPU. */
#ifndef NETLINE_SUMMARIES_BPF_H
#define NETLINE_SUMMARIES_BPF_H

#include "delay.bpf.h"

__u32 tick SEC(".bss.tick");	/* raised by the agent */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct delay_nic);
	__type(value, struct delay_summaries);
} summaries SEC(".maps");

/* Where a new element of `summaries` is copied from: it is too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct delay_summaries);
} no_summaries SEC(".maps");

/* Which bucket: the power of two, and the two bits below the highest. */
static __always_inline __u32 bucket_of(__u64 ns)
{
	__u32 bit = DELAY_FIRST_BIT, step;

	if (ns < 1ull << DELAY_FIRST_BIT)
		return 0;
	if (ns >= 1ull << DELAY_LAST_BIT)
		return DELAY_BUCKETS - 1;
	step = (ns >> (bit + 16) != 0) << 4;
	bit += step;
	step = (ns >> (bit + 8) != 0) << 3;
	bit += step;
	step = (ns >> (bit + 4) != 0) << 2;
	bit += step;
	step = (ns >> (bit + 2) != 0) << 1;
	bit += step;
	bit += ns >> (bit + 1) != 0;
	return 1 + (bit - DELAY_FIRST_BIT) * 4 + (ns >> (bit - 2) & 3);
}

static __always_inline void histogram_add(struct delay_histogram *h, __u64 ns)
{
	struct delay_extremes *e = &h->extremes[tick & 1];
	__u32 bucket = bucket_of(ns);

	h->sum_ns += ns;
	if (e->tick != tick) {
		e->tick = tick;
		e->min_ns = e->max_ns = ns;
	}
	if (ns < e->min_ns)
		e->min_ns = ns;
	if (ns > e->max_ns)
		e->max_ns = ns;
	if (bucket < DELAY_BUCKETS)
		h->buckets[bucket]++;
}

#define SUMMARIZE(summaries, stage, ns) do { \
	__u64 ns_ = (ns); \
	if (ns_ != NO_TIME) \
		histogram_add(&(summaries)->stages[stage], ns_); \
} while (0)

static __always_inline struct delay_summaries *new_summaries(const struct delay_nic *key)
{
	__u32 zero = 0;
	struct delay_summaries *none = bpf_map_lookup_elem(&no_summaries, &zero);

	if (none)
		bpf_map_update_elem(&summaries, key, none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&summaries, key);
}

/* NULL: there are too many NICs. */
static __always_inline struct delay_summaries *summaries_of(const struct net_device *dev, bool known)
{
	struct delay_nic key = { netns_of(dev, known), OF(dev, ifindex) };
	struct delay_summaries *s = bpf_map_lookup_elem(&summaries, &key) ?: new_summaries(&key);

	if (s && s->tick != tick) {
		s->tick = tick;
		read_name(s->name, dev, known);
	}
	return s;
}
#endif
