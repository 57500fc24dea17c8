/* SPDX-License-Identifier: GPL-2.0-only */
/* What every probe has: settings, counters per CPU, and a ring whose losses are counted. */
#ifndef NETLINE_PROBE_BPF_H
#define NETLINE_PROBE_BPF_H

#include "../kernel.h"
#include "../../schema/control.h"

const volatile struct settings settings SEC(".rodata.settings") = {};

#define COUNTERS(name) struct { \
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); \
	__uint(max_entries, 1); \
	__type(key, __u32); \
	__type(value, struct counters); \
} name SEC(".maps")

COUNTERS(counters);

/* What the user has chosen; the agent fills it. */
#define CHOSEN(name, key_type, size) struct { \
	__uint(type, BPF_MAP_TYPE_HASH); \
	__uint(max_entries, size); \
	__type(key, key_type); \
	__type(value, __u8); \
} name SEC(".maps")

/*
 * Never NULL: the map has one element. The verifier wants the check. In one step, although each CPU has its own: a softirq may run another
 * program of the probe in the middle of it.
 */
#define COUNT_IN(map, member, n) do { \
	__u32 zero_ = 0; \
	struct counters *counters_ = bpf_map_lookup_elem(&map, &zero_); \
	if (counters_) \
		__sync_fetch_and_add(&counters_->member, n); \
} while (0)
#define COUNT(member, n) COUNT_IN(counters, member, n)

/* Counts an event and whether filters refuse it: true if not. */
#define ADMIT_IN(map, wanted) ({ \
	bool wanted_ = (wanted); \
	COUNT_IN(map, produced, 1); \
	if (!wanted_) \
		COUNT_IN(map, filtered, 1); \
	wanted_; \
})
#define ADMIT(wanted) ADMIT_IN(counters, wanted)

/* An event that is lost before it could be told. */
#define COUNT_LOST_IN(map, why) do { \
	COUNT_IN(map, produced, 1); \
	COUNT_IN(map, why, 1); \
} while (0)
#define COUNT_LOST(why) COUNT_LOST_IN(counters, why)

/*
 * A ring named `events` of the record type; its size is set by the agent before load.
 *
 * A wake-up is an interrupt, which costs more than all the rest of an event. The kernel wakes the agent when a record comes
 * into an empty ring, and the agent then lets a batch gather; ring_submit() wakes it once more when the fill passes
 * wake_bytes. If two CPUs jump over that mark together, the agent comes a little later by its timer. Where a task can be preempted
 * in a program, waking the agent would do just that, and the kernel would skip the program until the task goes on: there the
 * agent looks into its rings by a timer (settings.no_wakeups).
 */

#define RING(events) struct { \
	__uint(type, BPF_MAP_TYPE_RINGBUF); \
	__uint(max_entries, 1 << 20); \
} events SEC(".maps")

#define RING_RESERVE_IN(map, ring, size) ({ \
	void *record_ = bpf_ringbuf_reserve(ring, size, 0); \
	if (!record_) \
		COUNT_IN(map, ring_full, 1); \
	record_; \
})
#define RING_RESERVE(ring, size) RING_RESERVE_IN(counters, ring, size)

static __always_inline void ring_submit(void *ring, void *record, __u64 size)
{
	bool urgent = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) - settings.wake_bytes < size + BPF_RINGBUF_HDR_SZ;

	bpf_ringbuf_submit(record, urgent ? BPF_RB_FORCE_WAKEUP : settings.no_wakeups ? BPF_RB_NO_WAKEUP : 0);
}
#endif
