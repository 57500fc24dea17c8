/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs a program of a probe's object, one made by EACH_KEY() (bpf/lib/elements.bpf.h), on every element of a map, by BPF_PROG_TEST_RUN and
 * a batch of keys at a time, and gives the rows that it leaves. Where elements come or go meanwhile, they and their neighbours may be
 * missed, or shown twice.
 *
 * Keys, of 8 bytes, are listed by an iterator. Hardened kernels refuse iterators over maps, for they may write to elements: there keys are
 * read by BPF_MAP_LOOKUP_BATCH. That is not done elsewhere, because the kernel skips kprobes on the CPU meanwhile. Keys of an array are
 * its indexes.
 */
#ifndef NETLINE_ELEMENTS_H
#define NETLINE_ELEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct key_batch;
struct probe_run;

struct elements {
	int map, program;
	int iterator;		/* -1: none */
	uint32_t array_size;	/* 0: a hash */
	struct key_batch *batch;	/* the object's map, mapped: so there may be one at a time for each object */
	size_t row_size;
	uint64_t *keys;		/* listed */
	void *values;		/* room for those that are read along with them */
	uint32_t n_keys, done;
	uint32_t place;		/* where to go on listing */
	bool is_listed;		/* there are no more keys */
	int error;		/* negative errno: it goes no further */
};

/* 0, or a negative errno with run->reason in words. `row_size`: at most MAX_ROW. */
int elements_open(struct elements *elements, struct probe_run *run, const char *program, const char *map, size_t row_size);
/* Whole rows, as many as there is room for (at least BATCH_KEYS of them): bytes, 0 at the end, or a negative errno. */
ssize_t elements_read(struct elements *elements, void *ret_rows, size_t room);
void elements_close(struct elements *elements);
#endif
