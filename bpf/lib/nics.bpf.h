/* SPDX-License-Identifier: GPL-2.0-only */
/* --nic: by namespace and index. */
#ifndef NETLINE_NICS_BPF_H
#define NETLINE_NICS_BPF_H

#include "probe.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct nic_id);
	__type(value, __u8);
} nics SEC(".maps");

static __always_inline bool nic_wanted(__u32 netns, __u32 index)
{
	struct nic_id id = { .netns = netns, .index = index };

	return !settings.by_nic || bpf_map_lookup_elem(&nics, &id);
}
#endif
