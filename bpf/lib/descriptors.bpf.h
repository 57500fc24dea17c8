/* SPDX-License-Identifier: GPL-2.0-only */
/* From files and descriptors to the TCP sockets behind them. The pointers found are mere numbers to the verifier. */
#ifndef NETLINE_DESCRIPTORS_BPF_H
#define NETLINE_DESCRIPTORS_BPF_H

#include "../kernel.h"

static __always_inline bool is_socket(const struct file *file)
{
	return (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) == S_IFSOCK;
}

/* Of a file that is_socket(). */
static __always_inline struct sock *sock_of(const struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);

	return socket ? BPF_CORE_READ(socket, sk) : NULL;	/* no socket: a file opened with O_PATH */
}

static __always_inline bool is_tcp(const struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP &&
	       BPF_CORE_READ(sk, sk_type) == SOCK_STREAM;
}

/* The TCP socket behind any file, or NULL. */
static __always_inline struct sock *tcp_sock_of(const struct file *file)
{
	struct sock *sk;

	if (!is_socket(file))
		return NULL;
	sk = sock_of(file);
	return sk && is_tcp(sk) ? sk : NULL;
}

/* The file behind a descriptor of the current task, or NULL. */
static __always_inline struct file *current_file(unsigned int fd)
{
	struct file **files, *file = NULL;
	unsigned int max_fds;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {	/* 5.11, 3ca1032ab7ab */
		struct task_struct *task = bpf_get_current_task_btf();

		max_fds = task->files->fdt->max_fds;
		files = task->files->fdt->fd;
	} else {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();

		max_fds = BPF_CORE_READ(task, files, fdt, max_fds);
		files = BPF_CORE_READ(task, files, fdt, fd);
	}
	if (fd < max_fds)
		bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return file;
}

/* accept or accept4, also accept4 of 32-bit programs (364 is no number of 64-bit ones). */
static __always_inline bool is_accept_call(const struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	return regs->orig_ax == 43 || regs->orig_ax == 288 || regs->orig_ax == 364;
#elif defined(__TARGET_ARCH_arm64)
	return regs->syscallno == 202 || regs->syscallno == 242;
#endif
}
#endif
