/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel's drop reasons mean to tcp_inerrs. */
#include "../../agent/probes/inerr_reasons.h"
#include "unit.h"

static void check(const char *name, bool duplicates, enum inerr_reason reason, enum inerr_reason reset_reason)
{
	struct inerr_rule rule;

	require(inerr_rule_of(name, duplicates, &rule), "%s is unknown", name);
	require(rule.reason == reason && rule.reset_reason == reset_reason, "%s: %u, %u", name, rule.reason, rule.reset_reason);
	assert_string_equal(rule.name, name + strlen(DROP_REASON_PREFIX));
}

static void test_known(void **state)
{
	(void)state;
	check("SKB_DROP_REASON_TCP_CSUM", false, INERR_BAD_CHECKSUM, INERR_BAD_CHECKSUM);
	check("SKB_DROP_REASON_TCP_INVALID_SEQUENCE", false, INERR_OUT_OF_WINDOW, INERR_RST_OUT_OF_WINDOW);
	check("SKB_DROP_REASON_NO_SOCKET", true, INERR_NO_SOCKET, INERR_NO_SOCKET);
}

/* Duplicates are no errors, but a RST is. */
static void test_duplicates(void **state)
{
	(void)state;
	check("SKB_DROP_REASON_TCP_OLD_SEQUENCE", false, INERR_NONE, INERR_RST_OUT_OF_WINDOW);
	check("SKB_DROP_REASON_TCP_OLD_SEQUENCE", true, INERR_OLD_DATA, INERR_RST_OUT_OF_WINDOW);
	check("SKB_DROP_REASON_TCP_OLD_DATA", false, INERR_NONE, INERR_NONE);
	check("SKB_DROP_REASON_TCP_OLD_DATA", true, INERR_OLD_DATA, INERR_OLD_DATA);
	check("SKB_DROP_REASON_TCP_RFC7323_PAWS_ACK", false, INERR_NONE, INERR_NONE);
}

/* A name that comes with a later kernel: TCP's own, and no other. A long one is cut. */
static void test_unknown(void **state)
{
	const char *name = "SKB_DROP_REASON_TCP_OF_A_KERNEL_THAT_IS_NOT_THERE_YET";
	struct inerr_rule rule;

	(void)state;
	assert_true(inerr_rule_of(name, false, &rule));
	assert_int_equal(rule.reason, INERR_OTHER);
	assert_int_equal(rule.check, CHECK_SOCKET);
	assert_string_equal(rule.name, "TCP_OF_A_KERNEL_THAT_IS_NOT_THE");
	assert_false(inerr_rule_of("SKB_DROP_REASON_NETFILTER_DROP", true, &rule));
	assert_false(inerr_rule_of("SKB_DROP_REASON_UDP_CSUM", true, &rule));
	assert_false(inerr_rule_of("SKB_CONSUMED", true, &rule));
}

static void test_classes(void **state)
{
	static const char *const expected[] = {
		[INERR_BAD_CHECKSUM] = "malformed", [INERR_BAD_FLAGS] = "malformed", [INERR_OUT_OF_WINDOW] = "out_of_window",
		[INERR_INVALID_ACK] = "out_of_window", [INERR_MD5] = "authentication", [INERR_AO] = "authentication",
		[INERR_NO_SOCKET] = "no_socket", [INERR_RECEIVE_BUFFER] = "resource", [INERR_LISTEN_OVERFLOW] = "resource", [INERR_OTHER] = "other",
	};

	(void)state;
	for (unsigned reason = 0; reason < COUNT_OF(expected); reason++)
		if (expected[reason])
			assert_string_equal(inerr_classes[inerr_class_of(reason)], expected[reason]);
	assert_int_equal(COUNT_OF(inerr_reasons), INERR_OTHER + 1);
}

static void test_flag_names(void **state)
{
	(void)state;
	assert_int_equal(COUNT_OF(tcp_flag_names), 256);
	assert_null(tcp_flag_names[0]);
	assert_string_equal(tcp_flag_names[0x01], "FIN");
	assert_string_equal(tcp_flag_names[0x12], "ACK|SYN");
	assert_string_equal(tcp_flag_names[0x18], "ACK|PSH");
	assert_string_equal(tcp_flag_names[0xff], "CWR|ECE|URG|ACK|PSH|RST|SYN|FIN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known), cmocka_unit_test(test_duplicates), cmocka_unit_test(test_unknown), cmocka_unit_test(test_classes),
		cmocka_unit_test(test_flag_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
