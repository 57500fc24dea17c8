/* SPDX-License-Identifier: GPL-2.0-only */
/* tcp_bytes at start and every interval: see bytes.bpf.h. */
#ifndef NETLINE_BYTES_WALK_BPF_H
#define NETLINE_BYTES_WALK_BPF_H

#include "bytes.bpf.h"
#include "descriptors.bpf.h"

/*
 * What a connection that is older than netline has moved so far is no news: it counts as told before the table has the socket.
 * False: no room.
 */
static __always_inline bool bytes_on_found(const struct sock *sk, const struct socket_entry *entry)
{
	struct told before = { .start_ns = entry->start_ns };
	__u64 key = (__u64)sk;

	if (!read_progress((const struct tcp_sock *)sk, false, entry->role == ROLE_CLIENT, &before.progress))
		read_progress((const struct tcp_sock *)sk, false, entry->role == ROLE_CLIENT, &before.progress);
	return !bpf_map_update_elem(&told, &key, &before, BPF_ANY);
}

/* An entry of which the socket is closed: its end was missed, or it is just being entered; then the next walk does not find it. */
static __always_inline void judge_stale(struct socket_entry *entry, const struct sock *sk)
{
	if (!entry->is_stale) {
		entry->is_stale = true;
		return;
	}
	if (entry->phase == PHASE_OPEN)
		count_missed_close(sk);
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
		return entry->start_ns == start_ns && !entry->is_closed;
	queued = bpf_map_lookup_elem(&accept_queue, &key);
	return queued && queued->record.time.ns == start_ns && !queued->is_closed;
}

/*
 * The first that is told of a connection. NULL: it has closed, or there is no room. CLOSE says first that the connection is closed, then
 * looks into `telling` (by deleting from it, which takes its lock), and then into `told`: it finds the connection in one of
 * them, or it came before this, and this finds the connection closed.
 */
static __always_inline struct told *begin_telling(const struct sock *sk, __u64 start_ns)
{
	struct told nothing = { .start_ns = start_ns }, *found = NULL;
	__u64 key = (__u64)sk;
	__u8 yes = 1;

	if (bpf_map_lookup_elem(&told, &key))	/* another connection's, of which the agent has still to read the end: the next walk tells of this one */
		return NULL;
	if (bpf_map_update_elem(&telling, &key, &yes, BPF_NOEXIST))
		return NULL;
	if (is_open(sk, start_ns) && !bpf_map_update_elem(&told, &key, &nothing, BPF_ANY))
		found = find_told(sk, start_ns);
	bpf_map_delete_elem(&telling, &key);
	return found;
}

static __always_inline bool has_news(const struct told *told, const struct progress *now)
{
	if (!told)
		return now->sent || now->received;
	return now->sent > told->progress.sent || now->received > told->progress.received || now->retransmitted > told->progress.retransmitted;
}

/* `entry` is a copy. What has no room in this read is shown to the walk again. */
static __always_inline void walk_socket(struct seq_file *seq, const struct sock *sk, const struct socket_entry *entry)
{
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	struct progress now, grown;
	struct tcp_bytes *row;
	struct told *told;
	struct view view;
	__u32 zero = 0;

	if (entry->start_ns > walk_began)	/* its records begin in the next interval */
		return;
	told = find_told(sk, entry->start_ns);
	if (!read_progress(tcp, false, entry->role == ROLE_CLIENT, &now) || !has_news(told, &now) || !is_tcp(sk))
		return;
	row = bpf_map_lookup_elem(&row_room, &zero);
	if (!row)
		return;
	if (seq->size - seq->count <= sizeof(*row)) {
		bpf_seq_write(seq, row, sizeof(*row));	/* tells the kernel that there is no room */
		return;
	}
	look(sk, false, &view);
	if (!is_open(sk, entry->start_ns))	/* and its memory may have been another's when it was read */
		return;
	if (!told)
		told = begin_telling(sk, entry->start_ns);
	if (!told)
		return;
	progress_advance(&told->progress, &now, &grown);
	if (!admit_bytes(&view, entry))
		return;
	fill_bytes(row, &view, entry, &now, &grown);
	row->srtt_ns = srtt_ns(tcp, false);
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

/* At the end: what is closed by now and still in the table. */
SEC("?iter/bpf_map_elem")
int find_missed(struct bpf_iter__bpf_map_elem *ctx)
{
	struct socket_entry *entry = ctx->value;
	__u64 *key = ctx->key;

	if (key && entry && entry->phase == PHASE_OPEN && BPF_CORE_READ((const struct sock *)*key, __sk_common.skc_state) == TCP_CLOSE)
		count_missed_close((const struct sock *)*key);
	return 0;
}
#endif
