/* SPDX-License-Identifier: GPL-2.0-only */
/* The records of tcp_connection: made from sockets, owners and the accept queue, filtered, counted, and put into the ring. */
#ifndef NETLINE_CONNECTION_RECORDS_BPF_H
#define NETLINE_CONNECTION_RECORDS_BPF_H

#include "accept_queue.bpf.h"
#include "filter.bpf.h"
#include "sockets.bpf.h"

RING(events);

static __always_inline void fill_socket(struct tcp_connection *r, const struct view *view, const struct tcp_sock *tcp, bool client)
{
	r->srtt_ns = client ? 0 : (tcp->srtt_us >> 3) * 1000ull;
	r->cookie.value = view->cookie;
	r->netns.value = view->netns;
	r->cgroup.value = cgroup_id(view->cgroup);
	r->source_ip = client ? view->local_ip : view->remote_ip;
	r->destination_ip = client ? view->remote_ip : view->local_ip;
	r->source_port = client ? view->local_port : view->remote_port;
	r->destination_port = client ? view->remote_port : view->local_port;
	r->action = client ? ACTION_CONNECT : ACTION_ACCEPT;
	r->family = view->family;
	r->direction = client ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	r->role = client ? ROLE_CLIENT : ROLE_SERVER;
}

static __always_inline void fill_owner(struct tcp_connection *r, const struct socket_owner *owner)
{
	r->pid = owner->pid;
	r->tid = owner->tid;
	__builtin_memcpy(r->process_name, owner->process_name, COMM_LEN);
	__builtin_memcpy(r->thread_name, owner->thread_name, COMM_LEN);
}

/* Counts an event and whether filters refuse it. */
static __always_inline bool admit(bool wanted)
{
	COUNT(produced, 1);
	if (!wanted)
		COUNT(filtered, 1);
	return wanted;
}

/* A handshake is over that a process knows of: it connected or failed to (`reason` says why), or accepted early. */
static __always_inline void tell_handshake(const struct tcp_sock *tcp, const struct socket_entry *entry, __u16 reason)
{
	bool client = entry->role == ROLE_CLIENT;
	__u8 action = client ? ACTION_CONNECT : ACTION_ACCEPT;
	struct tcp_connection *r;
	struct view view;

	look((const struct sock *)tcp, true, &view);
	if (!admit(settings.actions & 1 << action && owner_wanted(entry) && socket_wanted(&view)))
		return;
	r = ring_reserve(&events, sizeof(*r));
	if (!r)
		return;
	__builtin_memset(r, 0, sizeof(*r));
	r->time.ns = bpf_ktime_get_ns();
	r->handshake_ns = client && entry->start_ns ? r->time.ns - entry->start_ns : 0;
	r->reason = reason;
	r->outcome = reason ? OUTCOME_FAILURE : OUTCOME_SUCCESS;
	r->accept_state = client ? ACCEPT_NONE : ACCEPT_ACCEPTED;
	fill_owner(r, &entry->owner);
	fill_socket(r, &view, tcp, client);
	ring_submit(&events, r, sizeof(*r));
}

static __always_inline void submit_copy(const struct tcp_connection *record)
{
	struct tcp_connection *r = ring_reserve(&events, sizeof(*r));

	if (!r)
		return;
	*r = *record;
	ring_submit(&events, r, sizeof(*r));
}

/* Of a connection that no process accepted. */
static __always_inline bool ownerless_wanted(const struct queued *queued)
{
	return !queued->refused && !wants_owner();
}

/* The record of an accepted connection that the caller took from the queue. */
static __always_inline void tell_accept(struct queued *queued, const struct socket_entry *entry)
{
	struct tcp_connection *record = &queued->record;

	if (!admit(!queued->refused && owner_wanted(entry)))
		return;
	record->accept_state = ACCEPT_ACCEPTED;
	record->accept_wait_ns = bpf_ktime_get_ns() - record->time.ns;
	fill_owner(record, &entry->owner);
	submit_copy(record);
}
#endif
