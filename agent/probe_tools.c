/* SPDX-License-Identifier: BSD-2-Clause */
/* What probes' own code uses: maps, iterators, settings that several probes share. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "probe.h"

#define READ_BYTES 65536

int probe_map_fd(const struct probe_run *run, const char *map)
{
	return bpf_object__find_map_fd_by_name(run->object, map);
}

void probe_emit(struct probe_run *run, const void *wire)
{
	run->produced_here++;
	run->sink(run, wire);
}

void probe_begin_interval(struct probe_run *run, uint64_t now)
{
	run->interval_start = now;
	run->interval_offset = clock_offset();
}

nl_time probe_interval_start(const struct probe_run *run)
{
	return (nl_time){ run->interval_start + run->interval_offset - clock_offset() };
}

/* Reads to the end; an element may be cut between two reads. */
static int read_elements(struct probe_run *run, int fd, size_t size, void (*take)(struct probe_run *run, const void *element))
{
	char *room = malloc(READ_BYTES);
	size_t have = 0, at;
	ssize_t n;

	if (!room)
		return -ENOMEM;
	while ((n = read(fd, room + have, READ_BYTES - have)) != 0) {
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			break;
		have += n;
		for (at = 0; take && have - at >= size; at += size)
			take(run, room + at);
		have = take ? have - at : 0;
		memmove(room, room + at, have);
	}
	free(room);
	return n < 0 ? -errno : 0;
}

int probe_iterate(struct probe_run *run, const char *name, const char *map, size_t size,
		  void (*take)(struct probe_run *run, const void *element))
{
	union bpf_iter_link_info info = { .map.map_fd = map ? probe_map_fd(run, map) : 0 };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_program *program = bpf_object__find_program_by_name(run->object, name);
	struct bpf_link *link = bpf_program__attach_iter(program, map ? &opts : NULL);
	int fd, err;

	if (!link)
		return probe_fail(run, -errno, "cannot attach the iterator %s: %s", name, strerror(errno));
	fd = bpf_iter_create(bpf_link__fd(link));
	err = fd < 0 ? -errno : read_elements(run, fd, size, take);
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
	return err ? probe_fail(run, err, "cannot read the iterator %s: %s", name, strerror(-err)) : 0;
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
}

int probe_connection_sets(struct probe_run *run)
{
	return probe_fill_set(run, "pids", run->config->pids, sizeof(run->config->pids[0]), run->config->n_pids) ?:
	       probe_fill_set(run, "ports", run->config->ports, sizeof(run->config->ports[0]), run->config->n_ports);
}
