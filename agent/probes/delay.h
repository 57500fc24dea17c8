/* SPDX-License-Identifier: BSD-2-Clause */
/* What the agent's side of delay_analysis_in and delay_analysis_out shares: settings, filters, and summaries. */
#ifndef NETLINE_DELAY_PROBES_H
#define NETLINE_DELAY_PROBES_H

#include "../../schema/delay.h"
#include "../probe.h"

#define DELAY_FILTERS (FILTER_NIC | FILTER_PID | FILTER_PORT | FILTER_FAMILY | FILTER_SOURCE_PORT | FILTER_DESTINATION_PORT | \
		       FILTER_EXCLUDED_PORT | FILTER_SAMPLE | FILTER_LATENCY | FILTER_SUMMARY)

struct delay_state {
	uint8_t direction;
	uint32_t tick;
	struct delay_known *known;	/* what had been counted at the tick before, by NIC */
	unsigned n_known;
};

/* `owners`: the probe looks into the socket table. */
int delay_configure(struct probe_run *run, uint8_t direction, bool owners);
int delay_loaded(struct probe_run *run);
void delay_tick(struct probe_run *run, uint64_t now);
uint64_t delay_weight(const struct probe_run *run, const void *wire);
void delay_release(struct probe_run *run);
#endif
