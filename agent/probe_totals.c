/* SPDX-License-Identifier: BSD-2-Clause */
/* What a probe has produced and lost: the programs' own counts, and what the kernel says that they missed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

static void read_counters(struct probe_run *run)
{
	int n = libbpf_num_possible_cpus(), fd = probe_map_fd(run, run->probe->counters ?: "counters");
	struct counters *per_cpu = n > 0 ? calloc(n, sizeof(*per_cpu)) : NULL;
	uint32_t key = 0;

	if (per_cpu && fd >= 0 && !bpf_map_lookup_elem(fd, &key, per_cpu)) {
		run->counters = (struct counters){ 0 };
		for (int i = 0; i < n; i++) {
			run->counters.produced += per_cpu[i].produced;
			run->counters.filtered += per_cpu[i].filtered;
			run->counters.ring_full += per_cpu[i].ring_full;
			run->counters.map_full += per_cpu[i].map_full;
			run->counters.missed += per_cpu[i].missed;
			run->counters.stood_in += per_cpu[i].stood_in;
		}
	}
	free(per_cpu);
}

/* A run that it misses is an event lost, unless another program was there to stand in. Those are no stand-ins: the first on their hook. */
static bool loses_what_it_misses(const struct probe_run *run, unsigned program)
{
	const char *name = bpf_program__name(run->programs[program]);

	for (const char *const *spared = run->probe->may_miss; spared && *spared; spared++)
		if (!strcmp(*spared, name))
			return false;
	for (unsigned i = 0; i < program; i++)
		if (!strcmp(bpf_program__section_name(run->programs[i]), bpf_program__section_name(run->programs[program])))
			return false;
	return true;
}

/*
 * A program that stands in counts a moment after the kernel has counted what the other missed (and is read after that). So a
 * loss counts when two readings have seen it, or when the programs are detached.
 */
static void count_missed(struct probe_run *run, uint64_t missed)
{
	uint64_t gap = missed > run->counters.stood_in ? missed - run->counters.stood_in : 0;
	uint64_t sure = run->is_detached || gap < run->missed_before ? gap : run->missed_before;

	if (run->lost_by[LOST_RECURSION] < sure)
		run->lost_by[LOST_RECURSION] = sure;
	run->missed_before = gap;
}

/* Returns what the programs missed. */
static uint64_t read_programs(struct probe_run *run)
{
	uint64_t missed = 0;

	run->bpf_runs = run->bpf_ns = 0;
	for (unsigned i = 0; i < run->n_programs; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(run->programs[i]), &info, &size))
			continue;
		run->bpf_runs += info.run_cnt;
		run->bpf_ns += info.run_time_ns;
		if (loses_what_it_misses(run, i))
			missed += info.recursion_misses;
	}
	return missed;
}

void probe_read_totals(struct probe_run *run, struct probe_totals *ret_totals)
{
	uint64_t lost = 0, missed, produced, accounted;
	struct probe_totals of_table;

	if (run->object) {
		missed = read_programs(run);
		read_counters(run);
		count_missed(run, missed);
	}
	if (!run->probe->object && run->table) {	/* what the table's programs have missed, this probe has missed, too */
		probe_read_totals(run->table, &of_table);
		run->lost_by[LOST_RECURSION] = run->table->lost_by[LOST_RECURSION];
	}
	run->lost_by[LOST_RING_FULL] = run->counters.ring_full;
	run->lost_by[LOST_MISSED] = run->counters.missed;
	run->lost_by[LOST_MAP_FULL] = run->counters.map_full;
	for (unsigned i = 0; i < LOST_REASONS; i++)
		lost += run->lost_by[i];
	produced = run->counters.produced + run->produced_here + run->lost_by[LOST_RECURSION];
	accounted = run->emitted + run->counters.filtered + run->refused + lost;
	*ret_totals = (struct probe_totals){
		.produced = run->is_detached ? produced : accounted, .emitted = run->emitted,
		.filtered = run->counters.filtered + run->refused, .lost = lost, .in_flight = produced - accounted,
		.bpf_runs = run->bpf_runs ?: UINT64_MAX, .bpf_ns = run->bpf_runs ? run->bpf_ns : UINT64_MAX,
	};
}
