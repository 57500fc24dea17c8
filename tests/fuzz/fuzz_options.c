/* SPDX-License-Identifier: BSD-2-Clause */
/* Any command line, an argument in each line. No file is read for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../agent/config.h"

#define MAX_ARGS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config config;
	char *text = malloc(size + 1), *rest = text, *argv[MAX_ARGS + 2] = { "netline" };
	int argc = 1, err;

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = 0;
	while (rest && argc <= MAX_ARGS)
		argv[argc++] = strsep(&rest, "\n");
	for (int i = 1; i < argc; i++)
		if (argv[i][0] == '-' && (strchr(argv[i], 'c')))	/* --config, and what getopt takes for it */
			argv[i] = "-q";
	err = config_parse(&config, argc, argv);
	if (err && err != -EINVAL)
		abort();
	if (!err && (!config.n_outputs || config.n_outputs > MAX_OUTPUTS || config.n_words > MAX_PROBES || config.n_labels > MAX_LIST))
		abort();
	config_release(&config);
	free(text);
	return 0;
}
