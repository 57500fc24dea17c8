/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the kernel's monotonic stamps to UTC. The offset is sampled each second; when the wall clock is set, the kernel tells
 * at once through clock_step_fd(), and what happened before is to be written out with the old offset before clock_sample().
 */
#ifndef NETLINE_CLOCK_H
#define NETLINE_CLOCK_H

#include <stdint.h>

uint64_t clock_now(void);		/* CLOCK_MONOTONIC, ns */
int64_t clock_offset(void);		/* CLOCK_REALTIME - CLOCK_MONOTONIC in ns, as sampled last */
void clock_sample(void);

int clock_step_fd(void);		/* readable after a step; or a negative errno */
void clock_step_acknowledge(int fd);	/* arms it again */
#endif
