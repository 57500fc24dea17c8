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
	FILL_CONNECTION(r, view, client ? ROLE_CLIENT : ROLE_SERVER);
	r->srtt_ns = client ? 0 : srtt_ns(tcp, true);
	r->action = client ? ACTION_CONNECT : ACTION_ACCEPT;
}

/* A handshake is over that a process knows of: it connected or failed to (`reason` says why), or accepted early. */
static __always_inline void tell_handshake(const struct tcp_sock *tcp, const struct socket_entry *entry, __u16 reason)
{
	bool client = entry->role == ROLE_CLIENT;
	__u8 action = client ? ACTION_CONNECT : ACTION_ACCEPT;
	struct tcp_connection *r;
	struct view view;

	look((const struct sock *)tcp, true, &view);
	if (!ADMIT(settings.actions & 1 << action && owner_wanted(entry) && socket_wanted(&view)))
		return;
	r = RING_RESERVE(&events, sizeof(*r));
	if (!r)
		return;
	__builtin_memset(r, 0, sizeof(*r));
	r->time.ns = bpf_ktime_get_ns();
	r->handshake_ns = client && entry->start_ns ? r->time.ns - entry->start_ns : 0;
	r->reason = reason;
	r->outcome = reason ? OUTCOME_FAILURE : OUTCOME_SUCCESS;
	r->accept_state = client ? ACCEPT_NONE : ACCEPT_ACCEPTED;
	FILL_OWNER(r, &entry->owner);
	fill_socket(r, &view, tcp, client);
	ring_submit(&events, r, sizeof(*r));
}

static __always_inline void submit_copy(const struct tcp_connection *record)
{
	struct tcp_connection *r = RING_RESERVE(&events, sizeof(*r));

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

	if (!ADMIT(!queued->refused && owner_wanted(entry)))
		return;
	record->accept_state = ACCEPT_ACCEPTED;
	record->accept_wait_ns = bpf_ktime_get_ns() - record->time.ns;
	FILL_OWNER(record, &entry->owner);
	submit_copy(record);
}
#endif
