/* SPDX-License-Identifier: BSD-2-Clause */
/* What probes' own code uses: maps, iterators, elements, settings that several probes share. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "elements.h"
#include "kern.h"
#include "probe.h"

int probe_map_fd(const struct probe_run *run, const char *map)
{
	return bpf_object__find_map_fd_by_name(run->object, map);
}

int probe_set_variable(struct probe_run *run, const char *section, const void *value)
{
	uint32_t key = 0;

	if (bpf_map_update_elem(probe_map_fd(run, section), &key, value, BPF_ANY))
		return probe_fail(run, -errno, "cannot set %s: %s", section, strerror(errno));
	return 0;
}

bool probe_may_allocate(const struct probe_run *run)
{
	return (run->way->kind != WAY_KPROBE && !(run->table_uses & TABLE_OF_KPROBES)) || kern_allocates_in_programs();
}

uint64_t probe_weight(const struct probe_run *run, const void *wire)
{
	return run->probe->weight ? run->probe->weight(run, wire) : 1;
}

void probe_emit(struct probe_run *run, const void *wire)
{
	run->produced_here += probe_weight(run, wire);
	run->sink(run, wire);
}

void probe_begin_interval(struct probe_run *run, uint64_t now)
{
	run->last_interval = run->interval;
	run->interval = (struct interval){ now, clock_offset() };
}

nl_time probe_start_of(const struct interval *interval)
{
	return (nl_time){ interval->start + interval->offset - clock_offset() };
}

int probe_open_iterator(struct probe_run *run, const char *name, int map_fd)
{
	union bpf_iter_link_info info = { .map.map_fd = map_fd };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_program *program = bpf_object__find_program_by_name(run->object, name);
	struct bpf_link *link = bpf_program__attach_iter(program, map_fd < 0 ? NULL : &opts);
	int fd = link ? bpf_iter_create(bpf_link__fd(link)) : -1;

	if (fd < 0)
		fd = probe_fail(run, -errno, "cannot open the iterator %s: %s", name, strerror(errno));
	bpf_link__destroy(link);
	return fd;
}

ssize_t probe_read_iterator(int fd, void *ret_written, size_t room)
{
	ssize_t n;

	do
		n = read(fd, ret_written, room);
	while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n < 0 ? -errno : n;
}

int probe_iterate(struct probe_run *run, const char *name)
{
	int fd = probe_open_iterator(run, name, -1);
	char byte;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = probe_read_iterator(fd, &byte, sizeof(byte));
	close(fd);
	return n < 0 ? probe_fail(run, n, "cannot read the iterator %s: %s", name, strerror(-n)) : 0;
}

int probe_each(struct probe_run *run, const char *program, const char *map, size_t row_size, void (*take)(struct probe_run *run, const void *row))
{
	size_t room = BATCH_KEYS * MAX_ROW;
	struct elements elements;
	char *rows = malloc(room);
	ssize_t n = -ENOMEM;
	int err = elements_open(&elements, run, program, map, row_size);

	if (err) {
		free(rows);
		return err;
	}
	while (rows && (n = elements_read(&elements, rows, room)) > 0)
		for (ssize_t at = 0; at < n; at += row_size)
			take(run, rows + at);
	elements_close(&elements);
	free(rows);
	return n < 0 ? probe_fail(run, n, "cannot read the elements of %s: %s", map, strerror(-n)) : 0;
}

int probe_fill_set(struct probe_run *run, const char *map, const void *keys, size_t key_size, unsigned n)
{
	const uint8_t yes = 1;

	for (unsigned i = 0; i < n; i++)
		if (bpf_map_update_elem(probe_map_fd(run, map), (const char *)keys + i * key_size, &yes, BPF_ANY))
			return probe_fail(run, -errno, "cannot fill the map %s: %s", map, strerror(errno));
	return 0;
}

void probe_connection_settings(struct probe_run *run)
{
	run->settings.families = run->config->families;
	run->settings.by_pid = run->config->n_pids > 0;
	run->settings.by_port = run->config->n_ports > 0;
	run->settings.cgroup = run->config->cgroup;
	run->settings.by_cgroup_set = run->config->cgroup_map[0];
	run->settings.by_mntns_set = run->config->mntns_map[0];
}

/* The user's map in the place of ours. */
static int reuse_pinned(struct probe_run *run, const char *map, const char *option, const char *path)
{
	int fd = *path ? bpf_obj_get(path) : -1, err;

	if (!*path)
		return 0;
	if (fd < 0)
		return probe_fail(run, -errno, "%s %s: %s", option, path, strerror(errno));
	err = bpf_map__reuse_fd(bpf_object__find_map_by_name(run->object, map), fd);
	close(fd);
	return err ? probe_fail(run, err, "%s %s: %s", option, path, strerror(-err)) : 0;
}

int probe_reuse_user_sets(struct probe_run *run)
{
	return reuse_pinned(run, "cgroup_set", "--cgroupmap", run->config->cgroup_map) ?:
	       reuse_pinned(run, "mntns_set", "--mntnsmap", run->config->mntns_map);
}

int probe_connection_sets(struct probe_run *run)
{
	return probe_fill_set(run, "pids", run->config->pids, sizeof(run->config->pids[0]), run->config->n_pids) ?:
	       probe_fill_set(run, "ports", run->config->ports, sizeof(run->config->ports[0]), run->config->n_ports);
}
