/* SPDX-License-Identifier: BSD-2-Clause */
/* agent_probe: what a probe attached to, or why it could not. Filled by the agent. */
#ifndef NETLINE_AGENT_PROBE_H
#define NETLINE_AGENT_PROBE_H

#include "record.h"

enum probe_action { PROBE_ATTACHED, PROBE_UNAVAILABLE, PROBE_DETACHED };
enum probe_way { WAY_NONE, WAY_FENTRY, WAY_KPROBE, WAY_TRACEPOINT };

struct agent_probe {
	nl_time time;
	char name[32];
	char hooks[512];
	char reason[400];
	__u8 action;
	__u8 way;
	__u8 pad[6];
};
_Static_assert(sizeof(struct agent_probe) == 960, "no padding without a name");

#ifndef __bpf__
static const char *const probe_actions[] = { "probe-attached", "probe-unavailable", "probe-detached" };
static const char *const probe_ways[] = { NULL, "fentry", "kprobe", "tracepoint" };

#define S struct agent_probe
static const struct row agent_probe_rows[] = {
	ROW(S, "@timestamp", time, NULL, "When it happened"),
	ROW_ENUM(S, "event.action", action, probe_actions, "What happened to the probe"),
	ROW(S, "event.reason", reason, NULL, "Why the probe is unavailable", IF_ZERO("the action is not probe-unavailable")),
	ROW_FACT("host.os.kernel", FACT_KERNEL, "Release of the running kernel"),
	ROW_FACT("agent.version", FACT_VERSION, "Version of netline"),
	ROW(S, "netline.probe.name", name, NULL, "The probe"),
	ROW_ENUM(S, "netline.probe.way", way, probe_ways, "The way in which it is attached to the kernel", IF_ZERO("the probe is unavailable")),
	ROW_LIST(S, "netline.probe.hooks", hooks, "The kernel's hooks that it is attached to", IF_ZERO("the probe is unavailable")),
};
#undef S

static const struct record agent_probe_record = {
	RECORD_NAME("agent_probe"),
	.title = "A probe was attached or detached, or could not be",
	.stream = "logs",
	.event_kind = "event",
	.event_category = "process",
	.event_type = "info",
	.size = sizeof(struct agent_probe),
	.rows = agent_probe_rows,
	.n_rows = sizeof(agent_probe_rows) / sizeof(agent_probe_rows[0]),
};
#endif
#endif
