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
	uint64_t end = record->time.ns;

	if (record->connection == CONNECTION_OPEN) {
		end = interval->start;
		record->time = probe_start_of(interval);
	}
	if (record->connection == CONNECTION_OPEN || end < interval->start)
		interval = run->last_interval.start ? &run->last_interval : interval;
	record->start = probe_start_of(interval);
	record->duration_ns = end > interval->start ? end - interval->start : 0;
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

static void emit_closed(struct probe_run *run, const void *record)
{
	run->sink(run, record);	/* the kernel's side has counted it */
}

/* What closed after the last walk, and of what the end was missed. */
static void detached(struct probe_run *run)
{
	if (probe_iterate(run, "walk_closed", "closed", sizeof(struct tcp_bytes), emit_closed) ||
	    probe_iterate(run, "find_missed", "sockets", 0, NULL))
		log_error("tcp_bytes: connections that have just closed are not reported: %s", run->reason);
}

const struct probe tcp_bytes_probe = {
	.name = "tcp_bytes",
	.summary = "bytes of each TCP connection with traffic, every interval and when it is closed",
	.record = &tcp_bytes_record,
	.needs = &tcp_connection_probe,
	.table = TABLE_BYTES,
	.ring = "bytes_events",
	.counters = "bytes_counters",
	.walks = (const struct probe_walk[]){ { "walk_sockets", "sockets" }, { "walk_queue", "accept_queue" }, { "walk_closed", "closed" }, { 0 } },
	.tick = tick,
	.complete = complete,
	.detached = detached,
	.filters = FILTER_PID | FILTER_PORT | FILTER_FAMILY | FILTER_CGROUP | FILTER_CGROUP_SET | FILTER_MNTNS_SET,
	.by_default = true,
};
