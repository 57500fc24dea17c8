/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp_bytes, from the counters that the kernel keeps in struct tcp_sock: nothing runs when packets do. A walk over the socket
 * table (and the accept queues) tells each interval what has grown; CLOSE tells the rest.
 *
 * `told` holds what the records of walks have told of a connection. Only walks write to it, one at a time, so it needs no lock. What
 * CLOSE tells is all that the connection has moved; the agent takes off what is in `told`, when no walk is reading. Walk and CLOSE agree
 * by `telling`: see begin_telling() in bytes_walk.bpf.h. Who deletes from `told` while a walk has the element does no harm: nobody
 * else puts another there.
 *
 * A walk reads while packets change what it reads. It may see less than there is (that is told by the next one), never more:
 *   received   bytes_received counts a FIN as 1. It is read before SOCK_DONE, which the kernel sets right after. Only where an
 *              interrupt comes in between can a walk take the FIN for a byte.
 *   sent       snd_nxt - (snd_una - bytes_acked), of which the part in brackets is constant, counts the SYN of the side that connects, and the
 *              own FIN. snd_nxt is read before the state that says whether there is a FIN. The kernel sets that state first and queues the FIN
 *              then: in between a byte is taken for the FIN, and none must be where there is none.
 */
#ifndef NETLINE_BYTES_BPF_H
#define NETLINE_BYTES_BPF_H

#include "accept_queue.bpf.h"
#include "by_address.bpf.h"
#include "filter.bpf.h"
#include "../../schema/tcp_bytes.h"

COUNTERS(bytes_counters);
RING(bytes_events);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);	/* the agent makes it as large as the socket table */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct told);
} told SEC(".maps");

/* A connection of which a walk is just telling for the first time. There is never more than one; room for more spreads the locks. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u8);
} telling SEC(".maps");

static __always_inline bool has_own_fin(__u8 state)
{
	return 1 << state & (1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 | 1 << TCP_CLOSING | 1 << TCP_LAST_ACK);
}

/*
 * False: an acknowledgement is just being booked, or the first numbers are just being set. At CLOSE (`known`) the socket is locked, and its state
 * still the one before.
 */
static __always_inline bool read_progress(const struct tcp_sock *tcp, bool known, bool is_client, struct progress *ret_progress)
{
	const struct sock *sk = (const struct sock *)tcp;
	__u64 acked = OF(tcp, bytes_acked), received = OF(tcp, bytes_received);
	__u32 unacked = OF(tcp, snd_una), next = OF(tcp, snd_nxt);
	__u8 state = OF(sk, __sk_common.skc_state);
	__u32 end = OF(tcp, write_seq);

	ret_progress->sent = acked + (__s32)(next - unacked);
	if (is_client && ret_progress->sent)	/* 0: it has sent no SYN */
		ret_progress->sent--;
	if (has_own_fin(state) && next == end && ret_progress->sent)
		ret_progress->sent--;
	ret_progress->received = received - (received && OF(sk, __sk_common.skc_flags) >> SOCK_DONE & 1);
	ret_progress->retransmitted = OF(tcp, bytes_retrans);
	ret_progress->segments_sent = OF(tcp, segs_out);
	ret_progress->segments_received = OF(tcp, segs_in);
	return known || (OF(tcp, snd_una) == unacked && OF(tcp, bytes_acked) == acked && next - unacked <= end - unacked);
}

static __always_inline struct told *find_told(const struct sock *sk, __u64 start_ns)
{
	__u64 key = (__u64)sk;
	struct told *found = bpf_map_lookup_elem(&told, &key);

	return found && found->start_ns == start_ns ? found : NULL;
}

static __always_inline void fill_bytes(struct tcp_bytes *r, const struct view *view, const struct socket_entry *entry,
				       const struct progress *now, const struct progress *grown)
{
	__builtin_memset(r, 0, sizeof(*r));
	r->sent = grown->sent;
	r->retransmitted = grown->retransmitted;
	r->received = grown->received;
	r->sent_total = now->sent;
	r->received_total = now->received;
	r->segments_sent = grown->segments_sent;
	r->segments_received = grown->segments_received;
	FILL_CONNECTION(r, view, entry->role);
	FILL_OWNER(r, &entry->owner);
}

static __always_inline bool admit_bytes(const struct view *view, const struct socket_entry *entry)
{
	return ADMIT_IN(bytes_counters, (entry->owner.pid ? owner_wanted(entry) : !wants_owner()) && socket_wanted(view));
}

/*
 * The table's entry, or what the accept queue tells; no walk begins to tell of it from now on. False: netline did not see the
 * connection begin, or there was no room.
 */
static __always_inline bool end_connection(const struct sock *sk, int from, struct socket_entry *ret_entry)
{
	struct socket_entry *entry = sockets_find(sk);
	struct queued *queued;
	__u64 key = (__u64)sk;

	if (entry) {
		entry->is_closed = true;
		*ret_entry = *entry;
		return entry->phase != PHASE_LISTENING;
	}
	queued = bpf_map_lookup_elem(&accept_queue, &key);
	if (queued)
		queued->is_closed = true;
	*ret_entry = (struct socket_entry){ .start_ns = queued ? queued->record.time.ns : 0, .role = ROLE_SERVER };
	return queued || from == TCP_SYN_RECV;	/* of Fast Open: closed before the end of the handshake */
}

static __always_inline void forget_told(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	bpf_map_delete_elem(&told, &key);
}

/* False: there is no record. */
static __always_inline bool tell_closed(const struct tcp_sock *tcp, const struct socket_entry *entry, const struct progress *now, __u64 told_key)
{
	struct tcp_bytes *r;
	struct view view;

	look((const struct sock *)tcp, true, &view);
	if (!admit_bytes(&view, entry))
		return false;
	r = RING_RESERVE_IN(bytes_counters, &bytes_events, sizeof(*r));
	if (!r)
		return false;
	fill_bytes(r, &view, entry, now, now);
	r->time.ns = bpf_ktime_get_ns();
	r->told_key = told_key;
	r->told_start = entry->start_ns;
	r->srtt_ns = srtt_ns(tcp, true);
	r->connection = CONNECTION_CLOSED;
	ring_submit(&bytes_events, r, sizeof(*r));
	return true;
}

/* Before the socket leaves the table. */
static __always_inline void bytes_on_close(const struct sock *sk, const struct tcp_sock *tcp, int from)
{
	struct socket_entry entry;
	struct progress now;
	bool has_been_told;
	__u64 key = (__u64)sk;

	if (!end_connection(sk, from, &entry))
		return;
	has_been_told = !bpf_map_delete_elem(&telling, &key) || find_told(sk, entry.start_ns);
	read_progress(tcp, true, entry.role == ROLE_CLIENT, &now);
	if ((now.sent || now.received) && tell_closed(tcp, &entry, &now, has_been_told ? key : 0))
		return;
	if (has_been_told)
		forget_told(sk);
}

/* A connection that a table has no room for. */
static __always_inline void count_full(void)
{
	COUNT_LOST(map_full);
	if (settings.bytes)
		COUNT_LOST_IN(bytes_counters, map_full);
}

/* A socket begins anew that is in the table: its end was missed, and with it perhaps a last record. */
static __always_inline void count_missed_close(const struct sock *sk)
{
	if (!settings.bytes)
		return;
	forget_told(sk);
	COUNT_LOST_IN(bytes_counters, missed);
}
#endif
