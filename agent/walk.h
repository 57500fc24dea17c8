/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A walk runs a probe's programs over elements in slices in the thread pool, and hands the rows over between other work of the loop: however long it
 * takes, it stalls nothing. While the output blocks it waits.
 */
#ifndef NETLINE_WALK_H
#define NETLINE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#include "elements.h"

struct agent;
struct probe_slot;

struct walk {
	uv_work_t work;
	unsigned part;		/* of probe->walks */
	struct elements elements;
	char *rows;
	size_t have, taken;	/* bytes */
	ssize_t got;		/* by the last read; 0: this part has ended */
	bool is_active, is_reading;
};

/* Begins a walk over all of the probe's maps; rows go to the run's sink. Ends with loop_walk_ended(). */
void walk_start(struct probe_slot *slot);
/* The output takes records again. */
void walk_resume(struct probe_slot *slot);
void walk_free(struct walk *walk);
#endif
