/* SPDX-License-Identifier: BSD-2-Clause */
/* --nic: names of NICs of the agent's own network namespace. */
#ifndef NETLINE_NIC_FILTER_H
#define NETLINE_NIC_FILTER_H

#include "../probe.h"

struct nic_link;

bool nic_selected(const struct probe_config *config, const char *name);	/* also if --nic is not given */
/* Puts it into the map `nics` if --nic names it. By index: one keeps being counted when it is renamed. */
int nic_admit(struct probe_run *run, uint32_t netns, const struct nic_link *link);
int nic_admit_all(struct probe_run *run);	/* those that there are now */
#endif
