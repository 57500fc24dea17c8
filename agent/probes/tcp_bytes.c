/* SPDX-License-Identifier: BSD-2-Clause */
/* A part of tcp_connection's object: see bpf/lib/bytes.bpf.h. */
#include "../../schema/tcp_bytes.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "../log.h"
#include "../probe.h"

extern const struct probe tcp_connection_probe;

/* Those of the walk have no time yet: they belong to the interval that has just ended. */
static void complete(const struct probe_run *run, void *wire)
{
	struct tcp_bytes *record = wire;
	const struct interval *interval = &run->interval;
	bool source_is_local = record->role != ROLE_SERVER;

	if (record->connection == CONNECTION_OPEN)
		record->time.ns = interval->start;
	if (record->connection == CONNECTION_OPEN || record->time.ns < interval->start)
		interval = run->last_interval.start ? &run->last_interval : interval;
	record->start = probe_start_of(interval);
	record->duration_ns = record->time.ns > interval->start ? record->time.ns - interval->start : 0;
	record->bytes = record->sent + record->received;
	record->source_bytes = source_is_local ? record->sent : record->received;
	record->destination_bytes = source_is_local ? record->received : record->sent;
}

/* Connections that begin from now on are for the next walk. */
static void tick(struct probe_run *run, uint64_t now)
{
	uint32_t key = 0;

	if (bpf_map_update_elem(probe_map_fd(run, ".bss.walk_began"), &key, &now, BPF_ANY))
		log_error("tcp_bytes: cannot tell the walk its time: %s", strerror(errno));
}

const struct probe tcp_bytes_probe = {
	.name = "tcp_bytes",
	.summary = "bytes of each TCP connection with traffic, every interval and when it is closed",
	.record = &tcp_bytes_record,
	.needs = &tcp_connection_probe,
	.table = TABLE_BYTES,
	.ring = "bytes_events",
	.counters = "bytes_counters",
	.walks = (const struct probe_walk[]){ { "walk_sockets", "sockets" }, { "walk_queue", "accept_queue" }, { 0 } },
	.tick = tick,
	.complete = complete,
	.filters = FILTER_PID | FILTER_PORT | FILTER_FAMILY | FILTER_CGROUP | FILTER_CGROUP_SET | FILTER_MNTNS_SET,
	.by_default = true,
};
