/* SPDX-License-Identifier: BSD-2-Clause */
#include "parse.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "log.h"
#include "text.h"

#define MIN_SECONDS_NS 10000000ull	/* 10 ms */
#define MAX_SECONDS 86400
#define MAX_LABEL_BYTES 2048	/* as JSON */

static int number(const char *text, uint64_t *ret_value, char **ret_end)
{
	errno = 0;
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	*ret_value = strtoull(text, ret_end, 10);
	return errno ? -EINVAL : 0;
}

int parse_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	uint64_t value;
	char *end;

	if (number(text, &value, &end) || *end || value < min || value > max) {
		log_error("%s %s: a number from %" PRIu64 " to %" PRIu64, option, text, min, max);
		return -EINVAL;
	}
	*ret_value = value;
	return 0;
}

int parse_size(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *ret_bytes)
{
	static const char suffixes[] = "KMG";
	uint64_t value;
	char *end;

	if (!number(text, &value, &end)) {
		const char *suffix = *end ? strchr(suffixes, toupper((unsigned char)*end)) : NULL;
		unsigned shift = suffix ? 10 * (suffix - suffixes + 1) : 0;

		if (!*(suffix ? end + 1 : end) && value <= max >> shift && value << shift >= min) {
			*ret_bytes = value << shift;
			return 0;
		}
	}
	log_error("%s %s: a size in bytes from %" PRIu64 " to %" PRIu64 ", such as 64K or 4M", option, text, min, max);
	return -EINVAL;
}

int parse_seconds(const char *option, const char *text, uint64_t *ret_ns)
{
	uint64_t whole = 0, ns = 0, unit = 100000000;
	char *end = (char *)text;
	bool ok = isdigit((unsigned char)text[0]) || (text[0] == '.' && isdigit((unsigned char)text[1]));

	if (ok && text[0] != '.')
		ok = !number(text, &whole, &end);
	if (ok && *end == '.')
		for (end++; isdigit((unsigned char)*end); end++, unit /= 10)
			ns += (*end - '0') * unit;
	if (!ok || *end || whole > MAX_SECONDS || (whole == MAX_SECONDS && ns) || whole * 1000000000 + ns < MIN_SECONDS_NS) {
		log_error("%s %s: a number of seconds from 0.01 to %d, such as 1 or 0.5", option, text, MAX_SECONDS);
		return -EINVAL;
	}
	*ret_ns = whole * 1000000000 + ns;
	return 0;
}

int parse_cgroup(const char *text, uint64_t *ret_id)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + sizeof(uint64_t)];
	} u = { .handle.handle_bytes = sizeof(uint64_t) };
	struct statfs fs;
	uint64_t id;
	char *end;
	int mount;

	if (!number(text, &id, &end) && !*end && id) {
		*ret_id = id;
		return 0;
	}
	if (statfs(text, &fs)) {
		log_error("--cgroup %s: %s; a folder below the cgroup v2 mount, or a cgroup's id", text, strerror(errno));
		return -EINVAL;
	}
	if (fs.f_type != CGROUP2_SUPER_MAGIC || name_to_handle_at(AT_FDCWD, text, &u.handle, &mount, 0)) {
		log_error("--cgroup %s: not a folder of a cgroup v2 file system", text);
		return -EINVAL;
	}
	memcpy(ret_id, u.handle.f_handle, sizeof(*ret_id));	/* the id is the kernfs node's, which is its handle */
	return 0;
}

int parse_label(struct config *config, const char *text)
{
	char json[6 * MAX_LABEL_BYTES + 2], *copy;
	const char *equals = strchr(text, '=');

	if (!equals || equals == text || !equals[1]) {
		log_error("--label %s: KEY=VALUE, neither of them empty", text);
		return -EINVAL;
	}
	for (unsigned i = 0; i < config->n_labels; i++) {
		if (strlen(config->labels[i].key) == (size_t)(equals - text) && !strncmp(config->labels[i].key, text, equals - text)) {
			log_error("--label %s: the key was given before", text);
			return -EINVAL;
		}
	}
	if (memchr(text, '.', equals - text)) {
		log_error("--label %s: no dot in the key, which Elasticsearch would take for an object", text);
		return -EINVAL;
	}
	if (strlen(text) <= MAX_LABEL_BYTES)
		config->label_bytes += text_string(json, text, strlen(text)) - json + 4;
	if (config->n_labels == MAX_LIST || strlen(text) > MAX_LABEL_BYTES || config->label_bytes > MAX_LABEL_BYTES) {
		log_error("--label: at most %d labels, and of a line of %d bytes all of them together at most %d", MAX_LIST,
			  LINE_MAX_BYTES, MAX_LABEL_BYTES);
		return -EINVAL;
	}
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	copy[equals - text] = 0;
	config->labels[config->n_labels++] = (struct label){ .key = copy, .value = copy + (equals - text) + 1 };
	return 0;
}

int parse_list(const char *option, const char *text, char separator, struct config *config, parse_one *one)
{
	char *copy = strdup(text), *at = copy;
	int err = copy ? 0 : -ENOMEM;

	while (!err && at) {
		char *next = strchr(at, separator);

		if (next)
			*next++ = 0;
		err = one(option, at, config);
		at = next;
	}
	free(copy);
	return err;
}

static int room_for(const char *option, unsigned n)
{
	if (n < MAX_LIST)
		return 0;
	log_error("%s: at most %d of them", option, MAX_LIST);
	return -EINVAL;
}

int parse_one_nic(const char *option, const char *text, struct config *config)
{
	if (!*text || strlen(text) >= IF_NAMESIZE) {
		log_error("%s %s: names of NICs, as in ip link, separated by commas", option, text);
		return -EINVAL;
	}
	if (room_for(option, config->n_nics))
		return -EINVAL;
	config->nics[config->n_nics] = strdup(text);
	return config->nics[config->n_nics++] ? 0 : -ENOMEM;
}

int parse_one_pid(const char *option, const char *text, struct config *config)
{
	uint64_t pid;

	if (room_for(option, config->n_pids) || parse_number(option, text, 1, 4194304, &pid))
		return -EINVAL;
	config->pids[config->n_pids++] = pid;
	return 0;
}

static int add_port(const char *option, const char *text, uint16_t *ports, unsigned *n)
{
	uint64_t port;

	if (room_for(option, *n) || parse_number(option, text, 1, 65535, &port))
		return -EINVAL;
	ports[(*n)++] = port;
	return 0;
}

int parse_one_port(const char *option, const char *text, struct config *config)
{
	return add_port(option, text, config->ports, &config->n_ports);
}

int parse_one_source_port(const char *option, const char *text, struct config *config)
{
	return add_port(option, text, config->source_ports, &config->n_source_ports);
}

int parse_one_destination_port(const char *option, const char *text, struct config *config)
{
	return add_port(option, text, config->destination_ports, &config->n_destination_ports);
}

int parse_one_excluded_port(const char *option, const char *text, struct config *config)
{
	return add_port(option, text, config->excluded_ports, &config->n_excluded_ports);
}
