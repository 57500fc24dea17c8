/* SPDX-License-Identifier: BSD-2-Clause */
/* Any text as the SPEC of an output. What is taken has a path that fits, and a name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../agent/output/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct output_spec spec;
	char *text = malloc(size + 1), name[SPEC_NAME_LEN];
	int err;

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = 0;
	err = spec_parse("--output", text, &spec);
	if (err && err != -EINVAL)
		abort();
	if (!err && (spec.kind >= SPEC_KINDS || (spec.kind != SPEC_STDOUT) != (spec.path[0] != 0) || strlen(spec_name(&spec, name)) >= sizeof(name) ||
		     spec.queue_bytes < 128 << 10))
		abort();
	free(text);
	return 0;
}
