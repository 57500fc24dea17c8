/* SPDX-License-Identifier: BSD-2-Clause */
/* The symbol of a kernel function, which the compiler may have given a suffix, and where its code is; refused netfilter programs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../agent/kern.h"
#include "../../agent/netfilter.h"
#include "../../schema/control.h"
#include "unit.h"

static const char KALLSYMS[] =
	"ffffffff81000000 T _stext\n"
	"ffffffff81000010 t ip_rcv_core.isra.0\n"
	"ffffffff81000020 T ip_rcv\n"
	"ffffffff81000030 t ip_rcv_finish.part.0\n"
	"ffffffff81000040 t tcp_v4_rcv_more\n"
	"ffffffff81000050 D tcp_v4_rcv\n"
	"ffffffff81000060 t tcp_queue_rcv.isra.1\n"
	"ffffffff81000070 t tcp_queue_rcv\n"
	"0000000000000000 W weak\n"
	"ffffffffc0000000 t in_module.isra.0\t[veth]\n";

static const char CODE[] =
	"ffffffff81000000 T _stext\n"
	"ffffffff81000100 T tcp_v4_rcv\n"
	"ffffffff81000100 T __pi_tcp_v4_rcv\n"
	"ffffffff81000180 t tcp_v4_rcv_more\n"
	"ffffffff81000200 t tcp_v4_rcv.cold\n"
	"ffffffff81000210 T tcp_v6_rcv\n"
	"ffffffff81000300 D data\n";

static void find(const char *function, const char *expected)
{
	char path[] = "/tmp/netline-kallsyms-XXXXXX", symbol[64] = "untouched";
	int fd = mkstemp(path), err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, KALLSYMS, sizeof(KALLSYMS) - 1), sizeof(KALLSYMS) - 1);
	close(fd);
	for (int i = 0; i < 2; i++) {	/* the second answer is of what is remembered: the file has gone */
		err = kern_symbol(path, function, symbol, sizeof(symbol));
		unlink(path);
		assert_int_equal(err, expected ? 0 : -ENOENT);
		assert_string_equal(symbol, expected ?: "untouched");
	}
	kern_forget_symbols();
}

static void test_exact(void **state)
{
	(void)state;
	find("ip_rcv", "ip_rcv");
	find("weak", "weak");
	find("tcp_queue_rcv", "tcp_queue_rcv");
}

static void test_suffix(void **state)
{
	(void)state;
	find("ip_rcv_core", "ip_rcv_core.isra.0");
	find("in_module", "in_module.isra.0");
}

/* A part of a function is not the function, nor is another one, nor data. */
static void test_none(void **state)
{
	(void)state;
	find("ip_rcv_finish", NULL);
	find("tcp_v4_rcv", NULL);
	find("nosuch", NULL);
}

static void test_no_file(void **state)
{
	char symbol[64];

	(void)state;
	assert_int_equal(kern_symbol("/nonexistent", "ip_rcv", symbol, sizeof(symbol)), -ENOENT);
}

static unsigned code(const char *kallsyms, size_t size, struct code_range *ret_ranges, unsigned room)
{
	static const char *const functions[] = { "tcp_v4_rcv", "tcp_v6_rcv", NULL };
	char path[] = "/tmp/netline-kallsyms-XXXXXX";
	int fd = mkstemp(path);
	unsigned n;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, kallsyms, size), size);
	close(fd);
	n = kern_code(path, functions, ret_ranges, room);
	unlink(path);
	return n;
}

static void test_code(void **state)
{
	static const struct code_range expected[] = {
		{ 0xffffffff81000100, 0xffffffff81000180 }, { 0xffffffff81000200, 0xffffffff81000210 }, { 0xffffffff81000210, 0xffffffff81000300 },
	};
	struct code_range ranges[4];

	(void)state;
	assert_int_equal(code(CODE, sizeof(CODE) - 1, ranges, 4), 3);
	assert_memory_equal(ranges, expected, sizeof(expected));
	assert_int_equal(code(CODE, sizeof(CODE) - 1, ranges, 1), 1);
	assert_memory_equal(ranges, expected, sizeof(expected[0]));
}

/* The kernel hides its addresses, or its symbols. */
static void test_code_is_hidden(void **state)
{
	static const char hidden[] = "0000000000000000 T tcp_v4_rcv\n0000000000000000 T tcp_v6_rcv\n";
	struct code_range ranges[4];

	(void)state;
	assert_int_equal(code(hidden, sizeof(hidden) - 1, ranges, 4), 0);
	assert_int_equal(kern_code("/nonexistent", (const char *const[]){ "tcp_v4_rcv", NULL }, ranges, 4), 0);
}

static void test_unknown_netfilter_hook(void **state)
{
	struct netfilter *netfilter = NULL;

	(void)state;
	assert_int_equal(netfilter_attach(&netfilter, -1, "NF_INET_LOCAL", false), -EINVAL);
	assert_null(netfilter);
	netfilter_follow(netfilter);
	netfilter_free(netfilter);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* What is no program is refused in the own namespace, before others are looked for; nothing is left open. */
static void refuse(bool all_netns)
{
	unsigned before = open_descriptors();
	struct netfilter *netfilter = NULL;
	struct stat own, now;

	assert_int_equal(stat("/proc/thread-self/ns/net", &own), 0);
	assert_in_range(-netfilter_attach(&netfilter, -1, "NF_INET_LOCAL_IN", all_netns), 1, 4095);
	assert_non_null(netfilter);
	netfilter_free(netfilter);
	assert_int_equal(stat("/proc/thread-self/ns/net", &now), 0);
	assert_int_equal(now.st_ino, own.st_ino);
	assert_int_equal(open_descriptors(), before);
}

static void test_netfilter_refused(void **state)
{
	(void)state;
	refuse(false);
	refuse(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact), cmocka_unit_test(test_suffix), cmocka_unit_test(test_none), cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_code), cmocka_unit_test(test_code_is_hidden),
		cmocka_unit_test(test_unknown_netfilter_hook), cmocka_unit_test(test_netfilter_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
