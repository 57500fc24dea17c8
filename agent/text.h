/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values as JSON text. Each function writes at `p` without a NUL and returns the end of what it wrote;
 * the caller has room for the longest value (see encode.c). No locale, no floating point.
 */
#ifndef NETLINE_TEXT_H
#define NETLINE_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COPY_BLOCK 32

/* Copies in blocks of 32 bytes: both sides have that much slack. */
static inline char *text_copy(char *p, const char *from, unsigned len)
{
	for (unsigned i = 0; i < len; i += COPY_BLOCK)
		memcpy(p + i, from + i, COPY_BLOCK);
	return p + len;
}

char *text_uint(char *p, uint64_t value);
char *text_fixed(char *p, uint64_t milli);
char *text_ip(char *p, const uint8_t bytes[16]);

/* Bytes as a JSON string with its quotes: control characters escaped, each invalid UTF-8 byte as U+FFFD. At most 6 bytes for each. */
char *text_string(char *p, const char *bytes, size_t len);

/* Nanoseconds since 1970 as "YYYY-MM-DDThh:mm:ss.nnnnnnnnnZ" with its quotes: 32 bytes. The date of a second is kept in `cache`. */
struct text_second {
	int64_t second;
	char text[20];
};
char *text_time(char *p, int64_t utc_ns, struct text_second *cache);
#endif
