/* SPDX-License-Identifier: BSD-2-Clause */
#include "nic_filter.h"

#include <stdlib.h>
#include <string.h>

#include "../../schema/control.h"
#include "../kern.h"
#include "../nic.h"

bool nic_selected(const struct probe_config *config, const char *name)
{
	for (unsigned i = 0; i < config->n_nics; i++)
		if (!strcmp(config->nics[i], name))
			return true;
	return !config->n_nics;
}

int nic_admit(struct probe_run *run, uint32_t netns, const struct nic_link *link)
{
	struct nic_id id = { .netns = netns, .index = link->index };

	return run->config->n_nics && nic_selected(run->config, link->name) ? probe_fill_set(run, "nics", &id, sizeof(id), 1) : 0;
}

int nic_admit_all(struct probe_run *run)
{
	struct nic_link *links;
	unsigned n;
	int err = run->config->n_nics ? nic_list(&links, &n) : 0;

	if (err || !run->config->n_nics)
		return err ? probe_fail(run, err, "cannot list the NICs: %s", strerror(-err)) : 0;
	for (unsigned i = 0; i < n && !err; i++)
		err = nic_admit(run, kern_own_netns(), &links[i]);
	free(links);
	return err;
}
