/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets under way, found by the address of their skb at each hook that they pass.
 *
 * Five or six times a packet: so this is no hash map of the kernel's (60 to 90 ns each), but an array of sets of 8 places, of which the address
 * says which (10 to 15 ns). The first hook that sees a packet takes a place; if none is free, that of the packet that has been
 * under way for longest and has not come far.
 *
 * There is no lock, because the kernel hands a packet from hook to hook. Two CPUs may take the same place in the same moment: then the
 * packet whose address is not in it is not found by its next hook, which takes another place; that costs the stage before. CPUs begin to
 * look at different places. Nothing is computed by branches, so that the verifier has one path to look at and not one for each place.
 */
#ifndef NETLINE_TRIPS_BPF_H
#define NETLINE_TRIPS_BPF_H

#include "number.bpf.h"
#include "probe.bpf.h"

#define SET_TRIPS 8
#define SETS 4096
#define TRIPS (SETS * SET_TRIPS)
#define NO_TRIP (~0u)	/* what it is asked for is NULL or false, and what is done to it is nothing: there is no such set */
#define IS_FAR (1ull << 62)	/* in a rank: it has come as far as to be counted */

struct trip {
	__u64 first_ns;		/* in: handed over by the driver; out: sent by TCP; 0: unknown, here and below */
	__u64 second_ns;	/* came to IP */
	__u64 third_ns;		/* in: came to TCP; out: came to the queueing discipline */
	__u64 queued_ns;	/* in: is in the receive queue */
	__u64 ahead_ns;		/* in: TCP has seen that it is ahead of what it waits for; 0: it is not */
	__u64 flow;		/* in: a hash of addresses and ports; out: the number of the socket */
	__u32 netns;		/* in: here and below */
	__u32 nic;		/* index */
	__u32 seq;
	__u32 end_seq;
	__u8 has_data;
	__u8 is_probed;		/* TCP has begun to process it, for an established connection */
	__u8 is_large;		/* out: of several segments */
	__u8 pad[5];
};

struct trip_set {
	__u64 skb[SET_TRIPS];	/* 0: free */
	__u64 rank[SET_TRIPS];	/* in which order places are given away; 0: free */
	struct trip trips[SET_TRIPS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SETS);
	__type(key, __u32);
	__type(value, struct trip_set);
} trips SEC(".maps");

static __always_inline struct trip_set *set_of(__u32 trip)
{
	__u32 key = trip / SET_TRIPS;

	return bpf_map_lookup_elem(&trips, &key);
}

static __always_inline struct trip *trip_at(__u32 trip)
{
	struct trip_set *set = set_of(trip);

	if (!set)
		return NULL;
	asm volatile("" : "+r"(set));	/* or clang computes with it before it is checked */
	return &set->trips[trip % SET_TRIPS];
}

/* NO_TRIP: it is not under way. */
static __always_inline __u32 trip_find(__u64 skb)
{
	__u32 key = slot_of(skb, SETS), found = 0, place = 0;
	struct trip_set *set = bpf_map_lookup_elem(&trips, &key);

	if (!set)
		return NO_TRIP;
#pragma unroll
	for (__u32 i = 0; i < SET_TRIPS; i++) {
		__u64 other = set->skb[i] ^ skb;
		__u32 same = ((other | -other) >> 63) ^ 1;

		found |= same;
		place |= i & -same;
	}
	return found ? key * SET_TRIPS + place : NO_TRIP;
}

static __always_inline bool trip_holds(__u32 trip, __u64 skb)
{
	struct trip_set *set = set_of(trip);

	return set && set->skb[trip % SET_TRIPS] == skb;
}

/* The place of lowest rank; its trip, if it has one, is to be ended by the caller before trip_begin(). */
static __always_inline __u32 trip_place(__u64 skb)
{
	__u32 key = slot_of(skb, SETS), start = bpf_get_smp_processor_id() * 3;
	struct trip_set *set = bpf_map_lookup_elem(&trips, &key);
	__u64 place, lowest;

	if (!set)
		return 0;	/* never */
	place = start % SET_TRIPS;
	lowest = set->rank[place];
#pragma unroll
	for (__u32 i = 1; i < SET_TRIPS; i++) {
		__u64 other = (start + i) % SET_TRIPS, rank = set->rank[other];
		__u64 lower = (__s64)(rank - lowest) >> 63;

		lowest ^= (lowest ^ rank) & lower;
		place ^= (place ^ other) & lower;
	}
	return key * SET_TRIPS + place % SET_TRIPS;
}

static __always_inline __u64 rank_of(__u64 now, bool is_far)
{
	return now | (is_far ? IS_FAR : 0);
}

static __always_inline bool trip_is_there(__u32 trip)
{
	struct trip_set *set = set_of(trip);

	return set && set->rank[trip % SET_TRIPS];
}

static __always_inline bool trip_is_far(__u32 trip)
{
	struct trip_set *set = set_of(trip);

	return set && set->rank[trip % SET_TRIPS] > IS_FAR;
}

static __always_inline void trip_set_far(__u32 trip, __u64 now)
{
	struct trip_set *set = set_of(trip);

	if (set)
		set->rank[trip % SET_TRIPS] = rank_of(now, true);
}

static __always_inline struct trip *trip_begin(__u32 trip, __u64 skb, __u64 now)
{
	struct trip_set *set = set_of(trip);
	struct trip *t;

	if (!set)
		return NULL;
	t = &set->trips[trip % SET_TRIPS];
	__builtin_memset(t, 0, sizeof(*t));
	set->rank[trip % SET_TRIPS] = rank_of(now, false);
	set->skb[trip % SET_TRIPS] = skb;
	return t;
}

/* Its skb's address no longer leads to it, but its number does. */
#define HIDDEN (~0ull)
static __always_inline void trip_hide(__u32 trip)
{
	struct trip_set *set = set_of(trip);

	if (set)
		set->skb[trip % SET_TRIPS] = HIDDEN;
}

static __always_inline void trip_show(__u32 trip, __u64 skb)
{
	struct trip_set *set = set_of(trip);

	if (set)
		set->skb[trip % SET_TRIPS] = skb;
}

static __always_inline void trip_end(__u32 trip)
{
	struct trip_set *set = set_of(trip);

	if (!set)
		return;
	set->skb[trip % SET_TRIPS] = 0;
	set->rank[trip % SET_TRIPS] = 0;
	set->trips[trip % SET_TRIPS].third_ns = 0;	/* a CPU may have it as its current one */
}
#endif
