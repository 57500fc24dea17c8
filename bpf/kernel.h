/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel types and members that the programs read, and nothing else: offsets come from the running kernel's BTF
 * (CO-RE), so this builds without BTF, and shows on one page what netline asks of the kernel.
 * A wrong member shows only at load: tests load every program.
 */
#ifndef NETLINE_KERNEL_H
#define NETLINE_KERNEL_H

#include <stdbool.h>

#define __VMLINUX_H__	/* register names of struct pt_regs as in the kernel, for bpf_tracing.h */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define S_IFMT 00170000
#define S_IFSOCK 0140000
#define EEXIST 17

/* net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE,
	TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_LISTEN, TCP_CLOSING, TCP_NEW_SYN_RECV,
};
/* bits of skc_flags (enum sock_flags, the first ones since 2.6) */
#define SOCK_DEAD 0
#define SOCK_DONE 1

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long bx, bp, r8, r9, r10, r11, r12, r13, r14, r15, ax, cx, dx, si, di, orig_ax, ip, flags, sp;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31], sp, pc, pstate;
};
struct pt_regs {
	int syscallno;
	__u64 regs[31], sp, pc, pstate;
};
#endif

typedef struct { __s64 counter; } atomic64_t;
struct in6_addr { union { __u32 u6_addr32[4]; } in6_u; };

/* namespaces and cgroups */
struct ns_common { unsigned int inum; };
struct hlist_node { struct hlist_node *next; };
struct hlist_head { struct hlist_node *first; };
struct net { struct ns_common ns; struct hlist_head *dev_index_head; };
struct mnt_namespace { struct ns_common ns; };
struct nsproxy { struct mnt_namespace *mnt_ns; };
typedef struct { struct net *net; } possible_net_t;
struct kernfs_node { __u64 id; };
struct cgroup_subsys_state { struct cgroup_subsys_state *parent; };
struct cgroup { struct cgroup_subsys_state self; struct kernfs_node *kn; };
struct sock_cgroup_data { struct cgroup *cgroup; };
struct sock_cgroup_data___before_5_15 { __u64 val; };	/* pointer with flags in the low bits; 8520e224f547 */

/* tasks and files */
struct new_utsname { char sysname[65]; };
struct task_struct {
	struct task_struct *group_leader;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	int pid, tgid;
	char comm[16];
};
struct fdtable { unsigned int max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };
struct inode { unsigned short i_mode; };
struct file { struct inode *f_inode; void *private_data; };
struct socket { struct sock *sk; };

/* sockets */
struct sk_buff_head { struct sk_buff *next, *prev; };
struct sock_common {
	__u32 skc_daddr, skc_rcv_saddr;
	__u16 skc_dport, skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
	unsigned long skc_flags;
	struct sock *skc_listener;	/* of a request */
	__u32 skc_tw_rcv_nxt, skc_tw_snd_nxt;	/* in TIME_WAIT */
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_type, sk_protocol;
	int sk_err;
	struct sk_buff_head sk_receive_queue;
	struct { struct sk_buff *tail; } sk_backlog;
	struct socket *sk_socket;
	struct sock_cgroup_data sk_cgrp_data;
};
struct inet_sock { struct sock sk; __u16 inet_sport; };
struct tcp_sack_block { __u32 start_seq, end_seq; };
struct tcp_options_received { int ts_recent_stamp; __u32 ts_recent; __u8 num_sacks; };
struct tcp_sock {
	__u64 bytes_received, bytes_acked, bytes_retrans;
	__u32 snd_nxt, snd_una, write_seq, segs_in, segs_out, srtt_us, rcv_nxt, rcv_wup, rcv_wnd, max_window;
	struct tcp_options_received rx_opt;
	struct tcp_sack_block selective_acks[4];
};

struct tcp_request_sock { __u64 snt_synack; };

/* io_uring */
#define IORING_OP_ACCEPT 13
struct io_kiocb { __u8 opcode; };
struct io_uring_cqe { __s32 res; };
struct io_ring_ctx;

/* packets and NICs */
struct skb_shared_info { unsigned short gso_size, gso_segs; unsigned int gso_type; };
enum skb_drop_reason { SKB_NOT_DROPPED_YET, SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_QUEUE_PURGE };
struct sk_buff___before_6_11 { __u8 mono_delivery_time : 1; };	/* since 5.18, a1ac9c8acec1 */
struct nf_hook_state { struct net *net; };
struct bpf_nf_ctx { const struct nf_hook_state *state; struct sk_buff *skb; };
struct flowi6 { struct in6_addr daddr, saddr; };
struct dst_entry { struct net_device *dev; };
struct net_device {
	char name[16];
	struct hlist_node index_hlist;
	int ifindex;
	unsigned int flags, real_num_tx_queues, real_num_rx_queues;
	possible_net_t nd_net;
};
struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
	__u64 tstamp;
	char cb[48];
	unsigned int len, data_len;
	int skb_iif;
	__u16 queue_mapping, protocol;
	__u8 encapsulation : 1;
	__u8 tstamp_type : 2;	/* since 6.11, 4d25ca2d6801 */
	__u16 inner_transport_header, transport_header, network_header, mac_header;
	unsigned int tail, end;
	unsigned char *head, *data;
};

/* iterators */
struct bpf_iter_meta { struct seq_file *seq; __u64 session_id, seq_num; };
struct bpf_iter__task_file { struct bpf_iter_meta *meta; struct task_struct *task; __u32 fd; struct file *file; };
struct bpf_map;
struct bpf_iter__bpf_map_elem { struct bpf_iter_meta *meta; struct bpf_map *map; void *key; void *value; };

#pragma clang attribute pop

/* A member of a struct; `known`, of the function that uses it: the verifier knows the address. */
#define OF(object, member) (known ? (object)->member : BPF_CORE_READ(object, member))

/*
 * Addresses that the verifier does not know are read by a call, which takes as long as all else that is done at a hook. Where `known` is
 * CASTS it may be told what is there instead (since 6.2, a35b9af4ec2c): in netfilter programs (6.4) and those that are loaded only beside
 * them. Older kernels must not see such a program: some refuse it for the function that they lack, even where it is never called.
 */
#define CASTS 2
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;
#define CAST(type, address) ((const type *)bpf_rdonly_cast(address, bpf_core_type_id_kernel(type)))
#define AT(type, address, member) (known == CASTS ? CAST(type, address)->member : BPF_CORE_READ((const type *)(address), member))

/* A name that is a member of a struct at a known address. */
#define COPY_16(to, from) do { \
	((__u64 *)(to))[0] = ((const __u64 *)(from))[0]; \
	((__u64 *)(to))[1] = ((const __u64 *)(from))[1]; \
} while (0)

/* Bytes that are of no struct, up to 64. A struct that begins with so many makes them readable. */
static __always_inline void read_bytes(void *to, __u32 size, const void *from, __u8 known)
{
	const volatile char *bytes;	/* or clang makes one load of this and of one from the stack, which the verifier refuses */

	if (known != CASTS) {
		bpf_probe_read_kernel(to, size, from);
		return;
	}
	bytes = CAST(struct new_utsname, from)->sysname;
#pragma unroll
	for (__u32 i = 0; i + 8 <= size; i += 8)
		*(__u64 *)(to + i) = *(const volatile __u64 *)(bytes + i);
#pragma unroll
	for (__u32 i = size & ~7; i < size; i++)
		*(char *)(to + i) = bytes[i];
}
#endif
