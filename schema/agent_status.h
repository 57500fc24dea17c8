/* SPDX-License-Identifier: BSD-2-Clause */
/* agent_status: every 10 s and at the end, one record for the agent, for each probe and for each output.
 * Filled by the agent: members that do not apply to the scope have all bits set, texts are empty. */
#ifndef NETLINE_AGENT_STATUS_H
#define NETLINE_AGENT_STATUS_H

#include "record.h"

enum status_scope { STATUS_AGENT, STATUS_PROBE, STATUS_OUTPUT };
enum output_state { OUTPUT_NONE, OUTPUT_OPEN, OUTPUT_RETRYING, OUTPUT_CLOSED };

struct agent_status {
	nl_time time;
	__u64 uptime_ns;
	__u64 cpu_ns;
	__u64 rss_bytes;
	__u64 produced;
	__u64 emitted;
	__u64 filtered;
	__u64 lost;
	__u64 ring_peak_bytes;
	__u64 bpf_runs;
	__u64 bpf_ns;
	__u64 output_emitted;
	__u64 delivered;
	__u64 queued;
	__u64 output_lost;
	__u64 bytes;
	char probe[32];
	char output[112];
	__u8 scope;
	__u8 state;
	__u8 pad[6];
};
_Static_assert(sizeof(struct agent_status) == 280, "no padding without a name");

#ifndef __bpf__
static const char *const status_scopes[] = { "agent", "probe", "output" };
static const char *const output_states[] = { NULL, "open", "retrying", "closed" };

#define S struct agent_status
#define NOT_AGENT IF_MAX("the scope is not agent")
#define NOT_PROBE IF_MAX("the scope is not probe")
#define NOT_OUTPUT IF_MAX("the scope is not output")
static const struct row agent_status_rows[] = {
	ROW(S, "@timestamp", time, NULL, "When the counters were read"),
	ROW_FACT("agent.version", FACT_VERSION, "Version of netline"),
	ROW_ENUM(S, "netline.scope", scope, status_scopes, "What the counters are about"),
	ROW(S, "netline.agent.uptime_ns", uptime_ns, "ns", "Time since the agent started", NOT_AGENT),
	ROW(S, "netline.agent.cpu_ns", cpu_ns, "ns", "CPU time that the agent used, user and system; BPF programs run in the time of others", NOT_AGENT),
	ROW(S, "netline.agent.rss_bytes", rss_bytes, "bytes", "Resident memory of the agent", NOT_AGENT),
	ROW(S, "netline.probe.name", probe, NULL, "The probe", IF_ZERO("the scope is not probe")),
	ROW(S, "netline.events.produced", produced, "1", "Events that the probe saw before filters, and those it is known to have missed: emitted + filtered + lost", NOT_PROBE),
	ROW(S, "netline.events.emitted", emitted, "1", "Events that stand in records", NOT_PROBE),
	ROW(S, "netline.events.filtered", filtered, "1", "Events that the user's filters refused", NOT_PROBE),
	ROW(S, "netline.events.lost", lost, "1", "Events lost between the kernel and the outputs", NOT_PROBE),
	ROW(S, "netline.events.ring_peak_bytes", ring_peak_bytes, "bytes", "Highest fill of the probe's ring buffer that the agent met", IF_MAX("the scope is not probe, or the probe has no ring buffer")),
	ROW(S, "netline.events.bpf_runs", bpf_runs, "1", "Runs of the probe's BPF programs", IF_MAX("the scope is not probe, or the kernel does not count them (sysctl kernel.bpf_stats_enabled)")),
	ROW(S, "netline.events.bpf_ns", bpf_ns, "ns", "Time spent in the probe's BPF programs", IF_MAX("the scope is not probe, or the kernel does not count it (sysctl kernel.bpf_stats_enabled)")),
	ROW(S, "netline.output.name", output, NULL, "The output", IF_ZERO("the scope is not output")),
	ROW_ENUM(S, "netline.output.state", state, output_states, "Whether the output takes records", IF_ZERO("the scope is not output")),
	ROW(S, "netline.output.emitted", output_emitted, "1", "Records given to the output: delivered + queued + lost", NOT_OUTPUT),
	ROW(S, "netline.output.delivered", delivered, "1", "Records that the kernel took", NOT_OUTPUT),
	ROW(S, "netline.output.queued", queued, "1", "Records waiting in the output's queue", NOT_OUTPUT),
	ROW(S, "netline.output.lost", output_lost, "1", "Records that the output could not deliver", NOT_OUTPUT),
	ROW(S, "netline.output.bytes", bytes, "bytes", "Bytes that the kernel took", NOT_OUTPUT),
};
#undef S

static const struct record agent_status_record = {
	RECORD_NAME("agent_status"),
	.title = "Counters of the agent, of a probe or of an output, since the start of the run",
	.stream = "metrics",
	.event_kind = "metric",
	.event_category = "process",
	.event_type = "info",
	.event_action = "agent-status",
	.size = sizeof(struct agent_status),
	.rows = agent_status_rows,
	.n_rows = sizeof(agent_status_rows) / sizeof(agent_status_rows[0]),
};
#endif
#endif
