/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp_bytes, from the counters that the kernel keeps in struct tcp_sock: nothing runs when packets do. A walk over the socket
 * table (and the accept queues) tells each interval what has grown; CLOSE tells the rest.
 *
 * `told` holds what records have told of a connection so far. Only walks make, change and delete it, one at a time, so it needs no
 * lock: a connection that no walk has told of is told at CLOSE, whole; of one that a walk has told of, CLOSE leaves its end in
 * `closed`, for the next walk to tell the rest. Walk and CLOSE agree by `telling`: see begin_telling() in bytes_walk.bpf.h.
 *
 * A walk reads while packets change what it reads. It may see less than there is (that is told by the next one), never more:
 *   received   bytes_received counts a FIN as 1. It is read before SOCK_DONE, which the kernel sets right after.
 *   sent       snd_nxt - (snd_una - bytes_acked), of which the part in brackets is constant, counts the SYN of the side that connects, and the
 *              own FIN. snd_nxt is read before the state that says whether there is a FIN.
 */
#ifndef NETLINE_BYTES_BPF_H
#define NETLINE_BYTES_BPF_H

#include "accept_queue.bpf.h"
#include "by_address.bpf.h"
#include "filter.bpf.h"
#include "../../schema/tcp_bytes.h"

COUNTERS(bytes_counters);
RING(bytes_events);

struct progress {
	__u64 sent, received, retransmitted;
	__u32 segments_sent, segments_received;
};

struct told {
	__u64 start_ns;		/* whose it is */
	struct progress progress;
};

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

/* The end of a connection. */
struct closed {
	struct progress progress;
	struct socket_entry entry;
	struct view view;
	__u64 cgroup;
	__u64 time_ns;
	__u32 srtt_us;
	__u32 is_wanted;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);	/* as `told` */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct closed);
} closed SEC(".maps");

static __always_inline bool has_own_fin(__u8 state)
{
	return 1 << state & (1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 | 1 << TCP_CLOSING | 1 << TCP_LAST_ACK);
}

/* False: an acknowledgement is just being booked. At CLOSE (`known`) the socket is locked, and its state still the one before. */
static __always_inline bool read_progress(const struct tcp_sock *tcp, bool known, bool is_client, struct progress *ret_progress)
{
	const struct sock *sk = (const struct sock *)tcp;
	__u64 acked = OF(tcp, bytes_acked), received = OF(tcp, bytes_received);
	__u32 unacked = OF(tcp, snd_una), next = OF(tcp, snd_nxt);
	__u8 state = OF(sk, __sk_common.skc_state);

	ret_progress->sent = acked + (__s32)(next - unacked);
	if (is_client && ret_progress->sent)	/* 0: it has sent no SYN */
		ret_progress->sent--;
	if (has_own_fin(state) && next == OF(tcp, write_seq))
		ret_progress->sent--;
	ret_progress->received = received - (OF(sk, __sk_common.skc_flags) >> SOCK_DONE & 1);
	ret_progress->retransmitted = OF(tcp, bytes_retrans);
	ret_progress->segments_sent = OF(tcp, segs_out);
	ret_progress->segments_received = OF(tcp, segs_in);
	return known || (OF(tcp, snd_una) == unacked && OF(tcp, bytes_acked) == acked);
}

static __always_inline __u64 grown(__u64 now, __u64 was)
{
	return now > was ? now - was : 0;
}

static __always_inline __u32 grown_segments(__u32 now, __u32 was)
{
	return (__s32)(now - was) > 0 ? now - was : 0;	/* they wrap */
}

static __always_inline struct told *find_told(const struct sock *sk, __u64 start_ns)
{
	__u64 key = (__u64)sk;
	struct told *found = bpf_map_lookup_elem(&told, &key);

	return found && found->start_ns == start_ns ? found : NULL;
}

/* What has grown since the last record, or the beginning (NULL); it counts as told, and `now` becomes all that is. */
static __always_inline void advance(struct told *told, struct progress *now, struct progress *ret_grown)
{
	if (!told) {
		*ret_grown = *now;
		return;
	}
	ret_grown->sent = grown(now->sent, told->progress.sent);
	ret_grown->received = grown(now->received, told->progress.received);
	ret_grown->retransmitted = grown(now->retransmitted, told->progress.retransmitted);
	ret_grown->segments_sent = grown_segments(now->segments_sent, told->progress.segments_sent);
	ret_grown->segments_received = grown_segments(now->segments_received, told->progress.segments_received);
	told->progress.sent += ret_grown->sent;
	told->progress.received += ret_grown->received;
	told->progress.retransmitted += ret_grown->retransmitted;
	told->progress.segments_sent += ret_grown->segments_sent;
	told->progress.segments_received += ret_grown->segments_received;
	*now = told->progress;
}

/* `end`: or how far it is. */
static __always_inline void fill_bytes(struct tcp_bytes *r, const struct closed *end, const struct progress *grown, __u8 life)
{
	const struct socket_entry *entry = &end->entry;
	const struct view *view = &end->view;
	bool is_server = entry->role == ROLE_SERVER;

	__builtin_memset(r, 0, sizeof(*r));
	r->time.ns = end->time_ns;
	r->sent = grown->sent;
	r->retransmitted = grown->retransmitted;
	r->received = grown->received;
	r->sent_total = end->progress.sent;
	r->received_total = end->progress.received;
	r->segments_sent = grown->segments_sent;
	r->segments_received = grown->segments_received;
	r->srtt_ns = (end->srtt_us >> 3) * 1000ull;
	r->cookie.value = view->cookie;
	r->netns.value = view->netns;
	r->cgroup.value = end->cgroup;
	r->source_ip = is_server ? view->remote_ip : view->local_ip;
	r->destination_ip = is_server ? view->local_ip : view->remote_ip;
	r->source_port = is_server ? view->remote_port : view->local_port;
	r->destination_port = is_server ? view->local_port : view->remote_port;
	r->pid = entry->owner.pid;
	r->tid = entry->owner.tid;
	__builtin_memcpy(r->process_name, entry->owner.process_name, COMM_LEN);
	__builtin_memcpy(r->thread_name, entry->owner.thread_name, COMM_LEN);
	r->family = view->family;
	r->role = entry->role;
	r->direction = is_server ? DIRECTION_INGRESS : entry->role == ROLE_CLIENT ? DIRECTION_EGRESS : DIRECTION_UNKNOWN;
	r->connection = life;
}

/* Counts a record and whether filters refuse it. */
static __always_inline bool admit_bytes(const struct view *view, const struct socket_entry *entry)
{
	bool wanted = (entry->owner.pid ? owner_wanted(entry) : !wants_owner()) && socket_wanted(view);

	COUNT_IN(bytes_counters, produced, 1);
	if (!wanted)
		COUNT_IN(bytes_counters, filtered, 1);
	return wanted;
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
	ret_entry->start_ns = queued ? queued->record.time.ns : 0;
	ret_entry->role = ROLE_SERVER;
	return queued || from == TCP_SYN_RECV;	/* of Fast Open: closed before the end of the handshake */
}

static __always_inline void tell_closed(const struct closed *end)
{
	struct tcp_bytes *r;

	if (!end->is_wanted)
		return;
	r = bpf_ringbuf_reserve(&bytes_events, sizeof(*r), 0);
	if (!r) {
		COUNT_IN(bytes_counters, ring_full, 1);
		return;
	}
	fill_bytes(r, end, &end->progress, CONNECTION_CLOSED);
	ring_submit(&bytes_events, r, sizeof(*r));
}

/* Before the socket leaves the table. */
static __always_inline void bytes_on_close(const struct sock *sk, const struct tcp_sock *tcp, int from)
{
	bool has_been_told, has_moved;
	__u64 key = (__u64)sk;
	struct closed end;

	__builtin_memset(&end, 0, sizeof(end));
	if (!end_connection(sk, from, &end.entry))
		return;
	has_been_told = !bpf_map_delete_elem(&telling, &key) || find_told(sk, end.entry.start_ns);
	read_progress(tcp, true, end.entry.role == ROLE_CLIENT, &end.progress);
	has_moved = end.progress.sent || end.progress.received;
	if (!has_moved && !has_been_told)
		return;
	look((const struct sock *)tcp, true, &end.view);
	end.cgroup = cgroup_id(end.view.cgroup);
	end.time_ns = bpf_ktime_get_ns();
	end.srtt_us = tcp->srtt_us;
	end.is_wanted = has_moved && admit_bytes(&end.view, &end.entry);
	if (!has_been_told)
		tell_closed(&end);
	else if (bpf_map_update_elem(&closed, &key, &end, BPF_ANY) && end.is_wanted)
		COUNT_IN(bytes_counters, map_full, 1);
}

/* A connection that a table has no room for. */
static __always_inline void count_full(void)
{
	COUNT(produced, 1);
	COUNT(map_full, 1);
	if (settings.bytes) {
		COUNT_IN(bytes_counters, produced, 1);
		COUNT_IN(bytes_counters, map_full, 1);
	}
}

/* A socket begins anew that is in the table: its end was missed, and with it perhaps a last record. */
static __always_inline void count_missed_close(void)
{
	if (!settings.bytes)
		return;
	COUNT_IN(bytes_counters, produced, 1);
	COUNT_IN(bytes_counters, missed, 1);
}
#endif
