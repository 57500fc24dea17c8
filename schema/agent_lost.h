/* SPDX-License-Identifier: BSD-2-Clause */
/* agent_lost: events or records were lost; at most once a second per stage, reason, dataset and output. Filled by the agent. */
#ifndef NETLINE_AGENT_LOST_H
#define NETLINE_AGENT_LOST_H

#include "record.h"

enum lost_stage { LOST_KERNEL, LOST_MAP, LOST_FORMAT, LOST_OUTPUT };
enum lost_reason {
	LOST_RING_FULL, LOST_RECURSION, LOST_MISSED,			/* kernel */
	LOST_MAP_FULL, LOST_UNMATCHED,					/* map */
	LOST_LINE_TOO_LONG,						/* format */
	LOST_QUEUE_FULL, LOST_DISK_FULL, LOST_WRITE_ERROR, LOST_NO_READER, LOST_SHUTDOWN, /* output */
	LOST_REASONS
};

struct agent_lost {
	nl_time time;
	__u64 count;
	__u64 count_total;
	char message[192];
	char dataset[48];
	char output[112];
	__u8 stage;
	__u8 reason;
	__u8 pad[6];
};
_Static_assert(sizeof(struct agent_lost) == 384, "no padding without a name");

#ifndef __bpf__
static const char *const lost_stages[] = { "kernel", "map", "format", "output" };
static const char *const lost_reasons[] = {
	"ring_full", "recursion", "missed", "map_full", "unmatched", "line_too_long",
	"queue_full", "disk_full", "write_error", "no_reader", "shutdown",
};

#define S struct agent_lost
static const struct row agent_lost_rows[] = {
	ROW(S, "@timestamp", time, NULL, "When the loss was found"),
	ROW(S, "message", message, NULL, "The loss in words"),
	ROW_ENUM(S, "event.reason", reason, lost_reasons, "Why they were lost"),
	ROW_FACT("agent.version", FACT_VERSION, "Version of netline"),
	ROW_ENUM(S, "netline.lost.stage", stage, lost_stages, "Where they were lost"),
	ROW(S, "netline.lost.dataset", dataset, NULL, "The dataset that they belong to"),
	ROW(S, "netline.lost.output", output, NULL, "The output that lost them", IF_ZERO("the stage is not output")),
	ROW(S, "netline.lost.count", count, "1", "How many were lost since the last such record"),
	ROW(S, "netline.lost.count_total", count_total, "1", "How many were lost since the start of the run"),
};
#undef S

static const struct record agent_lost_record = {
	RECORD_NAME("agent_lost"),
	.title = "Events or records were lost, and how many",
	.stream = "logs",
	.event_kind = "pipeline_error",
	.event_category = "process",
	.event_type = "info",
	.event_action = "events-lost",
	.size = sizeof(struct agent_lost),
	.rows = agent_lost_rows,
	.n_rows = sizeof(agent_lost_rows) / sizeof(agent_lost_rows[0]),
};
#endif
#endif
