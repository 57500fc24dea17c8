/* SPDX-License-Identifier: BSD-2-Clause */
#include "elements.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"

#define LISTED_KEYS 1024	/* more than any bucket of a hash has: BPF_MAP_LOOKUP_BATCH reads whole ones */

static size_t batch_bytes(void)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (sizeof(struct key_batch) + page - 1) / page * page;
}

static int open_iterator(struct elements *elements, struct probe_run *run)
{
	if (elements->array_size || bpf_program__fd(bpf_object__find_program_by_name(run->object, "list_keys")) < 0)
		return 0;
	elements->iterator = probe_open_iterator(run, "list_keys", elements->map);
	return elements->iterator < 0 ? elements->iterator : 0;
}

/* Buffers as the way to list needs them. */
static int make_room(struct elements *elements, const struct bpf_map *map)
{
	bool reads_values = !elements->array_size && elements->iterator < 0;

	elements->keys = malloc(LISTED_KEYS * sizeof(*elements->keys));
	if (reads_values)
		elements->values = malloc(LISTED_KEYS * (size_t)bpf_map__value_size(map));
	return elements->keys && (elements->values || !reads_values) ? 0 : -ENOMEM;
}

static int map_batch(struct elements *elements, struct probe_run *run)
{
	void *batch = mmap(NULL, batch_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, probe_map_fd(run, "key_batch"), 0);

	elements->batch = batch == MAP_FAILED ? NULL : batch;
	return elements->batch ? 0 : -errno;
}

int elements_open(struct elements *elements, struct probe_run *run, const char *program, const char *map, size_t row_size)
{
	const struct bpf_map *over = bpf_object__find_map_by_name(run->object, map);
	int err;

	*elements = (struct elements){
		.map = bpf_map__fd(over), .iterator = -1, .row_size = row_size,
		.array_size = bpf_map__type(over) == BPF_MAP_TYPE_ARRAY ? bpf_map__max_entries(over) : 0,
		.program = bpf_program__fd(bpf_object__find_program_by_name(run->object, program)),
	};
	err = map_batch(elements, run) ?: open_iterator(elements, run) ?: make_room(elements, over);
	if (!err)
		return 0;
	elements_close(elements);
	return probe_fail(run, err, "cannot list the elements of %s: %s", map, strerror(-err));
}

static int list_by_iterator(struct elements *elements)
{
	ssize_t n = probe_read_iterator(elements->iterator, elements->keys, LISTED_KEYS * sizeof(*elements->keys));	/* whole keys */

	elements->n_keys = n > 0 ? n / sizeof(*elements->keys) : 0;
	elements->is_listed = !n;
	return n < 0 ? n : 0;
}

static int list_by_batch(struct elements *elements)
{
	uint32_t n = LISTED_KEYS, *from = elements->place ? &elements->place : NULL;	/* a bucket's number */
	int err = bpf_map_lookup_batch(elements->map, from, &elements->place, elements->keys, elements->values, &n, NULL);

	elements->is_listed = err;
	elements->n_keys = !err || err == -ENOENT ? n : 0;	/* -ENOENT: these were the last */
	return err == -ENOENT ? 0 : err;
}

static int list_indexes(struct elements *elements)
{
	while (elements->n_keys < LISTED_KEYS && elements->place < elements->array_size)
		elements->keys[elements->n_keys++] = elements->place++;
	elements->is_listed = elements->place == elements->array_size;
	return 0;
}

static int list_more(struct elements *elements)
{
	elements->done = elements->n_keys = 0;
	if (elements->array_size)
		return list_indexes(elements);
	return elements->iterator >= 0 ? list_by_iterator(elements) : list_by_batch(elements);
}

/* Before 5.13 the kernel says EINTR after a run, if a signal came meanwhile. */
static int run_program(struct elements *elements)
{
	char packet[14] = "";	/* the program does not look at it */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	const volatile uint32_t *n_rows = &elements->batch->n_rows;
	int err;

	do
		err = bpf_prog_test_run_opts(elements->program, &opts);
	while (err == -EINTR && *n_rows == NOT_RUN);
	return *n_rows == NOT_RUN ? err ?: -ECANCELED : 0;
}

/* Bytes of rows. */
static ssize_t run_batch(struct elements *elements, void *ret_rows)
{
	uint32_t left = elements->n_keys - elements->done;
	struct key_batch *batch = elements->batch;
	int err;

	batch->n_keys = left < BATCH_KEYS ? left : BATCH_KEYS;
	batch->n_rows = NOT_RUN;
	memcpy(batch->keys, elements->keys + elements->done, batch->n_keys * sizeof(*elements->keys));
	err = run_program(elements);
	if (err)
		return err;
	elements->done += batch->n_keys;
	memcpy(ret_rows, batch->rows, batch->n_rows * elements->row_size);
	return batch->n_rows * elements->row_size;
}

/* What was read before an error is given first. */
ssize_t elements_read(struct elements *elements, void *ret_rows, size_t room)
{
	size_t used = 0;
	ssize_t n;

	while (!elements->error && room - used >= BATCH_KEYS * elements->row_size) {
		if (elements->done < elements->n_keys) {
			n = run_batch(elements, (char *)ret_rows + used);
			used += n > 0 ? n : 0;
		} else if (elements->is_listed) {
			break;
		} else {
			n = list_more(elements);
		}
		elements->error = n < 0 ? n : 0;
	}
	return used ? (ssize_t)used : elements->error;
}

void elements_close(struct elements *elements)
{
	if (elements->batch)
		munmap(elements->batch, batch_bytes());
	if (elements->iterator >= 0)
		close(elements->iterator);
	free(elements->keys);
	free(elements->values);
	*elements = (struct elements){ .iterator = -1 };
}
