/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What nic_throughput's programs have counted: a row for each NIC, direction and queue, sorted so that the rows of a NIC stand
 * together, each laid beside the row of the tick before. The kernel's side only ever adds.
 */
#ifndef NETLINE_NIC_COUNTS_H
#define NETLINE_NIC_COUNTS_H

#include "../../schema/control.h"
#include "../probe.h"

struct nic_count {
	struct nic_key key;
	struct nic_counters now;	/* sum of all CPUs */
	uint64_t skbs, packets, bytes;	/* since the tick before */
	uint64_t changed;		/* monotonic ns of the tick with traffic last */
	bool gone;			/* taken from the map: if it comes again, it counts from 0 */
};

struct nic_counts {
	struct nic_count *rows;
	unsigned n, room;
};

bool nic_same(const struct nic_key *a, const struct nic_key *b);

/* Reads all rows into `counts`, which is empty, and takes the differences from `before`. */
void nic_counts_read(struct probe_run *run, struct nic_counts *counts, const struct nic_counts *before, uint64_t now);
/*
 * Takes rows from the map with what was counted at the last moment; true if that was nothing. Before Linux 5.14
 * (3e87f192b405) a hash cannot do that in one step: then they stay there.
 */
bool nic_counts_remove(struct probe_run *run, struct nic_count *rows, unsigned n, uint64_t now);
void nic_counts_release(struct nic_counts *counts);
#endif
