/* SPDX-License-Identifier: BSD-2-Clause */
#include "../../schema/tcp_connection.h"

#include <bpf/libbpf.h>
#include <unistd.h>

#include "../kern.h"
#include "../log.h"
#include "../probe.h"

BPF_OBJECT(tcp_connection);

/* The socket table is preallocated, 128 bytes a socket with its share of buckets: 0.2 % of the machine's memory, 2 to 8 MiB. */
#define MEMORY_PER_SOCKET 65536
#define MIN_SOCKETS (1 << 14)
#define MAX_SOCKETS (1 << 16)	/* a larger one is slower: entries are taken from all of it before one is used again */

static uint32_t table_size(void)
{
	uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), sockets = bytes / MEMORY_PER_SOCKET;

	return sockets < MIN_SOCKETS ? MIN_SOCKETS : sockets > MAX_SOCKETS ? MAX_SOCKETS : sockets;
}

/* More of them, where a program is skipped not just because a softirq interrupts it, but as long as a task is preempted in it. */
static int enable_stand_ins(struct probe_run *run)
{
	int err = probe_enable(run, "set_state_preempted") ?: probe_enable(run, "set_state_preempted_2");

	if (!err && run->way->kind == WAY_TRACEPOINT)
		err = probe_enable(run, "accept_preempted") ?: probe_enable(run, "accept_preempted_2");
	return err;
}

static int configure(struct probe_run *run)
{
	int err = bpf_map__set_max_entries(bpf_object__find_map_by_name(run->object, "sockets"), table_size());

	probe_connection_settings(run);
	run->settings.actions = run->config->actions;
	run->settings.cookies = kern_has_socket_cookie();
	/* io_uring's accept; its completion event has had this shape (ring, request, cqe) since 6.15; up to 5.13 the third is a number */
	if (!err && run->way->kind == WAY_TRACEPOINT && kern_tracepoint_takes("io_uring_complete", 2, "io_uring_cqe"))
		err = probe_enable(run, "accept_io_uring");
	if (!err && kern_preempts_tracepoints())
		err = enable_stand_ins(run);
	return err ?: probe_load_only(run, "find_listeners") ?: probe_load_only(run, "find_sockets") ?:
		      probe_load_only(run, "find_pending");
}

static int attached(struct probe_run *run)
{
	return probe_iterate(run, "find_listeners", NULL, 0, NULL) ?: probe_iterate(run, "find_sockets", NULL, 0, NULL);
}

static void emit_pending(struct probe_run *run, const void *record)
{
	run->sink(run, record);	/* the kernel's side has counted it */
}

static void detached(struct probe_run *run)
{
	if (probe_iterate(run, "find_pending", "accept_queue", sizeof(struct tcp_connection), emit_pending))
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
	.filters = FILTER_PID | FILTER_PORT | FILTER_DIRECTION | FILTER_FAMILY | FILTER_CGROUP,
	.by_default = true,
	.configure = configure,
	.loaded = probe_connection_sets,
	.attached = attached,
	.detached = detached,
};
