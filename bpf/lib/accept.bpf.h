/* SPDX-License-Identifier: GPL-2.0-only */
/* accept: programs for each way to see it. They run in the accepting task. */
#ifndef NETLINE_ACCEPT_BPF_H
#define NETLINE_ACCEPT_BPF_H

#include "connection_records.bpf.h"
#include "descriptors.bpf.h"

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
	entry->start_ns = bpf_ktime_get_ns();
	if (state == TCP_SYN_RECV)
		entry->phase = PHASE_EARLY;
	sockets_put_open(sk, entry);
	if (!queue_look(sk, room) || !take_from_queue(sk))
		return;
	found = sockets_find(sk);
	if (found) {
		found->phase = PHASE_OPEN;
		found->start_ns = room->record.time.ns;
	}
	tell_accept(room, entry);
}

/*
 * Runs in the accepting task, at the end of accept. `sk` is a mere number here. It enters the table before it leaves the
 * queue, so that a CLOSE on another CPU finds it in one of them.
 */
static __always_inline void on_accept(const struct sock *sk)
{
	struct socket_entry entry = { .role = ROLE_SERVER, .phase = PHASE_OPEN };
	struct queued queued;
	bool waited = queue_look(sk, &queued);

	if (!waited && !is_tcp(sk))
		return;
	current_owner(&entry);
	if (!waited) {
		on_accept_unqueued(sk, &entry, &queued);
		return;
	}
	entry.start_ns = queued.record.time.ns;
	sockets_put(sk, &entry, BPF_ANY);
	if (take_from_queue(sk))
		tell_accept(&queued, &entry);
	else	/* closed meanwhile, and told so */
		sockets_remove(sk);
}

/*
 * accept has the socket and gives it a file: in the accepting task, under the socket's lock, so after the end of the
 * handshake was told; the hook is of a function that comes after the wait, so tasks that blocked in accept before it was
 * there are seen, too, and every way to call accept leads here. (inet_csk_accept()'s return has none of that: a task
 * inside is missed, the lock is not held yet, and its parameters changed in 6.10.) With CONFIG_SECURITY_NETWORK.
 */
SEC("?fentry/security_sock_graft")
int BPF_PROG(accept_fentry, struct sock *sk)
{
	on_accept(sk);
	return 0;
}

SEC("?kprobe/security_sock_graft")
int BPF_KPROBE(accept_kprobe, struct sock *sk)
{
	on_accept(sk);
	return 0;
}

/* Where that cannot be hooked: every system call of the machine comes here, so look at its number first. */
static __always_inline int on_sys_exit(const struct pt_regs *regs, long ret)
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

#define ACCEPT_SYS_EXIT(name) SEC("?tp_btf/sys_exit") int BPF_PROG(name, struct pt_regs *regs, long ret) { return on_sys_exit(regs, ret); }

ACCEPT_SYS_EXIT(accept_sys_exit)
ACCEPT_SYS_EXIT(accept_preempted)	/* stand-ins where tasks can be preempted in a tracepoint; the second to see an accept finds it told */
ACCEPT_SYS_EXIT(accept_preempted_2)

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
#endif
