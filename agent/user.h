/* SPDX-License-Identifier: BSD-2-Clause */
/* What the process may, and another user for the rest of the run, with no more capabilities than attaching again needs. */
#ifndef NETLINE_USER_H
#define NETLINE_USER_H

#include <stdbool.h>
#include <stdint.h>

#define CAP_BIT(capability) (1ull << (capability))

/*
 * Becomes `name`, with its groups, and keeps those of `capabilities` that it has now. Before there are threads: capabilities are a thread's own. A negative
 * errno after telling on stderr.
 */
int user_become(const char *name, uint64_t capabilities);
/* Said before anything is attached: what will be left then. What goes on needing more is refused at once. */
void user_will_keep(uint64_t capabilities);
bool user_has(int capability);	/* in effect */
bool user_keeps(int capability);	/* has it, and will keep it */
int user_check(const char *where, const char *name);	/* -EINVAL after telling on stderr: there is no such user */
#endif
