/* SPDX-License-Identifier: BSD-2-Clause */
/* Values as JSON text: against printf, inet_ntop, strftime and jansson. Each is written into a buffer of exactly its longest. */
#include "oracle.h"

#include "../../agent/text.h"

static struct guarded out;

static void open_room(size_t size)
{
	guarded_init(&out, size);
}

static void expect(const char *end, const char *expected)
{
	size_t len = end - out.data;

	require(len == strlen(expected) && !memcmp(out.data, expected, len), "%.*s, not %s", (int)len, out.data, expected);
	guarded_check(&out);
}

static void expect_quoted(const char *end, const char *expected)
{
	char quoted[128];

	snprintf(quoted, sizeof(quoted), "\"%s\"", expected);
	expect(end, quoted);
}

/* --- numbers --- */

static void check_uint(uint64_t value)
{
	char expected[32];

	snprintf(expected, sizeof(expected), "%" PRIu64, value);
	expect(text_uint(out.data, value), expected);
}

static void check_fixed(uint64_t milli)
{
	char expected[32];

	oracle_fixed(milli, expected);
	expect(text_fixed(out.data, milli), expected);
}

static void check_near_powers(void (*check)(uint64_t value), uint64_t base)
{
	for (uint64_t power = 1;; power *= base) {
		check(power - 1);
		check(power);
		check(power + 1);
		if (power > UINT64_MAX / base)
			break;
	}
	check(UINT64_MAX);
	check(INT64_MAX);
}

static void test_uint(void **state)
{
	struct random random = { 1 };

	(void)state;
	open_room(20);
	check_near_powers(check_uint, 10);
	check_near_powers(check_uint, 2);
	for (unsigned i = 0; i < rounds(200000); i++)
		check_uint(random_length(&random));
	guarded_release(&out);
}

static void test_fixed(void **state)
{
	struct random random = { 2 };

	(void)state;
	open_room(21);
	for (unsigned milli = 0; milli < 12000; milli++)
		check_fixed(milli);
	check_near_powers(check_fixed, 10);
	for (unsigned i = 0; i < rounds(200000); i++)
		check_fixed(random_length(&random));
	expect(text_fixed(out.data, 383994), "383.994");
	expect(text_fixed(out.data, 6000), "6");
	expect(text_fixed(out.data, 5), "0.005");
	expect(text_fixed(out.data, 1050), "1.05");
	guarded_release(&out);
}

/* --- addresses --- */

static void check_ip(const uint8_t bytes[16])
{
	char expected[INET6_ADDRSTRLEN];

	oracle_ip(bytes, expected);
	expect_quoted(text_ip(out.data, bytes), expected);
}

/* Every pattern of zero groups, with groups of every length. */
static void test_ip_groups(void **state)
{
	static const uint16_t groups[] = { 0x1, 0xab, 0xabc, 0xabcd, 0x1000, 0xffff };
	struct random random = { 3 };

	(void)state;
	open_room(41);
	for (unsigned pattern = 0; pattern < 256; pattern++) {
		for (unsigned round = 0; round < rounds(100); round++) {
			uint8_t bytes[16] = { 0 };

			for (unsigned i = 0; i < 8; i++) {
				uint16_t group = pattern >> i & 1 ? groups[random_below(&random, COUNT_OF(groups))] : 0;

				bytes[2 * i] = group >> 8;
				bytes[2 * i + 1] = group;
			}
			check_ip(bytes);
		}
	}
	guarded_release(&out);
}

static void test_ip_random(void **state)
{
	struct random random = { 4 };
	uint8_t bytes[16];

	(void)state;
	open_room(41);
	for (unsigned i = 0; i < rounds(100000); i++) {
		random_bytes(&random, bytes, sizeof(bytes));
		for (unsigned zeros = random_below(&random, 16); zeros; zeros--)
			bytes[random_below(&random, 16)] = 0;
		check_ip(bytes);
	}
	memset(bytes, 0, 10);
	memset(bytes + 10, 0xff, 2);
	for (unsigned i = 0; i < rounds(100000); i++) {
		random_bytes(&random, bytes + 12, 4);
		check_ip(bytes);
	}
	guarded_release(&out);
}

static void test_ip_known(void **state)
{
	static const struct {
		const char *address, *text;
	} known[] = {
		{ "::", "::" }, { "::1", "::1" }, { "1::", "1::" }, { "::ffff:1.2.3.4", "1.2.3.4" }, { "::ffff:0.0.0.0", "0.0.0.0" },
		{ "::ffff:255.255.255.255", "255.255.255.255" }, { "::1.2.3.4", "::102:304" }, { "::fffe:1.2.3.4", "::fffe:102:304" },
		{ "64:ff9b::1.2.3.4", "64:ff9b::102:304" }, { "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },
		{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" }, { "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },
		{ "0:1:0:1:0:1:0:1", "0:1:0:1:0:1:0:1" }, { "1:0:1:0:1:0:1:0", "1:0:1:0:1:0:1:0" }, { "FE80::ABCD", "fe80::abcd" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	uint8_t bytes[16];

	(void)state;
	open_room(41);
	for (size_t i = 0; i < COUNT_OF(known); i++) {
		assert_int_equal(inet_pton(AF_INET6, known[i].address, bytes), 1);
		expect_quoted(text_ip(out.data, bytes), known[i].text);
	}
	guarded_release(&out);
}

/* --- times --- */

static struct text_second cache;

static void check_time(int64_t utc_ns)
{
	char expected[40];

	oracle_time(utc_ns, expected);
	expect_quoted(text_time(out.data, utc_ns, &cache), expected);
}

static void check_around(int64_t second)
{
	static const int64_t distances[] = { -1000000000, -1, 0, 1, 999999999, 1000000000 };

	for (size_t i = 0; i < COUNT_OF(distances); i++)
		check_time(second * 1000000000 + distances[i]);
}

static void test_time_random(void **state)
{
	struct random random = { 5 };

	(void)state;
	open_room(32);
	for (unsigned i = 0; i < rounds(200000); i++)
		check_time(random_u64(&random) % (7258118400ull * 1000000000));	/* 2200-01-01 */
	for (unsigned i = 0; i < rounds(50000); i++)
		check_time(random_length(&random));
	check_time(INT64_MAX);
	check_time(INT64_MIN);
	check_time(-1);
	guarded_release(&out);
}

/* Every day's first second from 1970 to 2200: leap years, years without (2100), ends of months and years. */
static void test_time_days(void **state)
{
	(void)state;
	open_room(32);
	for (int64_t day = 0; day < 84006; day += SLOWNESS | 1)
		check_around(day * 86400);
	expect_quoted(text_time(out.data, 951782400ll * 1000000000, &cache), "2000-02-29T00:00:00.000000000Z");
	expect_quoted(text_time(out.data, 4107542400ll * 1000000000, &cache), "2100-03-01T00:00:00.000000000Z");
	guarded_release(&out);
}

/* An empty cache, a hit, and another second. */
static void test_time_cache(void **state)
{
	struct text_second empty = { 0 };

	(void)state;
	open_room(32);
	expect_quoted(text_time(out.data, 5, &empty), "1970-01-01T00:00:00.000000005Z");
	expect_quoted(text_time(out.data, 6, &empty), "1970-01-01T00:00:00.000000006Z");
	expect_quoted(text_time(out.data, 1000000000, &empty), "1970-01-01T00:00:01.000000000Z");
	expect_quoted(text_time(out.data, 7, &empty), "1970-01-01T00:00:00.000000007Z");
	guarded_release(&out);
}

/* --- strings --- */

static void check_string(const char *bytes, size_t len)
{
	json_t *expected = oracle_text(bytes, len);
	size_t written = text_string(out.data, bytes, len) - out.data;
	json_t *found;

	require(written <= 6 * len + 2, "%zu bytes for %zu", written, len);
	guarded_check(&out);
	for (size_t i = 0; i < written; i++)
		require((uint8_t)out.data[i] >= 0x20 && out.data[i] != 0x7f, "a control character is not escaped");
	found = json_loadb(out.data, written, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	require(found && json_equal(found, expected), "%.*s, not %s", (int)written, out.data, json_dumps(expected, JSON_ENCODE_ANY));
	json_decref(found);
	json_decref(expected);
}

/* The bytes alone, in a text, and cut off at each place. */
static void check_sequence(const char *bytes, size_t len)
{
	char text[16] = "a";

	memcpy(text + 1, bytes, len);
	text[1 + len] = 'b';
	check_string(text, len + 2);
	for (size_t cut = 0; cut <= len; cut++) {
		char *exact = malloc(cut + 1);	/* so that reading behind it is seen */

		assert_non_null(exact);
		memcpy(exact + 1, bytes, cut);
		check_string(exact + 1, cut);
		free(exact);
	}
}

static void test_string_bytes(void **state)
{
	(void)state;
	open_room(6 * 16 + 2);
	check_string("", 0);
	for (unsigned first = 0; first < 256; first++) {
		for (unsigned second = 0; second < 256; second += SLOWNESS > 8 ? 17 : 1) {
			char bytes[] = { first, second };

			check_sequence(bytes, 2);
		}
	}
	guarded_release(&out);
}

/* Three and four bytes from the edges of the ranges that RFC 3629 tells apart. */
static void test_string_utf8(void **state)
{
	static const uint8_t leads[] = { 0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xfc, 0xff };
	static const uint8_t seconds[] = { 0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff };
	static const uint8_t rest[] = { 'x', 0x7f, 0x80, 0xbf, 0xc2, 0xff };

	(void)state;
	open_room(6 * 16 + 2);
	for (size_t a = 0; a < COUNT_OF(leads); a++)
		for (size_t b = 0; b < COUNT_OF(seconds); b++)
			for (size_t c = 0; c < COUNT_OF(rest); c++)
				for (size_t d = 0; d < COUNT_OF(rest); d += SLOWNESS > 8 ? 5 : 1)
					check_sequence((char[]){ leads[a], seconds[b], rest[c], rest[d] }, 4);
	guarded_release(&out);
}

static void test_string_known(void **state)
{
	(void)state;
	open_room(6 * 16 + 2);
	expect(text_string(out.data, "\b\t\n\f\r\"\\", 7), "\"\\b\\t\\n\\f\\r\\\"\\\\\"");
	expect(text_string(out.data, "\x01\x1f\x7f", 3), "\"\\u0001\\u001f\\u007f\"");
	expect(text_string(out.data, "/\xc3\xa9", 3), "\"/\xc3\xa9\"");
	expect(text_string(out.data, "\xe2\x82", 2), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	expect(text_string(out.data, "\xed\xa0\x80", 3), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	guarded_release(&out);
}

/* The oracle's own idea of UTF-8 is jansson's. */
static void test_oracle_utf8(void **state)
{
	(void)state;
	for (uint32_t bytes = 0; bytes < 1 << 24; bytes += SLOWNESS > 8 ? 9973 : 61) {
		uint8_t s[4] = { 0xe0 | bytes >> 20, bytes >> 12, bytes >> 6, bytes };
		size_t n = oracle_code_point(s, 4);
		json_t *text = json_stringn((char *)s, n ? n : 4);

		require(!!n == !!text, "%02x %02x %02x %02x", s[0], s[1], s[2], s[3]);
		json_decref(text);
	}
}

/* Copies of every length, with the slack that both sides are promised and no more. */
static void test_copy(void **state)
{
	struct guarded from;

	(void)state;
	for (unsigned len = 0; len < 200; len++) {
		unsigned blocks = (len + COPY_BLOCK - 1) / COPY_BLOCK * COPY_BLOCK;

		guarded_init(&from, blocks);
		open_room(blocks);
		for (unsigned i = 0; i < blocks; i++)
			from.data[i] = i;
		assert_ptr_equal(text_copy(out.data, from.data, len), out.data + len);
		assert_memory_equal(out.data, from.data, len);
		guarded_check(&out);
		guarded_release(&from);
		guarded_release(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uint),
		cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_ip_groups),
		cmocka_unit_test(test_ip_random),
		cmocka_unit_test(test_ip_known),
		cmocka_unit_test(test_time_random),
		cmocka_unit_test(test_time_days),
		cmocka_unit_test(test_time_cache),
		cmocka_unit_test(test_string_bytes),
		cmocka_unit_test(test_string_utf8),
		cmocka_unit_test(test_string_known),
		cmocka_unit_test(test_oracle_utf8),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
