/* SPDX-License-Identifier: BSD-2-Clause */
/* The NICs of the agent's own network namespace, asked of the kernel by rtnetlink and ethtool (not of sysfs, which shows the
 * namespace in which it was mounted). */
#ifndef NETLINE_NIC_H
#define NETLINE_NIC_H

#include <net/if.h>
#include <stdint.h>

struct nic_link {
	uint32_t index;
	char name[IF_NAMESIZE];
	uint32_t queues[2];	/* by enum nl_direction; 0: unknown */
};

/* All of them, in the order of their index; the caller frees. Negative errno: rtnetlink refused. */
int nic_list(struct nic_link **ret_links, unsigned *ret_n);

/* Link speed in bits a second, 0 if the driver tells none. */
uint64_t nic_speed_bps(const char *name);
/* Channels that the driver uses, by direction; left alone if it does not tell. */
void nic_channels(const char *name, uint32_t ret_queues[2]);
#endif
