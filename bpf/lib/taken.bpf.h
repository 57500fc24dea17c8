/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which transitions of sockets have been done, for several programs on one hook.
 *
 * The kernel skips a program of which a run on this CPU is not over, because a softirq has interrupted it (often a whole batch
 * of events is skipped then) or, where tracepoints can be preempted (7.x), because its task was. Then the next one, which
 * is attached after it, does the work. All can only be skipped together where tasks were preempted in each; the agent
 * counts that: runs that the first one missed less those that were done in its place.
 *
 * A socket's transitions come one after the other, and no two of the same state. Where two sockets share an element one of
 * them may be done twice: the second time has to find nothing to do.
 */
#ifndef NETLINE_TAKEN_BPF_H
#define NETLINE_TAKEN_BPF_H

#include "number.bpf.h"
#include "probe.bpf.h"

#define TAKEN (1 << 14)	/* 256 KiB: a task may be preempted between two programs for as long as others make hundreds of transitions */

struct transition {
	const struct sock *sk;
	__s64 to;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TAKEN);
	__type(key, __u32);
	__type(value, struct transition);
} taken SEC(".maps");

static __always_inline struct transition *last_of(const struct sock *sk)
{
	__u32 key = slot_of(number_of(sk), TAKEN);

	return bpf_map_lookup_elem(&taken, &key);
}

/* The first program does it. */
static __always_inline void take(const struct sock *sk, int to)
{
	struct transition *last = last_of(sk);

	if (last)
		*last = (struct transition){ sk, to };
}

/* True if the programs before missed it: the caller does it in their place, and that is counted. */
static __always_inline bool take_missed(const struct sock *sk, int to)
{
	struct transition *last = last_of(sk);

	if (!last || (last->sk == sk && last->to == to))
		return false;
	*last = (struct transition){ sk, to };
	COUNT(stood_in, 1);
	return true;
}
#endif
