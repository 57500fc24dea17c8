/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp_connection, and with it the socket table (lib/sockets.bpf.h): one object does both, because they stand on the same
 * hooks, and a second program on each would only cost.
 *
 *   CLOSE -> SYN_SENT            in the connecting task: enter its owner
 *   SYN_SENT -> ESTABLISHED      record: connected
 *   SYN_RECV -> ESTABLISHED      softirq, final ACK of the handshake: into the accept queue
 *   accept returns               owner known; record: accepted
 *   any -> CLOSE                 record if there was none: failed, or closed before accept; the entry ends
 *
 * A connection of which the beginning was not seen makes no record.
 */
#include "kernel.h"
#include "lib/accept_queue.bpf.h"
#include "lib/descriptors.bpf.h"
#include "lib/existing.bpf.h"
#include "lib/filter.bpf.h"
#include "lib/sockets.bpf.h"
#include "../schema/tcp_connection.h"

char LICENSE[] SEC("license") = "GPL";

RING(events);

static __always_inline void fill_socket(struct tcp_connection *r, const struct sock *sk, const struct tcp_sock *tcp, bool client)
{
	__u16 local = local_port(tcp), remote = bpf_ntohs(sk->__sk_common.skc_dport);
	struct cgroup *cgroup = socket_cgroup(sk);

	r->srtt_ns = client ? 0 : (tcp->srtt_us >> 3) * 1000ull;
	r->cookie.value = sk->__sk_common.skc_cookie.counter;
	r->netns.value = sk->__sk_common.skc_net.net->ns.inum;
	r->cgroup.value = BPF_CORE_READ(cgroup, kn, id);
	if (client)
		socket_addresses(sk, &r->source_ip, &r->destination_ip);
	else
		socket_addresses(sk, &r->destination_ip, &r->source_ip);
	r->source_port = client ? local : remote;
	r->destination_port = client ? remote : local;
	r->action = client ? ACTION_CONNECT : ACTION_ACCEPT;
	r->family = socket_family(sk);
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
static __always_inline void tell_handshake(const struct sock *sk, const struct tcp_sock *tcp, const struct socket_entry *entry, __u16 reason)
{
	bool client = entry->role == ROLE_CLIENT;
	__u8 action = client ? ACTION_CONNECT : ACTION_ACCEPT;
	struct tcp_connection *r;

	if (!admit(settings.actions & 1 << action && pid_wanted(entry->owner.pid) && socket_wanted(sk, tcp)))
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
	fill_socket(r, sk, tcp, client);
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
	return !queued->refused && !settings.by_pid;
}

static __always_inline void on_close_queued(const struct sock *sk)
{
	struct queued queued;

	if (!queue_look(sk, &queued) || !take_from_queue(sk))	/* never there, or accept was faster */
		return;
	judge_queued(&queued.record, sk, ACCEPT_CLOSED);
	if (admit(ownerless_wanted(&queued)))
		submit_copy(&queued.record);
}

/* The record of an accepted connection that the caller took from the queue. */
static __always_inline void tell_accept(struct queued *queued, const struct socket_owner *owner)
{
	struct tcp_connection *record = &queued->record;

	if (!admit(!queued->refused && pid_wanted(owner->pid)))
		return;
	record->accept_state = ACCEPT_ACCEPTED;
	record->accept_wait_ns = bpf_ktime_get_ns() - record->time.ns;
	fill_owner(record, owner);
	submit_copy(record);
}

/*
 * A socket that is accepted and not in the queue: it came before netline did, or was closed (and told) before, or is early:
 * accepted before the handshake ended. An early one may end it now on another CPU: whoever finds what both have
 * published, and takes it from the queue, tells. Or it was not accepted at all: see accept_io_uring().
 */
static __always_inline void on_accept_unqueued(const struct sock *sk, struct socket_entry *entry, struct queued *room)
{
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	struct socket_entry *found;

	if (state == TCP_CLOSE)
		return;
	if (state == TCP_SYN_RECV)
		entry->phase = PHASE_EARLY;
	sockets_put_open(sk, entry);
	if (!queue_look(sk, room) || !take_from_queue(sk))
		return;
	found = sockets_find(sk);
	if (found)
		found->phase = PHASE_OPEN;
	tell_accept(room, &entry->owner);
}

/*
 * Runs in the accepting task, when accept returns. `sk` is a mere number here. It enters the table before it leaves the
 * queue, so that a CLOSE on another CPU finds it in one of them.
 */
static __always_inline void on_accept(const struct sock *sk)
{
	struct socket_entry entry = { .role = ROLE_SERVER, .phase = PHASE_OPEN };
	struct queued queued;
	bool waited = queue_look(sk, &queued);

	if (!waited && !is_tcp(sk))
		return;
	current_owner(&entry.owner);
	if (!waited) {
		on_accept_unqueued(sk, &entry, &queued);
		return;
	}
	entry.start_ns = queued.record.time.ns;
	sockets_put(sk, &entry, BPF_ANY);
	if (take_from_queue(sk))
		tell_accept(&queued, &entry.owner);
	else	/* closed meanwhile, and told so */
		sockets_remove(sk);
}

SEC("?fexit/inet_csk_accept")
int accept_fexit(unsigned long long *ctx)
{
	const struct sock *sk = (const struct sock *)(settings.accept_params == 4 ? ctx[4] : ctx[2]);

	if (sk)
		on_accept(sk);
	return 0;
}

SEC("?kretprobe/inet_csk_accept")
int BPF_KRETPROBE(accept_kretprobe, const struct sock *sk)
{
	if (sk)
		on_accept(sk);
	return 0;
}

/* Where inet_csk_accept() cannot be hooked: every system call of the machine comes here, so look at its number first. */
SEC("?tp_btf/sys_exit")
int BPF_PROG(accept_sys_exit, struct pt_regs *regs, long ret)
{
	struct file *file;
	struct sock *sk;

	if (!is_accept_call(regs) || ret < 0)
		return 0;
	file = current_file(ret);
	sk = file ? sock_of(file) : NULL;
	if (sk)
		on_accept(sk);
	return 0;
}

/*
 * io_uring's accept is no system call. Completions of a multishot accept have no request, nor have some others, whose result
 * may be no descriptor. But a socket behind a descriptor is not in the queue unless it was accepted,
 * and an entry that is there stays as it is: to look does no harm.
 */
SEC("?tp_btf/io_uring_complete")
int BPF_PROG(accept_io_uring, struct io_ring_ctx *ring, struct io_kiocb *request, struct io_uring_cqe *cqe)
{
	int fd = BPF_CORE_READ(cqe, res);
	struct file *file;
	struct sock *sk;

	if (fd < 0 || (request && BPF_CORE_READ(request, opcode) != IORING_OP_ACCEPT))
		return 0;
	file = current_file(fd);
	sk = file && is_socket(file) ? sock_of(file) : NULL;
	if (sk)
		on_accept(sk);
	return 0;
}

static __always_inline void count_full(void)
{
	COUNT(produced, 1);
	COUNT(map_full, 1);
}

static __always_inline void on_connect(const struct sock *sk)
{
	struct socket_entry entry = { .start_ns = bpf_ktime_get_ns(), .role = ROLE_CLIENT, .phase = PHASE_CONNECTING };

	current_owner(&entry.owner);
	if (sockets_put(sk, &entry, BPF_ANY))
		count_full();
}

/* An accepted connection is established. */
static __always_inline void on_queued(const struct sock *sk, const struct tcp_sock *tcp)
{
	struct queued queued = { .record.time.ns = bpf_ktime_get_ns() };
	__u64 key = (__u64)sk;

	queued.refused = !(settings.actions & 1 << ACTION_ACCEPT) || !socket_wanted(sk, tcp);
	fill_socket(&queued.record, sk, tcp, false);
	if (bpf_map_update_elem(&accept_queue, &key, &queued, BPF_ANY))
		count_full();
}

/* SYN_SENT is over, or SYN_RECV of a socket that a process has: what the table knows of it is told once. */
static __always_inline void on_handshake_end(const struct sock *sk, const struct tcp_sock *tcp, struct socket_entry *found, int to)
{
	struct socket_entry entry;

	if (!found)
		return;
	entry = *found;
	found->phase = PHASE_OPEN;
	if (to == TCP_CLOSE)
		sockets_remove(sk);
	if (entry.phase != PHASE_OPEN)
		tell_handshake(sk, tcp, &entry, entry.role == ROLE_CLIENT && to == TCP_CLOSE ? sk->sk_err ?: REASON_ABORTED : 0);
}

/* An accepted connection is established. First into the queue, then look whether it was accepted early: as on_accept_unqueued(). */
static __always_inline void on_established(const struct sock *sk, const struct tcp_sock *tcp)
{
	struct socket_entry *found;

	if (sk->sk_socket) {
		found = sockets_find(sk);
		if (found && found->phase != PHASE_EARLY) {	/* both sides connect; or the second run of two */
			on_handshake_end(sk, tcp, found, TCP_ESTABLISHED);
			return;
		}
	}
	on_queued(sk, tcp);
	found = sockets_find(sk);
	if (!found)
		return;
	if (found->phase != PHASE_EARLY)
		sockets_remove(sk);	/* its address was another socket's, of which the end was missed */
	else if (take_from_queue(sk))
		on_handshake_end(sk, tcp, found, TCP_ESTABLISHED);
}

/* SYN_SENT to SYN_RECV does not count: both sides connect, and the handshake goes on. */
static __always_inline bool is_of_interest(int from, int to)
{
	return to == TCP_SYN_SENT || to == TCP_CLOSE || (to != TCP_SYN_RECV && (from == TCP_SYN_SENT || from == TCP_SYN_RECV));
}

/* The socket is locked here, so transitions of one socket come one after the other; only accept may run beside them. */
static __always_inline void on_state(struct sock *sk, int from, int to)
{
	struct tcp_sock *tcp = as_tcp(sk);

	if (!tcp)
		return;
	if (settings.cookies && (to == TCP_SYN_SENT || to == TCP_ESTABLISHED))
		bpf_get_socket_cookie(sk);	/* makes it */
	if (to == TCP_SYN_SENT)
		on_connect(sk);
	else if (from == TCP_SYN_RECV && to == TCP_ESTABLISHED)
		on_established(sk, tcp);
	else if (from == TCP_SYN_SENT || from == TCP_SYN_RECV)
		on_handshake_end(sk, tcp, sockets_find(sk), to);
	else if (!sockets_remove(sk))
		on_close_queued(sk);
}

/*
 * The kernel runs no program inside itself. A softirq that interrupts set_state() in a task has its CPU's events skipped,
 * often a whole batch; then set_state_nested(), which is attached after it, does them. It cannot be skipped as well: a
 * softirq interrupts one of the two at most, and no softirq interrupts a softirq. `taken` tells it what set_state() has done;
 * an interrupt between the two makes it forget, and the event is done twice: the second time finds nothing to do.
 */
struct transition {
	const struct sock *sk;
	__s64 to;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct transition);
} taken SEC(".maps");

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock *sk, int from, int to)
{
	struct transition *last;
	__u32 zero = 0;

	if (!is_of_interest(from, to))
		return 0;
	last = bpf_map_lookup_elem(&taken, &zero);
	if (last)
		*last = (struct transition){ sk, to };
	on_state(sk, from, to);
	return 0;
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(set_state_nested, struct sock *sk, int from, int to)
{
	struct transition *last;
	__u32 zero = 0;

	if (!is_of_interest(from, to))
		return 0;
	last = bpf_map_lookup_elem(&taken, &zero);
	if (last && (last->sk != sk || last->to != to))
		on_state(sk, from, to);
	return 0;
}

/* At the end: what still waits in an accept queue. */
SEC("?iter/bpf_map_elem")
int find_pending(struct bpf_iter__bpf_map_elem *ctx)
{
	struct queued *queued = ctx->value;
	struct tcp_connection record;
	__u64 *key = ctx->key;
	bool wanted;

	if (!key || !queued)
		return 0;
	record = queued->record;
	judge_queued(&record, (const struct sock *)*key, ACCEPT_PENDING);
	wanted = ownerless_wanted(queued);
	if (wanted && bpf_seq_write(ctx->meta->seq, &record, sizeof(record)))
		return 0;	/* no room in this read: the element comes again */
	admit(wanted);
	return 0;
}
