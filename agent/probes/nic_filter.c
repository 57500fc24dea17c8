/* SPDX-License-Identifier: BSD-2-Clause */
#include "nic_filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../schema/control.h"
#include "../kern.h"
#include "../log.h"
#include "../nic.h"

bool nic_selected(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->n_nics; i++)
		if (!strcmp(config->nics[i], name))
			return true;
	return !config->n_nics;
}

static void tell_unknown(const char *name, const struct nic_link *links, unsigned n)
{
	char names[512] = "";

	for (unsigned i = 0; i < n && strlen(names) + IF_NAMESIZE + 8 < sizeof(names); i++)
		sprintf(names + strlen(names), "%s%s", i ? ", " : "", links[i].name);
	log_error("--nic %s: there is no such NIC; there are %s", name, names);
}

int nic_check(const struct config *config)
{
	struct nic_link *links;
	unsigned n, j;
	int err = config->n_nics ? nic_list(&links, &n) : 0;

	if (err)
		log_error("--nic: cannot list the NICs: %s", strerror(-err));
	if (err || !config->n_nics)
		return err;
	for (unsigned i = 0; i < config->n_nics && !err; i++) {
		for (j = 0; j < n && strcmp(links[j].name, config->nics[i]); j++)
			;
		if (j == n) {
			tell_unknown(config->nics[i], links, n);
			err = -EINVAL;
		}
	}
	free(links);
	return err;
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
