/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp_bytes, from the counters that the kernel keeps in struct tcp_sock: nothing runs when packets do. A walk over the socket
 * table (and the accept queues) tells each interval what has grown; CLOSE tells the rest.
 *
 * A flow holds what records have told of a connection so far. It is made by the first walk that has something to tell, so that a
 * connection that no walk meets has none. Walk and CLOSE may run at the same time: whoever swaps what was told, under the flow's
 * lock, tells the difference; after CLOSE has had it, or if the flow is another connection's by now, a walk tells nothing.
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
#include "descriptors.bpf.h"
#include "filter.bpf.h"
#include "../../schema/tcp_bytes.h"

COUNTERS(bytes_counters);
RING(bytes_events);

struct progress {
	__u64 sent, received, retransmitted;
	__u32 segments_sent, segments_received;
};

struct flow {
	struct bpf_spin_lock lock;
	__u32 is_closed;
	__u64 sk, start_ns;	/* whose it is */
	struct progress told;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);	/* the agent makes it as large as the socket table */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct flow);
} flows SEC(".maps");

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

static __always_inline struct flow *find_flow(__u64 sk, __u64 start_ns)
{
	struct flow *flow = bpf_map_lookup_elem(&flows, &sk);

	return flow && flow->start_ns == start_ns ? flow : NULL;
}

/* 0, or a negative errno: no room, or another flow is there. */
static __always_inline long make_flow(__u64 sk, __u64 start_ns, const struct progress *told)
{
	struct flow flow = { .sk = sk, .start_ns = start_ns };

	if (told)
		flow.told = *told;
	return bpf_map_update_elem(&flows, &sk, &flow, BPF_NOEXIST);
}

/*
 * What has grown since the last record goes to `ret_grown`, and counts as told; `now` becomes all that is told. False: the flow has
 * ended meanwhile, or is another connection's.
 */
static __always_inline bool advance(struct flow *flow, __u64 sk, __u64 start_ns, struct progress *now, bool closes,
				    struct progress *ret_grown)
{
	bool ours;

	bpf_spin_lock(&flow->lock);
	ours = flow->sk == sk && flow->start_ns == start_ns && !flow->is_closed;
	if (ours) {
		ret_grown->sent = grown(now->sent, flow->told.sent);
		ret_grown->received = grown(now->received, flow->told.received);
		ret_grown->retransmitted = grown(now->retransmitted, flow->told.retransmitted);
		ret_grown->segments_sent = grown_segments(now->segments_sent, flow->told.segments_sent);
		ret_grown->segments_received = grown_segments(now->segments_received, flow->told.segments_received);
		flow->told.sent += ret_grown->sent;
		flow->told.received += ret_grown->received;
		flow->told.retransmitted += ret_grown->retransmitted;
		flow->told.segments_sent += ret_grown->segments_sent;
		flow->told.segments_received += ret_grown->segments_received;
		flow->is_closed = closes;
		*now = flow->told;
	}
	bpf_spin_unlock(&flow->lock);
	return ours;
}

static __always_inline void fill_bytes(struct tcp_bytes *r, const struct view *view, const struct socket_entry *entry,
				       const struct progress *now, const struct progress *grown)
{
	bool is_server = entry->role == ROLE_SERVER;

	__builtin_memset(r, 0, sizeof(*r));
	r->sent = grown->sent;
	r->retransmitted = grown->retransmitted;
	r->received = grown->received;
	r->sent_total = now->sent;
	r->received_total = now->received;
	r->segments_sent = grown->segments_sent;
	r->segments_received = grown->segments_received;
	r->cookie.value = view->cookie;
	r->netns.value = view->netns;
	r->cgroup.value = cgroup_id(view->cgroup);
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

/* --- CLOSE --- */

/* The table's entry, or what the accept queue tells; false: netline did not see the connection begin, or there was no room. */
static __always_inline bool find_connection(const struct sock *sk, int from, struct socket_entry *ret_entry)
{
	struct socket_entry *entry = sockets_find(sk);
	struct queued *queued;
	__u64 key = (__u64)sk;

	if (entry) {
		*ret_entry = *entry;
		return entry->phase != PHASE_LISTENING;
	}
	queued = bpf_map_lookup_elem(&accept_queue, &key);
	*ret_entry = (struct socket_entry){ .start_ns = queued ? queued->record.time.ns : 0, .role = ROLE_SERVER };
	return queued || from == TCP_SYN_RECV;	/* of Fast Open: closed before the end of the handshake */
}

/* Before the socket leaves the table. */
static __always_inline void bytes_on_close(const struct sock *sk, const struct tcp_sock *tcp, int from)
{
	struct progress now, grown;
	struct socket_entry entry;
	struct tcp_bytes *r;
	struct flow *flow;
	struct view view;
	__u64 key = (__u64)sk;

	if (!find_connection(sk, from, &entry))
		return;
	read_progress(tcp, true, entry.role == ROLE_CLIENT, &now);
	grown = now;
	flow = find_flow(key, entry.start_ns);
	if (flow) {
		advance(flow, key, entry.start_ns, &now, true, &grown);
		bpf_map_delete_elem(&flows, &key);
	}
	if (!now.sent && !now.received)
		return;
	look((const struct sock *)tcp, true, &view);
	if (!admit_bytes(&view, &entry))
		return;
	r = bpf_ringbuf_reserve(&bytes_events, sizeof(*r), 0);
	if (!r) {
		COUNT_IN(bytes_counters, ring_full, 1);
		return;
	}
	fill_bytes(r, &view, &entry, &now, &grown);
	r->time.ns = bpf_ktime_get_ns();
	r->srtt_ns = (tcp->srtt_us >> 3) * 1000ull;
	r->connection = CONNECTION_CLOSED;
	ring_submit(&bytes_events, r, sizeof(*r));
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

/* --- at start, and every interval --- */

/* What a connection that is older than netline has moved so far is no news. */
static __always_inline void bytes_on_found(const struct sock *sk, const struct socket_entry *entry)
{
	struct progress now;

	if (!read_progress((const struct tcp_sock *)sk, false, entry->role == ROLE_CLIENT, &now))
		read_progress((const struct tcp_sock *)sk, false, entry->role == ROLE_CLIENT, &now);
	if (!make_flow((__u64)sk, entry->start_ns, &now))
		return;
	sockets_remove(sk);
	count_full();
}

/* An entry of which the socket is closed: its end was missed, or it is just being entered; then the next walk does not find it. */
static __always_inline void judge_stale(struct socket_entry *entry, const struct sock *sk)
{
	__u64 key = (__u64)sk;

	if (!entry->is_stale) {
		entry->is_stale = true;
		return;
	}
	if (entry->phase == PHASE_OPEN)
		count_missed_close();
	bpf_map_delete_elem(&flows, &key);
	sockets_remove(sk);
}

/* The walk's row: too large for the stack; there is one walk at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tcp_bytes);
} row_room SEC(".maps");

__u64 walk_began SEC(".bss.walk_began");

/* Whether the connection that began then is still open, accepted or not. */
static __always_inline bool is_open(const struct sock *sk, __u64 start_ns)
{
	struct socket_entry *entry = sockets_find(sk);
	struct queued *queued;
	__u64 key = (__u64)sk;

	if (entry)
		return entry->start_ns == start_ns;
	queued = bpf_map_lookup_elem(&accept_queue, &key);
	return queued && queued->record.time.ns == start_ns;
}

/* The connection's flow, made if need be; NULL: it has closed, or there is no room. */
static __always_inline struct flow *flow_of(const struct sock *sk, __u64 start_ns)
{
	__u64 key = (__u64)sk;
	struct flow *flow;

	if (!is_open(sk, start_ns))	/* and the entry may have been another's, its memory being used again */
		return NULL;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (flow && flow->start_ns == start_ns)
		return flow;
	if (flow)	/* of a connection of which the end was missed */
		bpf_map_delete_elem(&flows, &key);
	if (make_flow(key, start_ns, NULL))
		return NULL;
	if (!is_open(sk, start_ns)) {	/* CLOSE may have looked for the flow before it was there */
		bpf_map_delete_elem(&flows, &key);
		return NULL;
	}
	return find_flow(key, start_ns);
}

static __always_inline bool has_news(const struct sock *sk, __u64 start_ns, const struct progress *now)
{
	struct flow *flow = find_flow((__u64)sk, start_ns);

	if (!flow)
		return now->sent || now->received;
	return now->sent > flow->told.sent || now->received > flow->told.received || now->retransmitted > flow->told.retransmitted;
}

/* `entry` is a copy. What has no room in this read is shown to the walk again. */
static __always_inline void walk_socket(struct seq_file *seq, const struct sock *sk, const struct socket_entry *entry)
{
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	struct progress now, grown;
	struct tcp_bytes *row;
	struct flow *flow;
	struct view view;
	__u32 zero = 0;

	if (entry->start_ns > walk_began)	/* its records begin in the next interval */
		return;
	if (!read_progress(tcp, false, entry->role == ROLE_CLIENT, &now) || !has_news(sk, entry->start_ns, &now) || !is_tcp(sk))
		return;
	look(sk, false, &view);
	row = bpf_map_lookup_elem(&row_room, &zero);
	if (!row)
		return;
	if (seq->size - seq->count <= sizeof(*row)) {
		bpf_seq_write(seq, row, sizeof(*row));	/* tells the kernel that there is no room */
		return;
	}
	flow = flow_of(sk, entry->start_ns);
	if (!flow || !advance(flow, (__u64)sk, entry->start_ns, &now, false, &grown) || !admit_bytes(&view, entry))
		return;
	fill_bytes(row, &view, entry, &now, &grown);
	row->srtt_ns = (BPF_CORE_READ(tcp, srtt_us) >> 3) * 1000ull;
	row->connection = CONNECTION_OPEN;
	bpf_seq_write(seq, row, sizeof(*row));
}

SEC("?iter/bpf_map_elem")
int walk_sockets(struct bpf_iter__bpf_map_elem *ctx)
{
	struct socket_entry *there = ctx->value, entry;
	const struct sock *sk;
	__u64 *key = ctx->key;
	__u8 state;

	if (!key || !there)
		return 0;
	sk = (const struct sock *)*key;
	entry = *there;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (entry.phase == PHASE_LISTENING || state == TCP_LISTEN)
		return 0;
	if (state == TCP_CLOSE)
		judge_stale(there, sk);
	else
		walk_socket(ctx->meta->seq, sk, &entry);
	return 0;
}

SEC("?iter/bpf_map_elem")
int walk_queue(struct bpf_iter__bpf_map_elem *ctx)
{
	struct socket_entry entry = { .role = ROLE_SERVER };
	struct queued *queued = ctx->value;
	__u64 *key = ctx->key;

	if (!key || !queued || wants_owner())	/* accept will tell */
		return 0;
	entry.start_ns = queued->record.time.ns;
	if (BPF_CORE_READ((const struct sock *)*key, __sk_common.skc_state) != TCP_CLOSE)
		walk_socket(ctx->meta->seq, (const struct sock *)*key, &entry);
	return 0;
}
#endif
