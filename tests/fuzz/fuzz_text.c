/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as a string of a record: within its bound, and to another JSON library a string that is valid UTF-8. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../agent/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *in = malloc(size + 1), *out = malloc(6 * size + 2);
	json_t *string;
	size_t length;

	if (!in || !out)
		abort();
	memcpy(in, data, size);	/* ends where memory ends, to the sanitizer */
	in = realloc(in, size ?: 1);
	length = text_string(out, in, size) - out;
	string = json_loadb(out, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (!json_is_string(string) || json_string_length(string) < (size + 1) / 4)
		abort();
	json_decref(string);
	free(in);
	free(out);
	return 0;
}
