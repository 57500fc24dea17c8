/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Man pages and shells' completion from the agent's own tables: options, settings of outputs, probes, rows of the records. Built for `make schema`
 * only, not a part of netline. A page is a template in which @name@ stands for what a function here prints.
 *
 * All print to `out`; the caller looks for its errors.
 */
#ifndef NETLINE_GENERATE_H
#define NETLINE_GENERATE_H

#include <stdbool.h>
#include <stdio.h>

#include "../../agent/options.h"
#include "../../agent/probe.h"

/* man.c: roff for netline(1) */
void man_probes(FILE *out);
void man_filters(FILE *out);		/* options that choose what a probe sees */
void man_probe_options(FILE *out);	/* the others of probes */
void man_run_options(FILE *out);
void man_command_options(FILE *out);
void man_settings(FILE *out);		/* of outputs */

/* records.c: roff for netline-records(5) */
void man_common_fields(FILE *out);
void man_records(FILE *out);

/* completion.c */
void words_options(FILE *out);		/* all in one line, as they are typed */
void words_probes(FILE *out);
void words_records(FILE *out);
void words_kinds(FILE *out);		/* of outputs, with the colon that a path follows */
void bash_arguments(FILE *out);		/* what an option's argument may be: lines of a case */
void case_settings(FILE *out);		/* for bash and zsh: names of the settings of each kind of output, as above */
void case_values(FILE *out);		/* values of settings that are words, as above */
void zsh_options(FILE *out);
void zsh_probes(FILE *out);
void fish_options(FILE *out);
void fish_probes(FILE *out);
void fish_settings(FILE *out);		/* the same two for fish */
void fish_values(FILE *out);

/* Prints text for roff: nothing in it is a request or an escape, `words` are bold. */
void roff_text(FILE *out, const char *text);
#endif
