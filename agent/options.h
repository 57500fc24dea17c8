/* SPDX-License-Identifier: BSD-2-Clause */
/* The one table of options: from it come the command line, the configuration file, --help, the file's JSON Schema, the man page and shells' completion. */
#ifndef NETLINE_OPTIONS_H
#define NETLINE_OPTIONS_H

#include "config.h"

enum option_scope {
	OF_COMMAND,	/* on the command line only */
	OF_AGENT,	/* of the whole run */
	OF_PROBE,	/* of all probes, or of one */
};

enum option_type { TYPE_FLAG, TYPE_TEXT, TYPE_NUMBER, TYPE_INTEGER, TYPE_TEXTS, TYPE_INTEGERS, TYPE_LABELS };	/* in the file */

/* What a shell can offer for the argument, beside the words of one like connect|accept. */
enum option_offer { OFFER_NOTHING, OFFER_NICS, OFFER_PIDS, OFFER_USERS, OFFER_FILES, OFFER_FOLDERS, OFFER_CGROUPS, OFFER_OUTPUTS };

/*
 * One option. `parse` takes the argument (NULL if there is none), in the file each piece of a list; -EINVAL after telling on stderr what is wrong, which
 * begins with `where`: "--port", or the place in the file. Without it the option sets a flag. `config` is struct probe_config where
 * the scope is OF_PROBE, else struct config.
 */
struct option_row {
	const char *name;
	char letter;
	const char *argument;	/* NULL: takes none; [=N]: may take one */
	const char *help;
	enum option_scope scope;
	enum option_type type;
	int (*parse)(void *config, const char *where, const char *argument);
	enum filter filter;
	size_t flag;		/* offset of a bool */
	enum option_offer offer;
	const char *more;	/* what the man page says beside `help`: whole sentences */
	const char *letters, *in_full;	/* "-sp" and "--sport", if it is also typed with two letters, for which getopt has no name */
};

extern const struct option_row option_rows[];
extern const unsigned n_options;

/* The argument as it stands on the command line: a list is cut at its commas. */
int option_apply(const struct option_row *row, void *config, const char *where, const char *argument);
/* One value, or one piece of a list. */
int option_apply_one(const struct option_row *row, void *config, const char *where, const char *value);
bool option_is_list(const struct option_row *row);
bool option_is_one_of(const struct option_row *row);	/* its argument names the words that there are, as a|b */
const struct option_row *option_find(const char *name);
#endif
