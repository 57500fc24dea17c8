/* SPDX-License-Identifier: GPL-2.0-only */
/* tcp_bytes at start and every interval: see bytes.bpf.h. */
#ifndef NETLINE_BYTES_WALK_BPF_H
#define NETLINE_BYTES_WALK_BPF_H

#include "bytes.bpf.h"
#include "descriptors.bpf.h"
#include "elements.bpf.h"

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

/* `entry` is a copy. */
static __always_inline bool walk_socket(const struct sock *sk, const struct socket_entry *entry, struct tcp_bytes *ret_row)
{
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	struct progress now, grown;
	struct told *told;
	struct view view;

	if (entry->start_ns > walk_began)	/* its records begin in the next interval */
		return false;
	told = find_told(sk, entry->start_ns);
	if (!read_progress(tcp, false, entry->role == ROLE_CLIENT, &now) || !has_news(told, &now) || !is_tcp(sk))
		return false;
	look(sk, false, &view);
	if (!is_open(sk, entry->start_ns))	/* and its memory may have been another's when it was read */
		return false;
	if (!told)
		told = begin_telling(sk, entry->start_ns);
	if (!told)
		return false;
	progress_advance(&told->progress, &now, &grown);
	if (!admit_bytes(&view, entry))
		return false;
	fill_bytes(ret_row, &view, entry, &now, &grown);
	ret_row->srtt_ns = srtt_ns(tcp, false);
	ret_row->connection = CONNECTION_OPEN;
	return true;
}

__weak int walk_entry(__u32 i, __u32 row)
{
	const struct sock *sk = (const struct sock *)batch_key(i);
	struct tcp_bytes *r = batch_row(row, sizeof(*r));
	struct socket_entry *there = sockets_find(sk), entry;
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	if (!there || !r)
		return 0;
	entry = *there;
	if (entry.phase == PHASE_LISTENING || state == TCP_LISTEN)
		return 0;
	if (state != TCP_CLOSE)
		return walk_socket(sk, &entry, r);
	judge_stale(there, sk);
	return 0;
}
EACH_KEY(walk_sockets, walk_entry)

__weak int walk_queued(__u32 i, __u32 row)
{
	struct socket_entry entry = { .role = ROLE_SERVER };
	struct tcp_bytes *r = batch_row(row, sizeof(*r));
	__u64 key = batch_key(i);
	const struct sock *sk = (const struct sock *)key;
	struct queued *queued = bpf_map_lookup_elem(&accept_queue, &key);

	if (!queued || !r || wants_owner())	/* accept will tell */
		return 0;
	entry.start_ns = queued->record.time.ns;
	return BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_CLOSE && walk_socket(sk, &entry, r);
}
EACH_KEY(walk_queue, walk_queued)

/* At the end: what is closed by now and still in the table. */
__weak int judge_entry(__u32 i, __u32 row)
{
	const struct sock *sk = (const struct sock *)batch_key(i);
	struct socket_entry *entry = sockets_find(sk);

	if (entry && entry->phase == PHASE_OPEN && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		count_missed_close(sk);
	return 0;
}
EACH_KEY(find_missed, judge_entry)
#endif
