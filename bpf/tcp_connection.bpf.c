/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp_connection, and with it the socket table (lib/sockets.bpf.h): one object does both, because they stand on the same
 * hooks, and a second program on each would only cost.
 *
 *   CLOSE -> SYN_SENT            in the connecting task: new entry with its owner
 *   SYN_SENT -> ESTABLISHED      record: connected
 *   LISTEN -> SYN_RECV           softirq, final ACK of the handshake: new entry without owner
 *   SYN_RECV -> ESTABLISHED      at once after it: the wait in the accept queue begins
 *   accept returns               owner known; record: accepted
 *   any -> CLOSE                 record if there was none: failed, or closed before accept; the entry ends
 *
 * A connection of which the beginning was not seen makes no record.
 */
#include "kernel.h"
#include "lib/filter.bpf.h"
#include "lib/sockets.bpf.h"
#include "../schema/tcp_connection.h"

char LICENSE[] SEC("license") = "GPL";

RING(events);

struct listener {
	__u32 netns;
	__u16 port;
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct listener);
	__type(value, __u8);
} listeners SEC(".maps");

/* What became of a connection; `accept_state` stays 0 for those that we opened. */
struct verdict {
	__u64 time_ns;
	__u64 handshake_ns;
	__u64 wait_ns;
	__u16 reason;
	__u8 accept_state;
};

static __always_inline bool wanted(const struct sock *sk, const struct socket_entry *entry)
{
	__u8 action = entry->role == ROLE_CLIENT ? ACTION_CONNECT : ACTION_ACCEPT;

	return settings.actions & (1 << action) && connection_wanted(sk, entry->owner.pid);
}

static __always_inline void fill(struct tcp_connection *r, const struct sock *sk, const struct socket_entry *entry,
				 const struct verdict *verdict)
{
	bool client = entry->role == ROLE_CLIENT;
	__u16 local = local_port(sk), remote = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));

	r->time.ns = verdict->time_ns;
	r->handshake_ns = verdict->handshake_ns;
	r->srtt_ns = client ? 0 : (BPF_CORE_READ((struct tcp_sock *)sk, srtt_us) >> 3) * 1000ull;
	r->accept_wait_ns = verdict->wait_ns;
	r->cookie.value = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	r->netns.value = netns_of(sk);
	r->cgroup.value = BPF_CORE_READ(socket_cgroup(sk), kn, id);
	socket_addresses(sk, client ? &r->source_ip : &r->destination_ip, client ? &r->destination_ip : &r->source_ip);
	__builtin_memcpy(r->process_name, entry->owner.process_name, COMM_LEN);
	__builtin_memcpy(r->thread_name, entry->owner.thread_name, COMM_LEN);
	r->pid = entry->owner.pid;
	r->tid = entry->owner.tid;
	r->source_port = client ? local : remote;
	r->destination_port = client ? remote : local;
	r->reason = verdict->reason;
	r->action = client ? ACTION_CONNECT : ACTION_ACCEPT;
	r->outcome = verdict->reason ? OUTCOME_FAILURE : OUTCOME_SUCCESS;
	r->family = socket_family(sk);
	r->direction = client ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	r->role = entry->role;
	r->accept_state = verdict->accept_state;
	__builtin_memset(r->pad, 0, sizeof(r->pad));
}

static __always_inline void tell(const struct sock *sk, const struct socket_entry *entry, const struct verdict *verdict)
{
	struct tcp_connection *record;

	COUNT(produced, 1);
	if (!wanted(sk, entry)) {
		COUNT(filtered, 1);
		return;
	}
	record = ring_reserve(&events, sizeof(*record));
	if (!record)
		return;
	fill(record, sk, entry, verdict);
	ring_submit(&events, record);
}

/* Whether a process got the socket: it has a file, or had one. Sockets in the accept queue have neither. */
static __always_inline bool has_been_accepted(const struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_socket) || BPF_CORE_READ(sk, __sk_common.skc_flags) & (1ul << SOCK_DEAD);
}

/* A socket in the accept queue ended, or the agent does. */
static __always_inline void judge_queued(const struct sock *sk, const struct socket_entry *entry, __u8 otherwise,
					 struct verdict *ret_verdict)
{
	__u64 now = bpf_ktime_get_ns();

	ret_verdict->time_ns = entry->start_ns;
	ret_verdict->accept_state = otherwise;
	if (has_been_accepted(sk)) {	/* by a call that the hooks do not see: owner and wait are unknown */
		ret_verdict->accept_state = ACCEPT_ACCEPTED;
		return;
	}
	ret_verdict->wait_ns = now - entry->start_ns;
	if (otherwise == ACCEPT_CLOSED) {
		ret_verdict->time_ns = now;
		ret_verdict->reason = REASON_CLOSED_BEFORE_ACCEPT;
	}
}

/* Runs in the accepting task, when accept returns. A socket that is in CLOSE by then was told at CLOSE. */
static __always_inline void on_accept(struct sock *sk)
{
	struct socket_entry entry = {}, *found = sockets_find(sk);
	struct verdict verdict = { .accept_state = ACCEPT_ACCEPTED };

	if (found) {
		entry = *found;
		if (entry.phase == PHASE_OPEN || !sockets_take(sk))
			return;
		verdict.time_ns = entry.start_ns;
		verdict.wait_ns = bpf_ktime_get_ns() - entry.start_ns;
	}
	entry.role = ROLE_SERVER;
	entry.phase = PHASE_OPEN;
	owner_of((struct task_struct *)bpf_get_current_task(), &entry.owner);
	if (found)
		tell(sk, &entry, &verdict);
	sockets_put_open(sk, &entry);
}

SEC("?fexit/inet_csk_accept")
int accept_fexit(unsigned long long *ctx)
{
	struct sock *sk = (struct sock *)(settings.accept_params == 4 ? ctx[4] : ctx[2]);

	if (sk && is_tcp(sk))
		on_accept(sk);
	return 0;
}

SEC("?kretprobe/inet_csk_accept")
int BPF_KRETPROBE(accept_kretprobe, struct sock *sk)
{
	if (sk && is_tcp(sk))
		on_accept(sk);
	return 0;
}

/*
 * Where inet_csk_accept() cannot be hooked: every system call of the machine comes here, so look at its number first.
 * A TCP socket that is in a descriptor table has been accepted: a number that means something else in a 32-bit program
 * can do no harm.
 */
SEC("?tp_btf/sys_exit")
int BPF_PROG(accept_sys_exit, struct pt_regs *regs, long ret)
{
	struct sock *sk;

	if (!is_accept_call(regs) || ret < 0)
		return 0;
	sk = tcp_sock_of_fd(ret);
	if (sk)
		on_accept(sk);
	return 0;
}

/* io_uring's accept is no system call. Completions of a multishot accept have no request. */
SEC("?tp_btf/io_uring_complete")
int BPF_PROG(accept_io_uring, struct io_ring_ctx *ring, struct io_kiocb *request, struct io_uring_cqe *cqe)
{
	int fd = BPF_CORE_READ(cqe, res);
	struct sock *sk;

	if (fd < 0 || (request && BPF_CORE_READ(request, opcode) != IORING_OP_ACCEPT))
		return 0;
	sk = tcp_sock_of_fd(fd);
	if (sk)
		on_accept(sk);
	return 0;
}

static __always_inline void on_birth(struct sock *sk, __u8 role, __u8 phase)
{
	struct socket_entry entry = { .start_ns = bpf_ktime_get_ns(), .role = role, .phase = phase };

	if (role == ROLE_CLIENT)
		owner_of((struct task_struct *)bpf_get_current_task(), &entry.owner);
	if (sockets_put(sk, &entry, BPF_ANY)) {
		COUNT(produced, 1);
		COUNT(map_full, 1);
	}
}

static __always_inline void on_established(struct sock *sk)
{
	struct socket_entry *entry = sockets_find(sk);
	struct verdict verdict = { .time_ns = bpf_ktime_get_ns() };

	if (!entry)
		return;
	if (entry->phase == PHASE_EMBRYO) {
		entry->start_ns = verdict.time_ns;
		entry->phase = PHASE_QUEUED;
	} else if (entry->phase == PHASE_CONNECTING) {
		entry->phase = PHASE_OPEN;
		verdict.handshake_ns = entry->start_ns ? verdict.time_ns - entry->start_ns : 0;
		tell(sk, entry, &verdict);
	}
}

static __always_inline void on_close(struct sock *sk)
{
	struct socket_entry entry, *found = sockets_find(sk);
	struct verdict verdict = {};

	if (!found)
		return;
	entry = *found;
	if (!sockets_take(sk))	/* accept was faster */
		return;
	if (entry.phase == PHASE_CONNECTING) {
		verdict.time_ns = bpf_ktime_get_ns();
		verdict.handshake_ns = entry.start_ns ? verdict.time_ns - entry.start_ns : 0;
		verdict.reason = BPF_CORE_READ(sk, sk_err) ?: REASON_ABORTED;
		tell(sk, &entry, &verdict);
	} else if (entry.phase == PHASE_QUEUED) {
		judge_queued(sk, &entry, ACCEPT_CLOSED, &verdict);
		tell(sk, &entry, &verdict);
	}
}

/* The socket is locked here, so transitions of one socket come one after the other; only accept may run beside them. */
SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock *sk, int from, int to)
{
	if (to != TCP_SYN_SENT && to != TCP_SYN_RECV && to != TCP_ESTABLISHED && to != TCP_CLOSE)
		return 0;
	if (!is_tcp(sk))
		return 0;
	if (settings.cookies && (to == TCP_SYN_SENT || to == TCP_ESTABLISHED))
		bpf_get_socket_cookie(sk);	/* makes it */
	if (to == TCP_CLOSE)
		on_close(sk);
	else if (to == TCP_ESTABLISHED)
		on_established(sk);
	else if (from == TCP_CLOSE && to == TCP_SYN_SENT)
		on_birth(sk, ROLE_CLIENT, PHASE_CONNECTING);
	else if (from == TCP_LISTEN && to == TCP_SYN_RECV)
		on_birth(sk, ROLE_SERVER, PHASE_EMBRYO);
	return 0;
}

/* At start: first the listeners, then the sockets that processes hold already; the lowest pid wins. */
SEC("?iter/task_file")
int find_listeners(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct sock *sk = file ? tcp_sock_of(file) : NULL;
	struct listener key = {};
	__u8 yes = 1;

	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN)
		return 0;
	key.netns = netns_of(sk);
	key.port = local_port(sk);
	bpf_map_update_elem(&listeners, &key, &yes, BPF_ANY);
	return 0;
}

SEC("?iter/task_file")
int find_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sock *sk = task && file ? tcp_sock_of(file) : NULL;
	struct socket_entry entry = { .role = ROLE_UNKNOWN, .phase = PHASE_OPEN };
	struct listener key = {};
	__u8 state;

	state = sk ? BPF_CORE_READ(sk, __sk_common.skc_state) : TCP_CLOSE;
	if (state == TCP_CLOSE || state == TCP_LISTEN)
		return 0;
	key.netns = netns_of(sk);
	key.port = local_port(sk);
	if (state == TCP_SYN_SENT) {
		entry.role = ROLE_CLIENT;
		entry.phase = PHASE_CONNECTING;
	} else if (bpf_map_lookup_elem(&listeners, &key)) {
		entry.role = ROLE_SERVER;
	}
	owner_of(task, &entry.owner);
	entry.owner.tid = 0;	/* which of the process's threads opened it is not known */
	entry.owner.thread_name[0] = 0;
	sockets_put_open(sk, &entry);
	return 0;
}

/* At the end: what still waits in an accept queue. */
SEC("?iter/bpf_map_elem")
int find_pending(struct bpf_iter__bpf_map_elem *ctx)
{
	struct socket_entry *entry = ctx->value, copy;
	__u64 *key = ctx->key;
	struct tcp_connection record = {};
	struct verdict verdict = {};
	struct sock *sk;

	if (!key || !entry || entry->phase != PHASE_QUEUED)
		return 0;
	sk = (struct sock *)*key;
	copy = *entry;
	COUNT(produced, 1);
	if (!wanted(sk, &copy)) {
		COUNT(filtered, 1);
		return 0;
	}
	judge_queued(sk, &copy, ACCEPT_PENDING, &verdict);
	fill(&record, sk, &copy, &verdict);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}
