/* SPDX-License-Identifier: GPL-2.0-only */
/* The user's filters on connections, shared by all probes that are about them. */
#ifndef NETLINE_FILTER_BPF_H
#define NETLINE_FILTER_BPF_H

#include "sockets.bpf.h"

#define CGROUP_DEPTH 16	/* levels above a socket's cgroup in which the wanted one is looked for */

CHOSEN(pids, __u32, 1024);
CHOSEN(ports, __u16, 1024);

/* Replaced by the maps that the user pinned. */
#define USER_SET(name) struct { \
	__uint(type, BPF_MAP_TYPE_HASH); \
	__uint(max_entries, 1); \
	__type(key, __u64); \
	__type(value, __u64); \
} name SEC(".maps")

USER_SET(cgroup_set);
USER_SET(mntns_set);

static __always_inline bool owner_wanted(const struct socket_entry *entry)
{
	__u64 mntns = entry->mntns;
	__u32 pid = entry->owner.pid;

	if (settings.by_pid && !bpf_map_lookup_elem(&pids, &pid))
		return false;
	return !settings.by_mntns_set || bpf_map_lookup_elem(&mntns_set, &mntns);
}

/* Whether a socket without an owner is refused for that. */
static __always_inline bool wants_owner(void)
{
	return settings.by_pid || settings.by_mntns_set;
}

static __always_inline bool cgroup_wanted(struct cgroup *cgroup)
{
	if (settings.by_cgroup_set) {
		__u64 id = cgroup_id(cgroup);

		if (!bpf_map_lookup_elem(&cgroup_set, &id))
			return false;
	}
	if (!settings.cgroup)
		return true;
	for (int level = 0; cgroup && level < CGROUP_DEPTH; level++) {
		if (cgroup_id(cgroup) == settings.cgroup)
			return true;
		cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);	/* self is the first member of struct cgroup */
	}
	return false;
}

/* All filters that are about the socket and not about its owner. */
static __always_inline bool socket_wanted(const struct view *view)
{
	const __u8 both = FAMILY_BIT(FAMILY_IPV4) | FAMILY_BIT(FAMILY_IPV6);

	if (settings.families != both && !(settings.families & FAMILY_BIT(view->family)))
		return false;
	if (settings.by_port && !bpf_map_lookup_elem(&ports, &view->local_port))
		return false;
	return cgroup_wanted(view->cgroup);
}
#endif
