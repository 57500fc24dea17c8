/* SPDX-License-Identifier: BSD-2-Clause */
/* Community ID: the TCP vectors of its specification (baseline, seed 0) and others' of the same. */
#include <arpa/inet.h>
#include <stdio.h>

#include "../../agent/community_id.h"
#include "unit.h"

static void address(const char *text, uint8_t ret_address[16])
{
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
	assert_int_equal(inet_pton(AF_INET6, mapped, ret_address), 1);
}

static void test_vectors(void **state)
{
	static const struct {
		const char *source;
		uint16_t source_port;
		const char *destination;
		uint16_t destination_port;
		const char *id;
	} vectors[] = {
		{ "128.232.110.120", 34855, "66.35.250.204", 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=" },
		{ "2001:470:e5bf:dead:4957:2174:e82c:4887", 63943, "2607:f8b0:400c:c03::1a", 25, "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=" },
		{ "1.2.3.4", 1122, "5.6.7.8", 3344, "1:wCb3OG7yAFWelaUydu0D+125CLM=" },
	};
	uint8_t source[16], destination[16];
	char id[COMMUNITY_ID_LEN];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(vectors); i++) {
		address(vectors[i].source, source);
		address(vectors[i].destination, destination);
		community_id(source, vectors[i].source_port, destination, vectors[i].destination_port, id);
		assert_string_equal(id, vectors[i].id);
		community_id(destination, vectors[i].destination_port, source, vectors[i].source_port, id);
		assert_string_equal(id, vectors[i].id);
	}
}

/* Between equal addresses the ports decide which side is first. */
static void test_one_address(void **state)
{
	char one[COMMUNITY_ID_LEN], other[COMMUNITY_ID_LEN];
	uint8_t lo[16];

	(void)state;
	address("127.0.0.1", lo);
	community_id(lo, 1, lo, 65535, one);
	community_id(lo, 65535, lo, 1, other);
	assert_string_equal(one, other);
	community_id(lo, 1, lo, 65534, other);
	assert_string_not_equal(one, other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_one_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
