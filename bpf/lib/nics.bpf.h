/* SPDX-License-Identifier: GPL-2.0-only */
/* --nic: by namespace and index. */
#ifndef NETLINE_NICS_BPF_H
#define NETLINE_NICS_BPF_H

#include "probe.bpf.h"

CHOSEN(nics, struct nic_id, 1024);	/* again each interval: NICs come and go */

static __always_inline bool nic_wanted(__u32 netns, __u32 index)
{
	struct nic_id id = { .netns = netns, .index = index };

	return !settings.by_nic || bpf_map_lookup_elem(&nics, &id);
}
#endif
