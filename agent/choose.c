/* SPDX-License-Identifier: BSD-2-Clause */
#include "choose.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "nic.h"

#define PROBE_NAMES_LEN 512
static const char *probe_names(const struct probe *const *some, unsigned n, char ret_names[PROBE_NAMES_LEN])
{
	ret_names[0] = 0;
	for (unsigned i = 0; i < n; i++) {
		size_t used = strlen(ret_names);

		snprintf(ret_names + used, PROBE_NAMES_LEN - used, "%s%s", used ? ", " : "", some[i]->name);
	}
	return ret_names;
}

static void hint_word(const char *word)
{
	char names[PROBE_NAMES_LEN];

	if (word[0] && strspn(word, "0123456789") == strlen(word))
		log_error("%s is no probe: for a process use --pid %s, for a port --port %s, for the interval --interval %s", word, word,
			  word, word);
	else if (if_nametoindex(word))
		log_error("%s is no probe: for a NIC use --nic %s", word, word);
	else
		log_error("%s is no probe; there are %s and all", word, probe_names(probes, n_probes, names));
}

static void add(struct choice *choice, const struct probe *probe)
{
	for (unsigned i = 0; i < choice->n; i++)
		if (choice->probes[i] == probe)
			return;
	choice->probes[choice->n++] = probe;
}

/* A named probe has to be able to apply each filter. Of a file, all mistakes are told. */
static int check_filters(const struct config *config, const struct choice *choice)
{
	char filter_names[FILTER_NAMES_LEN];
	int err = 0;

	for (unsigned i = 0; i < choice->n && (!err || config->file); i++) {
		const struct probe *probe = choice->probes[i];
		const struct probe_config *its = config_of(config, probe);
		unsigned not = its->filters & ~probe->filters;

		if (not) {
			log_error("%s%s%s cannot apply %s", config->file ?: "", config->file ? ": " : "", probe->name, config_filter_names(its, not, filter_names));
			err = -EINVAL;
		}
	}
	return err;
}

static int choose_words(const struct config *config, struct choice *choice)
{
	for (unsigned i = 0; i < config->n_words; i++) {
		const struct probe *probe = probe_find(config->words[i]);
		bool all = !strcmp(config->words[i], "all");

		if (!all && !probe) {
			hint_word(config->words[i]);
			return -EINVAL;
		}
		for (unsigned j = 0; j < n_probes; j++)
			if (all || probes[j] == probe)
				add(choice, probes[j]);
	}
	return check_filters(config, choice);
}

static int choose_listed(const struct config *config, struct choice *choice)
{
	for (unsigned i = 0; i < n_probes; i++)
		if (config->listed & 1u << i)
			add(choice, probes[i]);
	return check_filters(config, choice);
}

/* The default set, without the probes that cannot apply every filter: the user reads which ones run. */
static void tell_shrunk(const struct config *config, const struct choice *choice)
{
	char names[PROBE_NAMES_LEN], filter_names[FILTER_NAMES_LEN];
	unsigned all = 0;

	for (unsigned i = 0; i < n_probes; i++)
		all += probes[i]->by_default;
	if (choice->n < all)
		log_notice("only %s: no other probe of the default set can apply %s", probe_names(choice->probes, choice->n, names),
			   config_filter_names(&config->all, config->all.filters, filter_names));
}

/* The probes in the default set, or outside of it, that can apply every filter. */
static void choose_able(const struct config *config, bool by_default, struct choice *choice)
{
	for (unsigned i = 0; i < n_probes; i++)
		if (probes[i]->by_default == by_default && !(config->all.filters & ~probes[i]->filters))
			add(choice, probes[i]);
}

/* The default set shrinks to the probes that can apply every filter. */
static int choose_default(const struct config *config, struct choice *choice)
{
	char names[PROBE_NAMES_LEN], filter_names[FILTER_NAMES_LEN];
	struct choice others = { 0 };

	choose_able(config, true, choice);
	if (choice->n)
		return 0;
	config_filter_names(&config->all, config->all.filters, filter_names);
	choose_able(config, false, &others);
	if (others.n)
		log_error("no probe of the default set can apply %s; %s can: name %s", filter_names, probe_names(others.probes, others.n, names),
			  others.n > 1 ? "them" : "it");
	else
		log_error("no probe can apply all of %s", filter_names);
	return -EINVAL;
}

/* A pinned map of type hash whose keys are ids of 64 bits. Who only checks a file may lack the permission to look. */
static int check_set(const char *where, const char *path, bool may_look)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	int fd = *path ? bpf_obj_get(path) : 0, err;

	if (!*path || (fd < 0 && !may_look && (errno == EPERM || errno == EACCES)))
		return 0;
	if (fd < 0) {
		log_error("%s %s: %s; it wants the path of a pinned map", where, path, strerror(errno));
		return -EINVAL;
	}
	err = bpf_obj_get_info_by_fd(fd, &info, &size);
	close(fd);
	if (err || info.type != BPF_MAP_TYPE_HASH || info.key_size != sizeof(uint64_t)) {
		log_error("%s %s: not a map of type hash with keys of 8 bytes", where, path);
		return -EINVAL;
	}
	return 0;
}

static void tell_unknown(const char *where, const char *name, const struct nic_link *links, unsigned n)
{
	char names[512] = "";

	for (unsigned i = 0; i < n && strlen(names) + IF_NAMESIZE + 8 < sizeof(names); i++)
		sprintf(names + strlen(names), "%s%s", i ? ", " : "", links[i].name);
	log_error("%s %s: there is no such NIC; there are %s", where, name, names);
}

static int check_nics(const char *where, const struct probe_config *config)
{
	struct nic_link *links;
	unsigned n, j;
	int err = config->n_nics ? nic_list(&links, &n) : 0;

	if (err)
		log_error("%s: cannot list the NICs: %s", where, strerror(-err));
	if (err || !config->n_nics)
		return err;
	for (unsigned i = 0; i < config->n_nics && !err; i++) {
		for (j = 0; j < n && strcmp(links[j].name, config->nics[i]); j++)
			;
		if (j == n) {
			tell_unknown(where, config->nics[i], links, n);
			err = -EINVAL;
		}
	}
	free(links);
	return err;
}

static int check_probe(const struct config *config, const struct probe *probe)
{
	const struct probe_config *its = config_of(config, probe);
	bool may_look = config->command == COMMAND_RUN;
	char where[OPTION_PLACE_LEN];
	int err = check_set(config_option_place(config, probe->name, "cgroupmap", where), its->cgroup_map, may_look);

	err = check_set(config_option_place(config, probe->name, "mntnsmap", where), its->mntns_map, may_look) ?: err;
	return check_nics(config_option_place(config, probe->name, "nic", where), its) ?: err;
}

int choose_probes(const struct config *config, struct choice *ret_choice)
{
	int err;

	*ret_choice = (struct choice){ .named = config->n_words || config->listed };
	err = config->n_words ? choose_words(config, ret_choice) : config->listed ? choose_listed(config, ret_choice) :
	      choose_default(config, ret_choice);
	for (unsigned i = 0; i < ret_choice->n && (!err || config->file); i++)
		err = check_probe(config, ret_choice->probes[i]) ?: err;
	if (!err && !ret_choice->named)
		tell_shrunk(config, ret_choice);
	return err;
}
