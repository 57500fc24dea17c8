/* SPDX-License-Identifier: BSD-2-Clause */
/* The symbol of a kernel function, which the compiler may have given a suffix. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../agent/kern.h"
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

static void find(const char *function, const char *expected)
{
	char path[] = "/tmp/netline-kallsyms-XXXXXX", symbol[64] = "untouched";
	int fd = mkstemp(path), err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, KALLSYMS, sizeof(KALLSYMS) - 1), sizeof(KALLSYMS) - 1);
	close(fd);
	err = kern_symbol(path, function, symbol, sizeof(symbol));
	unlink(path);
	assert_int_equal(err, expected ? 0 : -ENOENT);
	assert_string_equal(symbol, expected ?: "untouched");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact), cmocka_unit_test(test_suffix), cmocka_unit_test(test_none), cmocka_unit_test(test_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
