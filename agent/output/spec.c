/* SPDX-License-Identifier: BSD-2-Clause */
#include "spec.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../log.h"
#include "../parse.h"
#include "../probe.h"

#define DEFAULT_QUEUE (16 << 20)	/* what full rings hold, as JSON */
#define DEFAULT_QUEUE_STDOUT (4 << 20)	/* it blocks, and what waits stays in the rings */
#define MIN_QUEUE (128 << 10)		/* two arenas */
#define MIN_ROTATE (64 << 10)
#define MIN_ROTATE_NS 1000000000ull
#define MAX_KEEP 1000000

const char *const spec_kinds[SPEC_KINDS] = {
	[SPEC_STDOUT] = "stdout", [SPEC_FILE] = "file", [SPEC_UNIX] = "unix", [SPEC_UNIX_CONNECT] = "unix-connect",
};
static const char *const policies[] = { [FULL_BLOCK] = "block", [FULL_DROP_OLDEST] = "drop-oldest", [FULL_DROP_NEWEST] = "drop-newest" };

static int wrong(const char *where, const char *value, const char *expected)
{
	log_error("%s %s: %s", where, value, expected);
	return -EINVAL;
}

static int set_yes(const char *where, const char *value, bool *ret_yes)
{
	*ret_yes = !strcmp(value, "yes");
	return *ret_yes || !strcmp(value, "no") ? 0 : wrong(where, value, "yes or no");
}

static int set_agent(const char *where, struct output_spec *spec, const char *value)
{
	return set_yes(where, value, &spec->agent_records);
}

static int set_compress(const char *where, struct output_spec *spec, const char *value)
{
	return set_yes(where, *value ? value : "yes", &spec->compress);	/* alone, it says so itself */
}

static int set_full(const char *where, struct output_spec *spec, const char *value)
{
	for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (!strcmp(value, policies[i])) {
			spec->full = i;
			return 0;
		}
	}
	return wrong(where, value, "block, drop-oldest or drop-newest");
}

static int set_queue(const char *where, struct output_spec *spec, const char *value)
{
	return parse_size(where, value, MIN_QUEUE, 1 << 30, &spec->queue_bytes);
}

static int set_rotate_size(const char *where, struct output_spec *spec, const char *value)
{
	return parse_size(where, value, MIN_ROTATE, 1ull << 50, &spec->rotate_bytes);
}

static int set_rotate_time(const char *where, struct output_spec *spec, const char *value)
{
	return parse_time(where, value, MIN_ROTATE_NS, &spec->rotate_ns);
}

static int set_keep(const char *where, struct output_spec *spec, const char *value)
{
	return parse_number(where, value, 1, MAX_KEEP, &spec->keep);
}

static int set_keep_size(const char *where, struct output_spec *spec, const char *value)
{
	return parse_size(where, value, MIN_ROTATE, 1ull << 60, &spec->keep_bytes);
}

static int set_mode(const char *where, struct output_spec *spec, const char *value)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (*end || end == value || *value == '-' || mode > 0777 || !(mode & 0600))
		return wrong(where, value, "a file mode in octal, such as 0660");
	spec->mode = mode;
	return 0;
}

static int set_group(const char *where, struct output_spec *spec, const char *value)
{
	struct group *group = getgrnam(value);

	if (!group)
		return wrong(where, value, "there is no such group");
	spec->group = group->gr_gid;
	return 0;
}

static int set_probes(const char *where, struct output_spec *spec, const char *value)
{
	char copy[sizeof(spec->probes)], *rest = copy, *name;

	if (strlen(value) >= sizeof(copy))
		return wrong(where, "", "too long");
	strcpy(copy, value);
	while ((name = strsep(&rest, "+")))
		if (!probe_find(name))
			return wrong(where, name, "no such probe; `netline list` shows all of them");
	strcpy(spec->probes, value);
	return 0;
}

#define ANY ((1u << SPEC_KINDS) - 1)
#define FILES (1u << SPEC_FILE)
#define LISTENS (1u << SPEC_UNIX)

const struct spec_setting spec_settings[] = {
	{ "probes", "A+B", "records of these probes only", ANY, set_probes },
	{ "agent", "yes|no", "agent_probe and agent_status records as well (default: yes, but for stdout)", ANY, set_agent },
	{ "full", "block|drop-oldest|drop-newest", "when the queue is full (default: stdout block, sockets drop-oldest, files drop-newest)", ANY, set_full },
	{ "queue", "SIZE", "bound of the queue (default 16M, stdout 4M); of each reader", ANY, set_queue },
	{ "rotate-size", "SIZE", "begin a new file before this one grows larger", FILES, set_rotate_size },
	{ "rotate-time", "TIME", "begin a new file at each full TIME (UTC), such as 1h or 1d", FILES, set_rotate_time },
	{ "keep", "N", "keep N rotated files, remove older ones", FILES, set_keep },
	{ "keep-size", "SIZE", "keep rotated files of SIZE in all, remove older ones", FILES, set_keep_size },
	{ "compress", "yes|no", "gzip rotated files, but for the newest", FILES, set_compress },
	{ "mode", "MODE", "mode of the socket (default 0660)", LISTENS, set_mode },
	{ "group", "NAME", "group of the socket, whose members may read", LISTENS, set_group },
};
const unsigned n_spec_settings = sizeof(spec_settings) / sizeof(spec_settings[0]);

static int take_path(const char *where, const char *path, struct output_spec *spec)
{
	size_t room = spec->kind == SPEC_FILE ? sizeof(spec->path) - 64 : sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (!*path) {
		log_error("%s %s: needs a path: %s:PATH", where, spec_kinds[spec->kind], spec_kinds[spec->kind]);
		return -EINVAL;
	}
	if (strlen(path) > room) {
		log_error("%s %s: the path is longer than %zu bytes", where, spec_kinds[spec->kind], room);
		return -EINVAL;
	}
	strcpy(spec->path, path);
	return 0;
}

/* What people write instead. */
static int tell_unknown(const char *where, const char *word)
{
	size_t len = strcspn(word, ":");

	if (!strcmp(word, "-"))
		log_error("%s -: use stdout", where);
	else if (word[len] != ':' && strpbrk(word, "/."))
		log_error("%s %.200s: for a file use file:%.200s", where, word, word);
	else
		log_error("%s %.*s: no such output; there are stdout, file:PATH, unix:PATH and unix-connect:PATH", where, (int)(len < 200 ? len : 200), word);
	return -EINVAL;
}

int spec_begin(const char *where, const char *text, struct output_spec *ret_spec)
{
	size_t len = strcspn(text, ":");
	unsigned kind = 0;

	while (kind < SPEC_KINDS && (strlen(spec_kinds[kind]) != len || strncmp(spec_kinds[kind], text, len)))
		kind++;
	if (kind == SPEC_KINDS || (kind == SPEC_STDOUT && text[len]))
		return tell_unknown(where, text);
	memset(ret_spec, 0, sizeof(*ret_spec));	/* specs are compared as memory */
	ret_spec->kind = kind;
	ret_spec->full = kind == SPEC_STDOUT ? FULL_BLOCK : kind == SPEC_FILE ? FULL_DROP_NEWEST : FULL_DROP_OLDEST;
	ret_spec->agent_records = kind != SPEC_STDOUT;
	ret_spec->queue_bytes = kind == SPEC_STDOUT ? DEFAULT_QUEUE_STDOUT : DEFAULT_QUEUE;
	ret_spec->mode = 0660;
	ret_spec->group = -1;
	return kind == SPEC_STDOUT ? 0 : take_path(where, text[len] ? text + len + 1 : "", ret_spec);
}

int spec_set(const char *where, struct output_spec *spec, const char *name, const char *value)
{
	unsigned i = 0;

	while (i < n_spec_settings && strcmp(spec_settings[i].name, name))
		i++;
	if (i == n_spec_settings) {
		log_error("%s: no such setting of an output; see netline --help", where);
		return -EINVAL;
	}
	if (!(spec_settings[i].kinds & 1u << spec->kind)) {
		log_error("%s: %s has no such setting", where, spec_kinds[spec->kind]);
		return -EINVAL;
	}
	return spec_settings[i].set(where, spec, value);
}

int spec_parse(const char *where, const char *text, struct output_spec *ret_spec)
{
	char *copy = strdup(text), *rest = copy, *word, here[160];
	int err = copy ? spec_begin(where, strsep(&rest, ","), ret_spec) : -ENOMEM;

	while (!err && (word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = 0;
		snprintf(here, sizeof(here), "%s: %.100s", where, word);
		err = spec_set(here, ret_spec, word, value ?: "");
	}
	free(copy);
	return err;
}

const char *spec_name(const struct output_spec *spec, char ret_name[SPEC_NAME_LEN])
{
	const char *path = spec->path;
	size_t room = SPEC_NAME_LEN - 20;

	if (strlen(path) > room)	/* its end tells more */
		path += strlen(path) - room;
	snprintf(ret_name, SPEC_NAME_LEN, "%s%s%.*s", spec_kinds[spec->kind], *path ? ":" : "", (int)room, path);
	return ret_name;
}

bool spec_wants_probe(const struct output_spec *spec, const char *probe)
{
	size_t len = strlen(probe);
	const char *list = spec->probes;

	if (!*list)
		return true;
	for (; list; list = strchr(list, '+') ? strchr(list, '+') + 1 : NULL)
		if (strcspn(list, "+") == len && !strncmp(list, probe, len))
			return true;
	return false;
}
