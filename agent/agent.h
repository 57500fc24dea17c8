/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run: probes, one event loop, outputs. agent_run() returns the exit code of the process after it has told on stderr what
 * went wrong, if something did.
 */
#ifndef NETLINE_AGENT_H
#define NETLINE_AGENT_H

#include "config.h"

enum exit_code { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_NO_ATTACH };

/* `chosen` are pointers into probes[]; `named`: the user named them, so each must attach. */
struct probe;
int agent_run(const struct config *config, const struct probe *const *chosen, unsigned n_chosen, bool named);

/* All record types: those of the probes, then the agent's own. Returns their number. */
#define MAX_RECORDS 32
unsigned agent_record_types(const struct record *ret_records[MAX_RECORDS]);
#endif
