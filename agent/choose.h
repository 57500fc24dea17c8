/* SPDX-License-Identifier: BSD-2-Clause */
/* Which probes run. */
#ifndef NETLINE_CHOOSE_H
#define NETLINE_CHOOSE_H

#include "config.h"
#include "probe.h"

struct choice {
	const struct probe *probes[MAX_PROBES];
	unsigned n;
	bool named;		/* the user named them: each must attach */
};

/* -EINVAL after telling on stderr: no such probe, a filter that one of them cannot apply, a NIC or a set that is not there. */
int choose_probes(const struct config *config, struct choice *ret_choice);

/* What the probe is asked to do. */
static inline const struct probe_config *config_of(const struct config *config, const struct probe *probe)
{
	return &config->probes[probe_index(probe)];
}
#endif
