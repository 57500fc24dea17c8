/* SPDX-License-Identifier: BSD-2-Clause */
#include "../../schema/tcp_connection.h"

#include <bpf/libbpf.h>
#include <unistd.h>

#include "../kern.h"
#include "../log.h"
#include "../probe.h"

BPF_OBJECT(tcp_connection);

/*
 * Entries of the socket table are allocated as they come, 120 bytes each; its buckets, 16 bytes a socket that there is room for, when it
 * is made: 0.05 % of the machine's memory, 1 to 16 MiB. A walk looks at every bucket, so most machines have no use for more than a
 * smaller map before that. Where programs may not allocate there is one map, made whole.
 */
#define MEMORY_PER_SOCKET 32768
#define FIRST_SOCKETS (1 << 15)
#define MIN_SOCKETS (1 << 16)
#define MAX_SOCKETS (1 << 20)

static uint32_t table_size(void)
{
	uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	uint32_t size = MIN_SOCKETS;

	while (size < MAX_SOCKETS && 2 * size <= bytes / MEMORY_PER_SOCKET)
		size *= 2;
	return size;
}

/* More of them, where a program is skipped not just because a softirq interrupts it, but as long as a task is preempted in it. */
static int enable_stand_ins(struct probe_run *run)
{
	static const char *const of_states[] = { "set_state_preempted", "set_state_preempted_2", "set_state_preempted_3", "set_state_preempted_4",
						 "set_state_preempted_5", "set_state_preempted_6", NULL };
	static const char *const of_accepts[] = { "accept_preempted", "accept_preempted_2", NULL };

	return probe_enable_all(run, of_states) ?: probe_enable_all(run, run->way->kind == WAY_TRACEPOINT ? of_accepts : NULL);
}

/* What the table is not asked for takes no memory. */
static int drop_maps(struct probe_run *run, unsigned use, const char *const *names)
{
	int err = 0;

	for (; *names && !(run->table_uses & use) && !err; names++)
		err = bpf_map__set_autocreate(bpf_object__find_map_by_name(run->object, *names), false);
	return err;
}

static int size_map(struct probe_run *run, const char *name, uint32_t size, bool allocates)
{
	struct bpf_map *map = bpf_object__find_map_by_name(run->object, name);

	return bpf_map__set_max_entries(map, size) ?: bpf_map__set_map_flags(map, allocates ? BPF_F_NO_PREALLOC : 0);
}

static int size_tables(struct probe_run *run)
{
	bool allocates = probe_may_allocate(run);
	uint32_t size = allocates ? table_size() : MIN_SOCKETS;

	run->settings.more_sockets = allocates;
	return size_map(run, "sockets", allocates ? FIRST_SOCKETS : size, allocates) ?: size_map(run, "more_sockets", size, true) ?:
	       size_map(run, "told", size, true) ?: size_map(run, "by_address", size, allocates) ?:
	       size_map(run, "listening", MIN_SOCKETS, allocates) ?:
	       (allocates ? 0 : bpf_map__set_autocreate(bpf_object__find_map_by_name(run->object, "more_sockets"), false)) ?:
	       drop_maps(run, TABLE_BYTES, (const char *const[]){ "told", "telling", "bytes_events", "bytes_counters", NULL }) ?:
	       drop_maps(run, TABLE_ADDRESSES, (const char *const[]){ "by_address", NULL });
}

static int configure(struct probe_run *run)
{
	int err = size_tables(run);

	probe_connection_settings(run);
	run->settings.actions = run->table_uses & TABLE_RECORDS ? run->config->actions : 0;
	run->settings.bytes = !!(run->table_uses & TABLE_BYTES);
	run->settings.by_address = !!(run->table_uses & TABLE_ADDRESSES);
	err = err ?: probe_reuse_user_sets(run);
	if (!err && run->settings.bytes)
		err = bpf_map__set_max_entries(bpf_object__find_map_by_name(run->object, "bytes_events"), run->config->ring_bytes) ?:
		      probe_load_only(run, "walk_sockets") ?: probe_load_only(run, "walk_queue") ?:
		      probe_load_only(run, "find_missed");
	run->settings.cookies = kern_has_socket_cookie();
	/* io_uring's accept; its completion event has had this shape (ring, request, cqe) since 6.15; up to 5.13 the third is a number */
	if (!err && run->way->kind == WAY_TRACEPOINT && kern_tracepoint_takes("io_uring_complete", 2, "io_uring_cqe"))
		err = probe_enable(run, "accept_io_uring");
	if (!err && kern_preempts_tracepoints())
		err = enable_stand_ins(run);
	return err ?: probe_load_only(run, "find_listeners") ?: probe_load_only(run, "find_sockets") ?:
		      probe_load_only(run, "find_pending") ?: (kern_iterates_maps() ? probe_load_only(run, "list_keys") : 0);
}

static int attached(struct probe_run *run)
{
	return probe_iterate(run, "find_listeners") ?: probe_iterate(run, "find_sockets");
}

static void emit_pending(struct probe_run *run, const void *record)
{
	run->sink(run, record);	/* the kernel's side has counted it */
}

static void detached(struct probe_run *run)
{
	if (probe_each(run, "find_pending", "accept_queue", sizeof(struct tcp_connection), emit_pending))
		log_error("tcp_connection: connections that still wait for accept are not reported: %s", run->reason);
}

static const struct way ways[] = {
	{ WAY_FENTRY, (const char *const[]){ "accept_fentry", NULL } },
	{ WAY_KPROBE, (const char *const[]){ "accept_kprobe", NULL } },
	{ WAY_TRACEPOINT, (const char *const[]){ "accept_sys_exit", NULL } },
};

const struct probe tcp_connection_probe = {
	.name = "tcp_connection",
	.summary = "TCP connections: opened, accepted or failed, by whom, and how long it took",
	.record = &tcp_connection_record,
	.object = tcp_connection_object,
	.object_end = tcp_connection_object_end,
	.ways = ways,
	.n_ways = sizeof(ways) / sizeof(ways[0]),
	.programs = (const char *const[]){ "set_state", "set_state_nested", NULL },	/* after accept, so that no accept of a connection they tell of is missed */
	.may_miss = (const char *const[]){ "accept_fentry", "accept_kprobe", "accept_sys_exit", "accept_io_uring", NULL },	/* told when the connection ends */
	.table = TABLE_RECORDS,
	.filters = FILTER_PID | FILTER_PORT | FILTER_DIRECTION | FILTER_FAMILY | FILTER_CGROUP | FILTER_CGROUP_SET | FILTER_MNTNS_SET,
	.by_default = true,
	.configure = configure,
	.loaded = probe_connection_sets,
	.attached = attached,
	.detached = detached,
};
