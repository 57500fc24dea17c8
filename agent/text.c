/* SPDX-License-Identifier: BSD-2-Clause */
#include "text.h"

#include <stdbool.h>

static const char pairs[] =
	"0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
	"5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

static inline char *two_digits(char *p, unsigned n)
{
	memcpy(p, pairs + 2 * n, 2);
	return p + 2;
}

static unsigned count_digits(uint64_t value)
{
	static const uint64_t powers[] = {
		0, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000,
		1000000000000, 10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000,
		1000000000000000000, 10000000000000000000u,
	};
	unsigned guess = (64 - __builtin_clzll(value | 1)) * 1233 >> 12;	/* bits times log10(2) */

	return guess + (value >= powers[guess]);
}

char *text_uint(char *p, uint64_t value)
{
	char *end = p + count_digits(value), *at = end;

	while (value >= 100) {
		at = two_digits(at - 2, value % 100) - 2;
		value /= 100;
	}
	if (value >= 10)
		two_digits(p, value);
	else
		*p = '0' + value;
	return end;
}

char *text_fixed(char *p, uint64_t milli)
{
	unsigned rest = milli % 1000;

	p = text_uint(p, milli / 1000);
	if (!rest)
		return p;
	*p++ = '.';
	*p++ = '0' + rest / 100;
	p = two_digits(p, rest % 100);
	while (p[-1] == '0')
		p--;
	return p;
}

static char *text_ipv4(char *p, const uint8_t *bytes)
{
	for (int i = 0; i < 4; i++) {
		if (i)
			*p++ = '.';
		p = text_uint(p, bytes[i]);
	}
	return p;
}

/* The longest run of two or more zero groups (RFC 5952, 4.2); returns its length, 0 for none. */
static int longest_zero_run(const uint8_t *bytes, int *ret_start)
{
	int best = 0;

	for (int i = 0; i < 8; i++) {
		int n = 0;

		while (i + n < 8 && !bytes[2 * (i + n)] && !bytes[2 * (i + n) + 1])
			n++;
		if (n > best && n > 1) {
			best = n;
			*ret_start = i;
		}
		i += n;
	}
	return best;
}

static char *text_ipv6(char *p, const uint8_t *bytes)
{
	static const char hex[] = "0123456789abcdef";
	int start = -1, run = longest_zero_run(bytes, &start);

	for (int i = 0; i < 8; i++) {
		unsigned group = bytes[2 * i] << 8 | bytes[2 * i + 1];

		if (i == start) {
			*p++ = ':';
			*p++ = ':';
			i += run - 1;
			continue;
		}
		if (i && p[-1] != ':')
			*p++ = ':';
		for (int shift = group > 0xfff ? 12 : group > 0xff ? 8 : group > 0xf ? 4 : 0; shift >= 0; shift -= 4)
			*p++ = hex[group >> shift & 15];
	}
	return p;
}

char *text_ip(char *p, const uint8_t bytes[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	*p++ = '"';
	p = memcmp(bytes, mapped, sizeof(mapped)) ? text_ipv6(p, bytes) : text_ipv4(p, bytes + 12);
	*p++ = '"';
	return p;
}

/* Length of the valid UTF-8 sequence at `s` (Unicode 15, table 3-7), or 0. */
static unsigned utf8_length(const uint8_t *s, size_t left)
{
	uint8_t low = 0x80, high = 0xbf;
	unsigned n = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	if (!n || n > left)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;	/* overlong */
	else if (s[0] == 0xed)
		high = 0x9f;	/* surrogates */
	else if (s[0] == 0xf0)
		low = 0x90;	/* overlong */
	else if (s[0] == 0xf4)
		high = 0x8f;	/* above U+10FFFF */
	if (s[1] < low || s[1] > high)
		return 0;
	for (unsigned i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static char *text_escape(char *p, uint8_t byte)
{
	static const char shorts[] = "\bb\tt\nn\ff\rr\"\"\\\\";

	*p++ = '\\';
	for (unsigned i = 0; i < sizeof(shorts) - 1; i += 2) {
		if ((uint8_t)shorts[i] == byte) {
			*p++ = shorts[i + 1];
			return p;
		}
	}
	memcpy(p, "u00", 3);
	p[3] = '0' + (byte >> 4);
	p[4] = "0123456789abcdef"[byte & 15];
	return p + 5;
}

char *text_string(char *p, const char *bytes, size_t len)
{
	const uint8_t *s = (const uint8_t *)bytes;

	*p++ = '"';
	for (size_t i = 0; i < len;) {
		unsigned n = 1;

		if (s[i] >= 0x20 && s[i] < 0x7f && s[i] != '"' && s[i] != '\\') {
			*p++ = s[i];
		} else if (s[i] < 0x80) {
			p = text_escape(p, s[i]);
		} else if (s[i] == 0xc2 && i + 1 < len && s[i + 1] >= 0x80 && s[i + 1] < 0xa0) {
			p = text_escape(p, s[i + 1]);	/* U+0080 to U+009F: controls, which terminals may obey */
			n = 2;
		} else if ((n = utf8_length(s + i, len - i))) {
			memcpy(p, s + i, n);
			p += n;
		} else {
			memcpy(p, "\xef\xbf\xbd", 3);
			p += 3;
			n = 1;
		}
		i += n;
	}
	*p++ = '"';
	return p;
}

/* "YYYY-MM-DDThh:mm:ss." of a second; days to date after Howard Hinnant's civil_from_days. */
static void format_second(int64_t second, char *ret_text)
{
	int64_t days = second / 86400;
	unsigned rest = second % 86400;
	unsigned era_day = (days + 719468) % 146097, era = (days + 719468) / 146097;
	unsigned era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
	unsigned year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
	unsigned from_march = (5 * year_day + 2) / 153;
	unsigned month = from_march < 10 ? from_march + 3 : from_march - 9;
	unsigned year = era_year + era * 400 + (month <= 2);
	char *p = ret_text;

	p = two_digits(p, year / 100 % 100);
	p = two_digits(p, year % 100);
	*p++ = '-';
	p = two_digits(p, month);
	*p++ = '-';
	p = two_digits(p, year_day - (153 * from_march + 2) / 5 + 1);
	*p++ = 'T';
	p = two_digits(p, rest / 3600);
	*p++ = ':';
	p = two_digits(p, rest / 60 % 60);
	*p++ = ':';
	p = two_digits(p, rest % 60);
	*p = '.';
}

char *text_time(char *p, int64_t utc_ns, struct text_second *cache)
{
	int64_t second = utc_ns < 0 ? 0 : utc_ns / 1000000000;
	unsigned ns = utc_ns < 0 ? 0 : utc_ns % 1000000000;

	if (second != cache->second || !cache->text[0]) {
		format_second(second, cache->text);
		cache->second = second;
	}
	*p++ = '"';
	memcpy(p, cache->text, 20);
	p += 20;
	*p++ = '0' + ns / 100000000;
	p = two_digits(p, ns / 1000000 % 100);
	p = two_digits(p, ns / 10000 % 100);
	p = two_digits(p, ns / 100 % 100);
	p = two_digits(p, ns % 100);
	*p++ = 'Z';
	*p++ = '"';
	return p;
}
