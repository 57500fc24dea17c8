/* SPDX-License-Identifier: BSD-2-Clause */
#include "nic_counts.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

bool nic_same(const struct nic_key *a, const struct nic_key *b)
{
	return a->netns == b->netns && a->index == b->index;
}

static int compare(const struct nic_key *a, const struct nic_key *b)
{
	const uint64_t left[] = { a->netns, a->index, a->direction, a->queue }, right[] = { b->netns, b->index, b->direction, b->queue };

	for (unsigned i = 0; i < 4; i++)
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	return compare(&((const struct nic_count *)a)->key, &((const struct nic_count *)b)->key);
}

static void sum_cpus(const struct nic_counters *per_cpu, int n, struct nic_counters *ret_sum)
{
	*ret_sum = (struct nic_counters){ 0 };
	for (int i = 0; i < n; i++) {
		ret_sum->skbs += per_cpu[i].skbs;
		ret_sum->packets += per_cpu[i].packets;
		ret_sum->bytes += per_cpu[i].bytes;
		if (per_cpu[i].name[0] && (int32_t)(per_cpu[i].tick - ret_sum->tick) >= 0) {
			memcpy(ret_sum->name, per_cpu[i].name, sizeof(ret_sum->name));
			ret_sum->queues = per_cpu[i].queues;
			ret_sum->tick = per_cpu[i].tick;
		}
	}
}

static struct nic_count *add_row(struct nic_counts *counts)
{
	if (counts->n == counts->room) {
		unsigned room = counts->room ? 2 * counts->room : 64;
		struct nic_count *rows = realloc(counts->rows, room * sizeof(*rows));

		if (!rows)
			return NULL;
		counts->rows = rows;
		counts->room = room;
	}
	return &counts->rows[counts->n++];
}

static void read_rows(struct probe_run *run, struct nic_counts *counts)
{
	int cpus = libbpf_num_possible_cpus(), fd = probe_map_fd(run, "stats");
	struct nic_counters *per_cpu = calloc(cpus, sizeof(*per_cpu));
	struct nic_key key, *last = NULL;
	struct nic_count *row;

	while (per_cpu && !bpf_map_get_next_key(fd, last, &key)) {
		if (!bpf_map_lookup_elem(fd, &key, per_cpu) && (row = add_row(counts))) {
			*row = (struct nic_count){ .key = key };
			sum_cpus(per_cpu, cpus, &row->now);
		}
		last = &key;
	}
	free(per_cpu);
	if (counts->n)
		qsort(counts->rows, counts->n, sizeof(*counts->rows), compare_rows);
}

static void take_difference(struct nic_count *row, const struct nic_count *was, uint64_t now)
{
	row->skbs = row->now.skbs - was->now.skbs;
	row->packets = row->now.packets - was->now.packets;
	row->bytes = row->now.bytes - was->now.bytes;
	row->changed = row->skbs ? now : was->changed;
}

void nic_counts_read(struct probe_run *run, struct nic_counts *counts, const struct nic_counts *before, uint64_t now)
{
	const struct nic_count none = { .changed = now }, *old = before->rows, *end = old + before->n;

	read_rows(run, counts);
	for (unsigned i = 0; i < counts->n; i++) {
		struct nic_count *row = &counts->rows[i];

		while (old < end && compare(&old->key, &row->key) < 0)
			old++;
		take_difference(row, old < end && !compare(&old->key, &row->key) && !old->gone ? old : &none, now);
	}
}

bool nic_counts_remove(struct probe_run *run, struct nic_count *rows, unsigned n, uint64_t now)
{
	int cpus = libbpf_num_possible_cpus();
	struct nic_counters *last = calloc(cpus, sizeof(*last));
	bool still = true;

	for (unsigned i = 0; last && i < n; i++) {
		const struct nic_count was = rows[i];

		if (bpf_map_lookup_and_delete_elem(probe_map_fd(run, "stats"), &rows[i].key, last))
			continue;
		sum_cpus(last, cpus, &rows[i].now);
		take_difference(&rows[i], &was, now);
		rows[i].gone = true;
		still = still && !rows[i].skbs;
	}
	free(last);
	return still;
}

void nic_counts_release(struct nic_counts *counts)
{
	free(counts->rows);
	*counts = (struct nic_counts){ 0 };
}
