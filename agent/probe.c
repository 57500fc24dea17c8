/* SPDX-License-Identifier: BSD-2-Clause */
#include "probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kern.h"
#include "log.h"
#include "netfilter.h"
#include "probes/list.h"
#include "ring.h"
#include "user.h"

#define MAX_WAKE_BYTES (256 * 1024)

#define DECLARE(name) extern const struct probe name##_probe;
PROBE_LIST(DECLARE)
#define ADDRESS(name) &name##_probe,
const struct probe *const probes[] = { PROBE_LIST(ADDRESS) };
const unsigned n_probes = sizeof(probes) / sizeof(probes[0]);

const struct probe *probe_find(const char *name)
{
	for (unsigned i = 0; i < n_probes; i++)
		if (!strcmp(probes[i]->name, name))
			return probes[i];
	return NULL;
}

unsigned probe_index(const struct probe *probe)
{
	unsigned i = 0;

	while (probes[i] != probe)
		i++;
	return i;
}

int probe_fail(struct probe_run *run, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(run->reason, sizeof(run->reason), format, args);
	va_end(args);
	return err;
}

/* The part of a section's name after its kind: the hook. */
static const char *hook_of(const struct bpf_program *program)
{
	const char *slash = strchr(bpf_program__section_name(program), '/');

	return slash ? slash + 1 : "";
}

static bool section_is(const struct bpf_program *program, const char *kind)
{
	size_t len = strlen(kind);
	const char *section = bpf_program__section_name(program);

	return !strncmp(section, kind, len) && section[len] == '/';
}

static int check_kprobe(struct probe_run *run, const char *hook)
{
	char symbol[128];
	int err = kern_try_kprobe();

	if (err == -EACCES || err == -EPERM)
		return probe_fail(run, err, "no permission for kprobes: root, CAP_SYS_ADMIN or sysctl kernel.perf_event_paranoid=2 gives it");
	if (err)
		return probe_fail(run, err, "the kernel has no kprobes");
	err = kern_symbol(PROC_KALLSYMS, hook, symbol, sizeof(symbol));
	return err ? probe_fail(run, err, "the kernel has no function %s", hook) : 0;
}

static int check_netfilter(struct probe_run *run)
{
	int err = kern_try_netfilter();

	if (err == -EPERM)
		return probe_fail(run, err, "no permission for netfilter programs: they need root or CAP_NET_ADMIN");
	if (err)
		return probe_fail(run, err, "the kernel has no netfilter programs (%s)", strerror(-err));
	if (run->config->all_netns && !user_keeps(CAP_SYS_ADMIN))	/* namespaces come and go */
		return probe_fail(run, -EPERM, "--netns all enters network namespaces: that needs root or CAP_SYS_ADMIN, and not --user");
	return 0;
}

static int check_hook(struct probe_run *run, const struct bpf_program *program)
{
	const char *hook = hook_of(program);
	int err;

	if (section_is(program, "tp_btf")) {
		return kern_has_tracepoint(hook) ? 0 : probe_fail(run, -ENOENT, "the kernel has no tracepoint %s", hook);
	}
	if (section_is(program, "fentry") || section_is(program, "fexit")) {
		if (!kern_has_function(hook))
			return probe_fail(run, -ENOENT, "the kernel has no function %s", hook);
		err = kern_try_fentry(hook);
		return err ? probe_fail(run, err, "the kernel refuses fentry programs (%s)", strerror(-err)) : 0;
	}
	if (section_is(program, "kprobe") || section_is(program, "kretprobe"))
		return check_kprobe(run, hook);
	return section_is(program, "netfilter") ? check_netfilter(run) : 0;	/* iterators */
}

static int add_hook(struct probe_run *run, const char *hook)
{
	size_t used = strlen(run->hooks), len = strlen(hook);
	const char *there = strstr(run->hooks, hook);

	if (there && (there[len] == ',' || !there[len]))
		return 0;
	if (used + len + 2 > sizeof(run->hooks))
		return probe_fail(run, -ENOSPC, "too many hooks");
	sprintf(run->hooks + used, "%s%s", used ? "," : "", hook);
	return 0;
}

int probe_load_only(struct probe_run *run, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(run->object, name);

	if (!program)
		return probe_fail(run, -ENOENT, "there is no program %s", name);
	return bpf_program__set_autoload(program, true);
}

/* libbpf knows no such section (1.1), or none with a hook in its name (1.3). */
static int set_type(struct bpf_program *program)
{
	if (!section_is(program, "netfilter"))
		return 0;
	return bpf_program__set_type(program, KERN_PROG_TYPE_NETFILTER) ?:
	       bpf_program__set_expected_attach_type(program, KERN_ATTACH_NETFILTER);
}

int probe_enable(struct probe_run *run, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(run->object, name);
	int err;

	if (!program || run->n_programs == MAX_PROGRAMS)
		return probe_fail(run, -ENOENT, "there is no program %s", name);
	err = check_hook(run, program) ?: add_hook(run, hook_of(program)) ?: set_type(program) ?:
	      bpf_program__set_autoload(program, true);
	if (!err)
		run->programs[run->n_programs++] = program;
	return err;
}

int probe_enable_all(struct probe_run *run, const char *const *names)
{
	int err = 0;

	for (; names && *names && !err; names++)
		err = probe_enable(run, *names);
	return err;
}

static void unload(struct probe_run *run)
{
	for (unsigned i = 0; i < run->n_programs; i++)
		bpf_link__destroy(run->links[i]);
	memset(run->links, 0, sizeof(run->links));
	netfilter_free(run->netfilter);
	run->netfilter = NULL;
	ring_free(run->ring);
	run->ring = NULL;
	if (run->probe->object)
		bpf_object__close(run->object);
	run->object = NULL;
	run->n_programs = 0;
	run->hooks[0] = 0;
}

/*
 * What the kernel itself lacks, a weak function say, libbpf looks for in modules, once. Without CAP_SYS_ADMIN it may not, and before 1.3 (3f33f9a6b8f7)
 * takes that for an error. So it is made to look when nothing depends on it; the kernel's BTF that it reads for that is freed by loading only.
 */
static void skip_modules(struct bpf_object *object)
{
	if (!user_has(CAP_SYS_ADMIN))
		bpf_program__set_attach_target(bpf_object__next_program(object, NULL), 0, "netline_try");
}

/* Opens the object and enables the programs of one way. */
static int open_way(struct probe_run *run, const struct way *way)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = run->probe->name);
	size_t size = (const char *)run->probe->object_end - (const char *)run->probe->object;

	run->object = bpf_object__open_mem(run->probe->object, size, &opts);
	if (!run->object)
		return probe_fail(run, -errno, "cannot open the BPF object: %s", strerror(errno));
	run->way = way;
	run->settings = (struct settings){ 0 };
	return probe_enable_all(run, way->programs) ?: probe_enable_all(run, run->probe->programs) ?:
	       (run->probe->configure ? run->probe->configure(run) : 0);
}

static struct bpf_map *ring_map(const struct probe_run *run)
{
	return bpf_object__find_map_by_name(run->object, run->probe->ring ?: "events");
}

static int prepare_ring(struct probe_run *run)
{
	struct bpf_map *map = ring_map(run);

	run->settings.no_wakeups = kern_preempts_tracepoints();
	run->settings.wake_bytes = run->config->ring_bytes / 4 < MAX_WAKE_BYTES ? run->config->ring_bytes / 4 : MAX_WAKE_BYTES;
	return map ? bpf_map__set_max_entries(map, run->config->ring_bytes) : 0;
}

static int open_ring(struct probe_run *run)
{
	struct bpf_map *map = ring_map(run);
	int err = map ? ring_new(bpf_map__fd(map), run->config->ring_bytes, &run->ring) : 0;

	return err ? probe_fail(run, err, "cannot map the ring buffer: %s", strerror(-err)) : 0;
}

const struct probe *probe_needs(const struct probe *probe, const struct probe_config *config)
{
	return probe->needs && (!probe->needs_if || probe->needs_if(config)) ? probe->needs : NULL;
}

/* Maps of the socket table that the object has as well become the table's; what the table has not, or without a table, is not there. */
static int share_table(struct probe_run *run)
{
	static const char *const names[] = { "sockets", "more_sockets", ".bss.spilled", "by_address", "listening" };
	int err = 0;

	if (run->table)
		run->settings.more_sockets = run->table->settings.more_sockets;
	for (unsigned i = 0; run->probe->needs && i < sizeof(names) / sizeof(names[0]) && !err; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(run->object, names[i]);

		if (map && (!run->table || probe_map_fd(run->table, names[i]) < 0))
			err = bpf_map__set_autocreate(map, false);
		else if (map)
			err = bpf_map__reuse_fd(map, probe_map_fd(run->table, names[i]));
	}
	return err ? probe_fail(run, err, "cannot share the socket table: %s", strerror(-err)) : 0;
}

static int load(struct probe_run *run)
{
	struct bpf_map *map = bpf_object__find_map_by_name(run->object, ".rodata.settings");
	int err = map ? bpf_map__set_initial_value(map, &run->settings, sizeof(run->settings)) : 0;

	if (!err) {
		skip_modules(run->object);
		err = bpf_object__load(run->object);
	}
	if (err == -EPERM && kern_limits_maps())
		return probe_fail(run, err, "the limit of locked memory is too low: ulimit -l unlimited, or CAP_SYS_RESOURCE");
	if (err)
		return probe_fail(run, err, "the kernel refuses the programs: %s", strerror(-err));
	return open_ring(run);
}

/* As libbpf does it by the program's section, but for kprobes: the function's symbol may have a suffix. */
static struct bpf_link *attach_program(struct bpf_program *program)
{
	bool returns = section_is(program, "kretprobe");
	char symbol[128];

	if ((!returns && !section_is(program, "kprobe")) || kern_symbol(PROC_KALLSYMS, hook_of(program), symbol, sizeof(symbol)))
		return bpf_program__attach(program);
	return bpf_program__attach_kprobe(program, returns, symbol);
}

static int attach_one(struct probe_run *run, unsigned i)
{
	struct bpf_program *program = run->programs[i];

	if (section_is(program, "netfilter"))
		return netfilter_attach(&run->netfilter, bpf_program__fd(program), hook_of(program), run->config->all_netns);
	run->links[i] = attach_program(program);
	return run->links[i] ? 0 : -errno;
}

static int attach(struct probe_run *run)
{
	int err = 0;

	for (unsigned i = 0; i < run->n_programs && !err; i++) {
		err = attach_one(run, i);
		if (err)
			probe_fail(run, err, "cannot attach to %s: %s", hook_of(run->programs[i]), strerror(-err));
	}
	return err;
}

static int start_way(struct probe_run *run, const struct way *way)
{
	const struct probe *probe = run->probe;

	return open_way(run, way) ?: share_table(run) ?: prepare_ring(run) ?: load(run) ?: (probe->loaded ? probe->loaded(run) : 0) ?:
	       attach(run) ?: (probe->attached ? probe->attached(run) : 0);
}

/* Tries the ways in order; `try` leaves the object open on success. */
static int first_way(struct probe_run *run, int (*try)(struct probe_run *run, const struct way *way))
{
	char reasons[sizeof(run->reason)] = "";
	int err = -EOPNOTSUPP;

	if (!kern_usable(run->reason, sizeof(run->reason)))
		return -EPERM;
	for (unsigned i = 0; i < run->probe->n_ways; i++) {
		const struct way *way = &run->probe->ways[i];

		if (run->config->way && run->config->way != way->kind)
			continue;
		err = try(run, way);
		if (!err)
			return 0;
		log_debug("%s: %s: %s", run->probe->name, probe_ways[way->kind], run->reason);
		snprintf(reasons + strlen(reasons), sizeof(reasons) - strlen(reasons), "%s%s: %.120s", reasons[0] ? "; " : "",
			 probe_ways[way->kind], run->reason);
		unload(run);
	}
	run->way = NULL;
	if (!reasons[0])
		return probe_fail(run, -EOPNOTSUPP, "it has no way %s", probe_ways[run->config->way]);
	strcpy(run->reason, reasons);
	return err;
}

static int begin(struct probe_run *run, const struct probe *probe, const struct probe_config *config)
{
	*run = (struct probe_run){ .probe = probe, .config = config };
	run->record = config->summary && probe->summary_record ? probe->summary_record : probe->record;
	run->state = calloc(1, probe->state_size + 1);
	return run->state ? 0 : probe_fail(run, -ENOMEM, "no memory");
}

/* A part of the table's object, which is loaded and attached. */
static int start_part(struct probe_run *run)
{
	run->object = run->table->object;
	run->way = run->table->way;
	run->settings = run->table->settings;
	strcpy(run->hooks, run->table->hooks);
	return open_ring(run);
}

int probe_start(struct probe_run *run, const struct probe *probe, const struct probe_config *config, struct probe_run *table,
		unsigned table_uses)
{
	int err = begin(run, probe, config);

	run->table = table;
	run->table_uses = table_uses;
	if (!err && table && !table->object) {
		strcpy(run->reason, table->reason);
		return -EOPNOTSUPP;
	}
	return err ?: probe->object ? first_way(run, start_way) : start_part(run);
}

int probe_choose(struct probe_run *run, const struct probe *probe, const struct probe_config *config)
{
	int err = begin(run, probe->object ? probe : probe->needs, config);

	run->table_uses = probe->table;
	return err ?: first_way(run, open_way);
}

void probe_follow(struct probe_run *run)
{
	netfilter_follow(run->netfilter);
}

void probe_detach(struct probe_run *run)
{
	if (run->is_detached)
		return;
	for (unsigned i = run->n_programs; i-- > 0;) {
		bpf_link__destroy(run->links[i]);
		run->links[i] = NULL;
	}
	netfilter_free(run->netfilter);
	run->netfilter = NULL;
	run->is_detached = true;
	if (run->probe->detached)
		run->probe->detached(run);
}

void probe_free(struct probe_run *run)
{
	if (run->state && run->probe->release)
		run->probe->release(run);
	unload(run);
	free(run->state);
	run->state = NULL;
}
