/* SPDX-License-Identifier: GPL-2.0-only */
/* Received packets under way, and what is told of each at its end. */
#ifndef NETLINE_ARRIVALS_BPF_H
#define NETLINE_ARRIVALS_BPF_H

#include "delay.bpf.h"
#include "../../schema/delay_analysis_in.h"

/* What is told of each packet under way, by its number in `trips`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TRIPS);
	__type(key, __u32);
	__type(value, struct delay_analysis_in);
} details SEC(".maps");

/* --- the end --- */

/* Whether TCP's part has an end that is known. */
static __always_inline bool has_tcp_stage(const struct trip *t, __u8 end)
{
	return t->has_data && end != END_PROCESSED && end != END_UNKNOWN;
}

static __always_inline void name_reader(struct delay_analysis_in *r, __u8 known)
{
	const struct task_struct *task, *leader;
	struct socket_entry reader = {};

	if (known != CASTS) {
		current_owner(&reader);
		FILL_OWNER(r, &reader.owner);
		return;
	}
	task = CAST(struct task_struct, (void *)bpf_get_current_task());
	leader = task->group_leader;
	r->pid = task->tgid;
	r->tid = task->pid;
	COPY_16(r->thread_name, task->comm);
	COPY_16(r->process_name, leader->comm);
}

/* `known`: of the program, to which the reader is the current task. */
static __always_inline void tell(__u32 trip, const struct trip *t, __u8 end, __u64 now, __u8 known)
{
	__u64 mac_ns = stage(t->first_ns, t->second_ns), ip_ns = stage(t->second_ns, t->third_ns);
	__u64 tcp_ns = has_tcp_stage(t, end) ? stage(t->third_ns, now) : NO_TIME;
	__u64 duration_ns = sum_of(sum_of(mac_ns, ip_ns), tcp_ns);
	const struct delay_analysis_in *told = bpf_map_lookup_elem(&details, &trip);
	struct delay_analysis_in *r;

	if (!is_slow(duration_ns)) {
		COUNT(filtered, 1);
		return;
	}
	r = told ? RING_RESERVE(&events, sizeof(*r)) : NULL;
	if (!r)
		return;
	*r = *told;
	if (end == END_READ)
		name_reader(r, known);
	r->time.ns = now;
	r->end = end;
	r->mac_ns = mac_ns;
	r->ip_ns = ip_ns;
	r->tcp_ns = tcp_ns;
	r->protocol_ns = t->queued_ns ? stage(t->third_ns, t->queued_ns) : end == END_READ ? NO_TIME : tcp_ns;
	r->socket_wait_ns = end == END_READ ? stage(t->queued_ns, now) : NO_TIME;
	r->duration_ns = duration_ns;
	ring_submit(&events, r, sizeof(*r));
}

static __always_inline void end_trip(__u32 trip, __u8 end, __u64 now)
{
	struct trip *t = trip_at(trip);

	if (t)
		tell(trip, t, end, now, true);
	trip_end(trip);
}

/*
 * A place for a packet that begins its way. Another trip of the same skb is over: its packet left the receive queue unseen, or the
 * CPU that had it will tell. If there are too many, that of another packet ends.
 */
static __always_inline __u32 place_for(__u32 found, __u64 number, __u64 now)
{
	struct trip *t = !delay.summary && trip_is_far(found) ? trip_at(found) : NULL;
	bool is_hidden = t && !t->queued_ns;
	__u32 place = found;

	if (is_hidden)
		trip_hide(found);
	if (found == NO_TRIP || is_hidden)
		place = trip_place(number);
	if (!delay.summary && trip_is_far(place))
		end_trip(place, END_UNKNOWN, now);
	return place;
}
#endif
