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

int parse_number(const char *where, const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	uint64_t value;
	char *end;

	if (number(text, &value, &end) || *end || value < min || value > max) {
		log_error("%s %s: a number from %" PRIu64 " to %" PRIu64, where, text, min, max);
		return -EINVAL;
	}
	*ret_value = value;
	return 0;
}

int parse_size(const char *where, const char *text, uint64_t min, uint64_t max, uint64_t *ret_bytes)
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
	log_error("%s %s: a size in bytes from %" PRIu64 " to %" PRIu64 ", such as 256K or 4M", where, text, min, max);
	return -EINVAL;
}

int parse_seconds(const char *where, const char *text, uint64_t *ret_ns)
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
		log_error("%s %s: a number of seconds from 0.01 to %d, such as 1 or 0.5", where, text, MAX_SECONDS);
		return -EINVAL;
	}
	*ret_ns = whole * 1000000000 + ns;
	return 0;
}

int parse_time(const char *where, const char *text, uint64_t min_ns, uint64_t *ret_ns)
{
	static const struct { char suffix; uint64_t seconds; } units[] = { { 0, 1 }, { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	const uint64_t max_seconds = 366 * 86400;
	uint64_t value;
	char *end;

	if (!number(text, &value, &end) && (!*end || !end[1]))
		for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
			if (*end == units[i].suffix && value <= max_seconds / units[i].seconds && value * units[i].seconds * 1000000000 >= min_ns) {
				*ret_ns = value * units[i].seconds * 1000000000;
				return 0;
			}
	log_error("%s %s: a time of at least %" PRIu64 " s, such as 30m, 1h or 1d", where, text, min_ns / 1000000000);
	return -EINVAL;
}

int parse_text(const char *where, const char *text, char *ret_text, size_t room)
{
	if (!*text || strlen(text) >= room) {
		log_error("%s: a text of 1 to %zu bytes", where, room - 1);
		return -EINVAL;
	}
	strcpy(ret_text, text);
	return 0;
}

int parse_cgroup(const char *where, const char *text, uint64_t *ret_id)
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
		log_error("%s %s: %s; a folder below the cgroup v2 mount, or a cgroup's id", where, text, strerror(errno));
		return -EINVAL;
	}
	if (fs.f_type != CGROUP2_SUPER_MAGIC || name_to_handle_at(AT_FDCWD, text, &u.handle, &mount, 0)) {
		log_error("%s %s: not a folder of a cgroup v2 file system", where, text);
		return -EINVAL;
	}
	memcpy(ret_id, u.handle.f_handle, sizeof(*ret_id));	/* the id is the kernfs node's, which is its handle */
	return 0;
}

int parse_label(const char *where, const char *text, struct config *config)
{
	char json[6 * MAX_LABEL_BYTES + 2], *copy;
	const char *equals = strchr(text, '=');

	if (!equals || equals == text || !equals[1]) {
		log_error("%s %s: KEY=VALUE, neither of them empty", where, text);
		return -EINVAL;
	}
	for (unsigned i = 0; i < config->n_labels; i++) {
		if (strlen(config->labels[i].key) == (size_t)(equals - text) && !strncmp(config->labels[i].key, text, equals - text)) {
			log_error("%s %s: the key was given before", where, text);
			return -EINVAL;
		}
	}
	if (memchr(text, '.', equals - text)) {
		log_error("%s %s: no dot in the key, which Elasticsearch would take for an object", where, text);
		return -EINVAL;
	}
	if (strlen(text) <= MAX_LABEL_BYTES)
		config->label_bytes += text_string(json, text, strlen(text)) - json + 4;
	if (config->n_labels == MAX_LIST || strlen(text) > MAX_LABEL_BYTES || config->label_bytes > MAX_LABEL_BYTES) {
		log_error("%s: at most %d labels, and of a line of %d bytes all of them together at most %d", where, MAX_LIST,
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

static int room_for(const char *where, unsigned n)
{
	if (n < MAX_LIST)
		return 0;
	log_error("%s: at most %d of them", where, MAX_LIST);
	return -EINVAL;
}

int parse_one_nic(void *to, const char *where, const char *text)
{
	struct probe_config *config = to;

	if (!*text || strlen(text) >= IF_NAMESIZE) {
		log_error("%s %s: names of NICs, as in ip link, separated by commas", where, text);
		return -EINVAL;
	}
	if (room_for(where, config->n_nics))
		return -EINVAL;
	strcpy(config->nics[config->n_nics++], text);
	return 0;
}

int parse_one_pid(void *to, const char *where, const char *text)
{
	struct probe_config *config = to;
	uint64_t pid;

	if (room_for(where, config->n_pids) || parse_number(where, text, 1, 4194304, &pid))
		return -EINVAL;
	config->pids[config->n_pids++] = pid;
	return 0;
}

static int add_port(const char *where, const char *text, uint16_t *ports, unsigned *n)
{
	uint64_t port;

	if (room_for(where, *n) || parse_number(where, text, 1, 65535, &port))
		return -EINVAL;
	ports[(*n)++] = port;
	return 0;
}

int parse_one_port(void *to, const char *where, const char *text)
{
	struct probe_config *config = to;

	return add_port(where, text, config->ports, &config->n_ports);
}

int parse_one_source_port(void *to, const char *where, const char *text)
{
	struct probe_config *config = to;

	return add_port(where, text, config->source_ports, &config->n_source_ports);
}

int parse_one_destination_port(void *to, const char *where, const char *text)
{
	struct probe_config *config = to;

	return add_port(where, text, config->destination_ports, &config->n_destination_ports);
}

int parse_one_excluded_port(void *to, const char *where, const char *text)
{
	struct probe_config *config = to;

	return add_port(where, text, config->excluded_ports, &config->n_excluded_ports);
}
