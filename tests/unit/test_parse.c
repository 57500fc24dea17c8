/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers, sizes, seconds and cgroups as users write them. What is refused leaves the result alone and gives one line. */
#include <errno.h>

#include "../../agent/parse.h"
#include "capture.h"

#define UNTOUCHED 0xdeadbeefcafeull
#define REFUSED UINT64_MAX

static struct capture capture;

/* Of one of the parsers below; `expected` may be REFUSED. */
static void check(int (*parse)(const char *text, uint64_t *ret_value), const char *text, uint64_t expected)
{
	uint64_t value = UNTOUCHED;
	int err;

	capture_begin(&capture, STDERR_FILENO);
	err = parse(text, &value);
	capture_end(&capture);
	if (expected == REFUSED) {
		require(err == -EINVAL, "'%s' gives %d", text, err);
		require(value == UNTOUCHED, "'%s' is refused, but changes the result to %llu", text, (unsigned long long)value);
		check_one_line(capture.text, "--test");
		return;
	}
	require(!err && value == expected, "'%s' gives %d, %llu", text, err, (unsigned long long)value);
	require(!*capture.text, "'%s': %s", text, capture.text);
}

struct example {
	const char *text;
	uint64_t value;
};

static void check_all(int (*parse)(const char *text, uint64_t *ret_value), const struct example *examples, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check(parse, examples[i].text, examples[i].value);
}

static int number(const char *text, uint64_t *ret_value)
{
	return parse_number("--test", text, 10, INT64_MAX, ret_value);
}

static void test_number(void **state)
{
	static const struct example examples[] = {
		{ "10", 10 }, { "0010", 10 }, { "9223372036854775807", INT64_MAX }, { "9", REFUSED }, { "0", REFUSED }, { "", REFUSED },
		{ "9223372036854775808", REFUSED }, { "18446744073709551626", REFUSED }, { "99999999999999999999999", REFUSED },
		{ "-10", REFUSED }, { "+10", REFUSED }, { " 10", REFUSED }, { "10 ", REFUSED }, { "10x", REFUSED }, { "0x10", REFUSED },
		{ "1e1", REFUSED }, { "10.0", REFUSED }, { "ten", REFUSED }, { "\xff", REFUSED },
	};

	(void)state;
	check_all(number, examples, COUNT_OF(examples));
}

static int size(const char *text, uint64_t *ret_value)
{
	return parse_size("--test", text, 4096, 1 << 30, ret_value);
}

static int any_size(const char *text, uint64_t *ret_value)
{
	return parse_size("--test", text, 0, UINT64_MAX - 1, ret_value);
}

static void test_size(void **state)
{
	static const struct example examples[] = {
		{ "4096", 4096 }, { "4K", 4096 }, { "4k", 4096 }, { "64K", 65536 }, { "1M", 1 << 20 }, { "1024m", 1 << 30 }, { "1G", 1 << 30 },
		{ "1g", 1 << 30 }, { "1073741824", 1 << 30 }, { "4097", 4097 }, { "4095", REFUSED }, { "3K", REFUSED }, { "0", REFUSED },
		{ "0G", REFUSED }, { "1073741825", REFUSED }, { "1048577K", REFUSED }, { "2G", REFUSED }, { "18014398509481984K", REFUSED },
		{ "17592186044416M", REFUSED }, { "17179869184G", REFUSED }, { "17179869185G", REFUSED }, { "", REFUSED }, { "K", REFUSED },
		{ "4KB", REFUSED }, { "4KK", REFUSED }, { "4T", REFUSED }, { "4 K", REFUSED }, { "4K ", REFUSED }, { "-4K", REFUSED },
		{ "4.5K", REFUSED }, { "0x4K", REFUSED },
	};

	(void)state;
	check_all(size, examples, COUNT_OF(examples));
	check(any_size, "17179869183G", 17179869183ull << 30);
	check(any_size, "17179869184G", REFUSED);
	check(any_size, "0", 0);
}

static int seconds(const char *text, uint64_t *ret_value)
{
	return parse_seconds("--test", text, ret_value);
}

static void test_seconds(void **state)
{
	static const struct example examples[] = {
		{ "1", 1000000000 }, { "01", 1000000000 }, { "0.5", 500000000 }, { ".5", 500000000 }, { "1.", 1000000000 },
		{ "0.01", 10000000 }, { ".010", 10000000 }, { "1.000000001", 1000000001 }, { "1.0000000019", 1000000001 },
		{ "0.123456789", 123456789 }, { "86400", 86400000000000 }, { "86399.999999999", 86399999999999 },
		{ "86400.000", 86400000000000 }, { "86400.000000001", REFUSED }, { "86400.5", REFUSED }, { "86401", REFUSED },
		{ "18446744073709551616", REFUSED }, { "18446744074", REFUSED }, { "0", REFUSED }, { "0.0", REFUSED },
		{ "0.009999999", REFUSED }, { "", REFUSED }, { ".", REFUSED }, { "-1", REFUSED }, { "+1", REFUSED }, { " 1", REFUSED },
		{ "1s", REFUSED }, { "1.5s", REFUSED }, { "1..5", REFUSED }, { "1.5.5", REFUSED }, { "1,5", REFUSED }, { "1e3", REFUSED },
		{ "inf", REFUSED }, { "nan", REFUSED },
	};

	(void)state;
	check_all(seconds, examples, COUNT_OF(examples));
}

static void test_time(void **state)
{
	static const struct { const char *text; uint64_t seconds; } accepted[] = {
		{ "1", 1 }, { "90", 90 }, { "2s", 2 }, { "30m", 1800 }, { "1h", 3600 }, { "7d", 604800 }, { "366d", 31622400 },
	};
	static const char *const refused[] = { "", "0", "0s", "-1", "1w", "1hh", "h", "1.5h", "367d", "31622401", "99999999999999999999", "1 h" };
	uint64_t ns;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(accepted); i++) {
		assert_int_equal(parse_time("--test", accepted[i].text, 1000000000, &ns), 0);
		assert_true(ns == accepted[i].seconds * 1000000000);
	}
	for (size_t i = 0; i < COUNT_OF(refused); i++) {
		ns = UNTOUCHED;
		capture_begin(&capture, STDERR_FILENO);
		assert_int_equal(parse_time("--test", refused[i], 1000000000, &ns), -EINVAL);
		check_one_line(capture_end(&capture), "--test");
		assert_true(ns == UNTOUCHED);
	}
}

static void test_cgroup(void **state)
{
	static const char *const refused[] = { "", "0", "-1", "12x", "18446744073709551616", "/", "/tmp", "/proc/self/exe", "/no/such" };
	uint64_t id;

	(void)state;
	assert_int_equal(parse_cgroup("--cgroup", "1", &id), 0);
	assert_true(id == 1);
	assert_int_equal(parse_cgroup("--cgroup", "18446744073709551615", &id), 0);
	assert_true(id == UINT64_MAX);
	for (size_t i = 0; i < COUNT_OF(refused); i++) {
		id = UNTOUCHED;
		capture_begin(&capture, STDERR_FILENO);
		assert_int_equal(parse_cgroup("--cgroup", refused[i], &id), -EINVAL);
		check_one_line(capture_end(&capture), "--cgroup");
		require(id == UNTOUCHED, "'%s' is refused, but changes the result to %llu", refused[i], (unsigned long long)id);
	}
}

/* Each fills its own list; what is refused leaves it alone. */
static void test_ports(void **state)
{
	struct probe_config config = { 0 };
	const struct {
		int (*one)(void *config, const char *where, const char *text);
		const uint16_t *ports;
		const unsigned *n;
	} lists[] = {
		{ parse_one_port, config.ports, &config.n_ports },
		{ parse_one_source_port, config.source_ports, &config.n_source_ports },
		{ parse_one_destination_port, config.destination_ports, &config.n_destination_ports },
		{ parse_one_excluded_port, config.excluded_ports, &config.n_excluded_ports },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(lists); i++) {
		assert_int_equal(lists[i].one(&config, "--test", "65535"), 0);
		assert_int_equal(lists[i].one(&config, "--test", "1"), 0);
		capture_begin(&capture, STDERR_FILENO);
		assert_int_equal(lists[i].one(&config, "--test", "65536"), -EINVAL);
		check_one_line(capture_end(&capture), "--test 65536");
		assert_int_equal(*lists[i].n, 2);
		assert_int_equal(lists[i].ports[0], 65535);
		assert_int_equal(lists[i].ports[1], 1);
		assert_int_equal(config.n_ports + config.n_source_ports + config.n_destination_ports + config.n_excluded_ports, 2 * (i + 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_cgroup),
		cmocka_unit_test(test_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
