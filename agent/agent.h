/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run: probes, one event loop, outputs. agent_run() returns the exit code of the process after it has told on stderr what
 * went wrong, if something did.
 */
#ifndef NETLINE_AGENT_H
#define NETLINE_AGENT_H

#include "choose.h"

enum exit_code { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_NO_ATTACH };

int agent_run(struct config *config, const struct choice *choice);

/* All record types: those of the probes, then the agent's own. Returns their number. */
#define MAX_RECORDS 32
unsigned agent_record_types(const struct record *ret_records[MAX_RECORDS]);
#endif
