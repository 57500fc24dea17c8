/* SPDX-License-Identifier: BSD-2-Clause */
/* A part of tcp_connection's object: see bpf/lib/bytes.bpf.h. */
#include "../../schema/tcp_bytes.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "../log.h"
#include "../probe.h"

/* The programs tell all that a connection has moved when it is closed. Rings are not read while a walk reads, so none changes `told` now. */
static void take_off_told(const struct probe_run *run, struct tcp_bytes *record)
{
	struct progress all = { record->sent, record->received, record->retransmitted, record->segments_sent, record->segments_received }, rest;
	int map = probe_map_fd(run, "told");
	struct told told;

	if (!record->told_key || bpf_map_lookup_elem(map, &record->told_key, &told) || told.start_ns != record->told_start)
		return;
	bpf_map_delete_elem(map, &record->told_key);
	progress_advance(&told.progress, &all, &rest);
	record->sent = rest.sent;
	record->received = rest.received;
	record->retransmitted = rest.retransmitted;
	record->segments_sent = rest.segments_sent;
	record->segments_received = rest.segments_received;
	record->sent_total = all.sent;
	record->received_total = all.received;
}

/* Those of the walk have no time yet: they belong to the interval that has just ended. */
static void complete(const struct probe_run *run, void *wire)
{
	struct tcp_bytes *record = wire;
	const struct interval *interval = &run->interval;
	bool source_is_local = record->role != ROLE_SERVER;
	uint64_t end = record->time.ns;

	take_off_told(run, record);
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
	if (probe_set_variable(run, ".bss.walk_began", &now))
		log_error("tcp_bytes: cannot tell the walk its time: %s", run->reason);
}

static void detached(struct probe_run *run)
{
	if (probe_each(run, "find_missed", "sockets", 0, NULL) ||
	    (run->settings.more_sockets && probe_each(run, "find_missed", "more_sockets", 0, NULL)))
		log_error("tcp_bytes: cannot tell of how many connections the end was missed: %s", run->reason);
}

const struct probe tcp_bytes_probe = {
	.name = "tcp_bytes",
	.summary = "bytes of each TCP connection with traffic, every interval and when it is closed",
	.record = &tcp_bytes_record,
	.needs = &tcp_connection_probe,
	.table = TABLE_BYTES,
	.ring = "bytes_events",
	.counters = "bytes_counters",
	.walks = (const struct probe_walk[]){
		{ "walk_sockets", "sockets", NULL },
		{ "walk_sockets", "more_sockets", ".bss.spilled" },
		{ "walk_queue", "accept_queue", NULL },
		{ 0 },
	},
	.tick = tick,
	.complete = complete,
	.detached = detached,
	.filters = FILTER_PID | FILTER_PORT | FILTER_FAMILY | FILTER_CGROUP | FILTER_CGROUP_SET | FILTER_MNTNS_SET,
	.by_default = true,
};
