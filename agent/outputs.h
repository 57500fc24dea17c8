/* SPDX-License-Identifier: BSD-2-Clause */
/* All outputs of a run, and the readers of those that listen, which are outputs as well. */
#ifndef NETLINE_OUTPUTS_H
#define NETLINE_OUTPUTS_H

#include "output/output.h"

struct outputs {
	struct output **all;		/* a reader stands somewhere after its listener */
	unsigned n, room;
};

/* Takes the output over, or frees it: -ENOMEM. */
int outputs_add(struct outputs *outputs, struct output *output);
/* It gets no more records, and goes when it has delivered what it has, or after 5 s; outputs_sweep() looks. */
void outputs_leave(struct outputs *outputs, struct output *output);
void outputs_sweep(struct outputs *outputs, uint64_t now_ms);
void outputs_release(struct outputs *outputs);

void outputs_push(struct outputs *outputs, struct arena *arena, uint32_t offset, uint16_t length, uint8_t dataset);
void outputs_flush(struct outputs *outputs);
bool outputs_rotate(struct outputs *outputs);	/* false: there are no files */
bool outputs_block(const struct outputs *outputs);	/* one of them has the policy block, and is full */
bool outputs_settled(const struct outputs *outputs);	/* nothing is queued for those that are not closed */
bool outputs_closed(const struct outputs *outputs);	/* for good, each of them */
/* Those that are not settled lose what they have, which is told on stderr. True: a write hangs, whose records must stay. */
bool outputs_abandon(struct outputs *outputs);
#endif
