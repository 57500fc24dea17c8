/* SPDX-License-Identifier: BSD-2-Clause */
/* All probes, in the order of `netline list`: for each name there is <name>_probe in agent/probes/<name>.c. */
#define PROBE_LIST(PROBE) \
	PROBE(nic_throughput) \
	PROBE(tcp_connection) \
	PROBE(tcp_bytes) \
	PROBE(tcp_inerrs) \
	PROBE(delay_analysis_in) \
	PROBE(delay_analysis_out)
