/* SPDX-License-Identifier: GPL-2.0-only */
/* The user's filters on connections, shared by all probes that are about them. */
#ifndef NETLINE_FILTER_BPF_H
#define NETLINE_FILTER_BPF_H

#include "sockets.bpf.h"

#define CGROUP_DEPTH 16	/* levels above a socket's cgroup in which the wanted one is looked for */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u8);
} pids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u16);
	__type(value, __u8);
} ports SEC(".maps");

static __always_inline bool pid_wanted(__u32 pid)
{
	return !settings.by_pid || bpf_map_lookup_elem(&pids, &pid);
}

static __always_inline bool cgroup_wanted(const struct sock *sk)
{
	struct cgroup *cgroup;

	if (!settings.cgroup)
		return true;
	cgroup = socket_cgroup(sk);
	for (int level = 0; cgroup && level < CGROUP_DEPTH; level++) {
		if (BPF_CORE_READ(cgroup, kn, id) == settings.cgroup)
			return true;
		cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);	/* self is the first member of struct cgroup */
	}
	return false;
}

/* All filters that are about the socket and not about its owner. */
static __always_inline bool socket_wanted(const struct sock *sk, const struct tcp_sock *tcp)
{
	const __u8 both = FAMILY_BIT(FAMILY_IPV4) | FAMILY_BIT(FAMILY_IPV6);

	if (settings.families != both && !(settings.families & FAMILY_BIT(socket_family(sk))))
		return false;
	if (settings.by_port) {
		__u16 port = local_port(tcp);

		if (!bpf_map_lookup_elem(&ports, &port))
			return false;
	}
	return cgroup_wanted(sk);
}
#endif
