/* SPDX-License-Identifier: BSD-2-Clause */
/* Every record type of the agent, encoded and held against the oracle. */
#include "subject.h"

#include "../../agent/agent.h"
#include "../../schema/tcp_connection.h"

static const struct record *records[MAX_RECORDS];
static unsigned n_records;

static int find_records(void **state)
{
	(void)state;
	n_records = agent_record_types(records);
	return n_records ? 0 : -1;
}

static const struct record *record_named(const char *name)
{
	for (unsigned i = 0; i < n_records; i++)
		if (!strcmp(records[i]->name, name))
			return records[i];
	fail_msg("no record %s", name);
	return NULL;
}

static void for_each_record(void (*test)(struct subject *subject))
{
	struct subject subject;

	for (unsigned i = 0; i < n_records; i++) {
		subject_init(&subject, records[i], plain_facts());
		test(&subject);
		subject_release(&subject);
	}
}

/* --- members --- */

static void check_extremes(struct subject *subject)
{
	for (unsigned byte = 0; byte < 256; byte += SLOWNESS > 8 ? 15 : 1) {
		memset(subject->wire.data, byte, subject->wire.size);
		subject_check(subject);
	}
}

static void test_extremes(void **state)
{
	(void)state;
	for_each_record(check_extremes);
}

static void check_random(struct subject *subject)
{
	struct random random = { 6 };

	for (unsigned i = 0; i < rounds(20000); i++) {
		random_wire(subject, &random);
		subject->moment.sequence = random_length(&random) >> 1;
		subject_check(subject);
	}
}

static void test_random(void **state)
{
	(void)state;
	for_each_record(check_random);
}

/* Each text member at each single byte, alone and at the very end of the member. */
static void check_texts(struct subject *subject)
{
	for (int i = 0; i < subject->n_rows; i++) {
		const struct row *row = &subject->rows[i];

		for (unsigned byte = 1; (row->kind == KIND_TEXT || row->kind == KIND_LIST) && byte < 256; byte += SLOWNESS / 2 | 1) {
			set_text(subject, row, (char[]){ byte }, 1);
			subject_check(subject);
			set_present(subject, row);
			subject->wire.data[row->offset + row->size - 1] = byte;
			subject_check(subject);
			memset(subject->wire.data + row->offset, byte, row->size);
			subject_check(subject);
		}
	}
}

static void test_texts(void **state)
{
	(void)state;
	for_each_record(check_texts);
}

/* --- presence --- */

/* The record with the optional rows whose bits are set. */
static void check_presence(struct subject *subject, uint64_t bits)
{
	for (int i = 0, bit = 0; i < subject->n_rows; i++) {
		const struct row *row = &subject->rows[i];

		if (row_optional(row) && bits >> bit++ & 1)
			set_present(subject, row);
		else if (row_optional(row))
			set_absent(subject, row);
		else if (row->member)
			set_present(subject, row);
	}
	subject_check(subject);
}

static void check_combinations(struct subject *subject)
{
	struct random random = { 7 };
	unsigned n = 0;

	for (int i = 0; i < subject->n_rows; i++)
		n += row_optional(&subject->rows[i]);
	assert_true(n < 64);
	check_presence(subject, 0);
	check_presence(subject, UINT64_MAX);
	for (unsigned i = 0; i < n; i++) {
		check_presence(subject, 1ull << i);
		check_presence(subject, ~(1ull << i));
	}
	for (uint64_t bits = 0; n <= 12 && bits >> n == 0; bits += SLOWNESS | 1)
		check_presence(subject, bits);
	for (unsigned i = 0; n > 12 && i < rounds(5000); i++)
		check_presence(subject, random_u64(&random));
}

static void test_presence(void **state)
{
	(void)state;
	for_each_record(check_combinations);
}

static bool line_has(struct subject *subject, const char *text)
{
	const char *line = subject_encode(subject);

	return memmem(line, subject->length, text, strlen(text));
}

/* A tcp_connection record: its wire struct. */
static struct tcp_connection *connection_init(struct subject *subject)
{
	subject_init(subject, record_named("tcp_connection"), plain_facts());
	return (void *)subject->wire.data;
}

/* A group goes with its last member. */
static void test_groups(void **state)
{
	struct subject subject;
	struct tcp_connection *wire = connection_init(&subject);

	(void)state;
	memset(wire, 0, sizeof(*wire));
	assert_false(line_has(&subject, "\"accept\""));
	assert_false(line_has(&subject, "\"process\""));
	assert_true(line_has(&subject, "\"netline\":{\"schema\":1,\"role\":\"unknown\",\"socket\":{\"netns\":\"0\"}}}\n"));
	wire->accept_wait_ns = 90210;
	assert_true(line_has(&subject, "\"role\":\"unknown\",\"accept\":{\"wait_ns\":90210},\"socket\":{"));
	wire->accept_state = ACCEPT_ACCEPTED;
	wire->srtt_ns = 5;
	assert_true(line_has(&subject, "\"srtt_ns\":5,\"accept\":{\"state\":\"accepted\",\"wait_ns\":90210},\"socket\":{"));
	wire->tid = 811;
	assert_true(line_has(&subject, "\"process\":{\"thread\":{\"id\":811}},\"netline\""));
	strcpy(wire->process_name, "nginx");
	assert_true(line_has(&subject, "\"process\":{\"name\":\"nginx\",\"thread\":{\"id\":811}},\"netline\""));
	wire->tid = 0;
	assert_true(line_has(&subject, "\"process\":{\"name\":\"nginx\"},\"netline\""));
	subject_release(&subject);
}

/* --- the envelope --- */

static void check_rank(const char *const *order, json_t *object, const char *what)
{
	const char *key;
	json_t *value;
	int at = 0;

	json_object_foreach(object, key, value) {
		while (order[at] && strcmp(order[at], key))
			at++;
		require(order[at], "%s: %s is out of order or unknown", what, key);
	}
}

/* Told once more, from RECORDS.md. */
static void check_envelope(struct subject *subject)
{
	static const char *const top[] = {
		"@timestamp", "message", "ecs", "event", "labels", "host", "agent", "network", "source", "destination", "process",
		"container", "netline", NULL,
	};
	static const char *const event[] = {
		"kind", "category", "type", "dataset", "action", "sequence", "outcome", "reason", "start", "duration", NULL,
	};
	const char *kind, *dataset, *type, *id;
	json_int_t sequence, schema;
	json_t *line;

	memset(subject->wire.data, 1, subject->wire.size);
	subject->moment.sequence = 42;
	line = json_loads(subject_encode(subject), JSON_DISABLE_EOF_CHECK, NULL);
	check_rank(top, line, subject->record->name);
	check_rank(event, json_object_get(line, "event"), subject->record->name);
	assert_int_equal(json_unpack(line, "{s{s:s s:s s:I} s{s:s s:s} s{s:I}}", "event", "kind", &kind, "dataset", &dataset, "sequence",
				     &sequence, "agent", "type", &type, "ephemeral_id", &id, "netline", "schema", &schema), 0);
	assert_string_equal(kind, subject->record->event_kind);
	assert_string_equal(dataset, subject->record->dataset);
	assert_string_equal(type, "netline");
	assert_string_equal(id, "8a4f500fc2d1e07b");
	assert_int_equal(sequence, 42);
	assert_int_equal(schema, SCHEMA_VERSION);
	assert_string_equal(json_string_value(json_object_get(json_object_get(line, "ecs"), "version")), "9.4.0");
	assert_string_equal(json_string_value(json_object_get(json_object_get(line, "host"), "name")), "web-01");
	assert_null(json_object_get(line, "labels"));
	json_decref(line);
}

static void test_envelope(void **state)
{
	(void)state;
	for_each_record(check_envelope);
}

/* The numbers that readers must not lose: integers end at 2^63-1, identifiers keep all 64 bits. */
static void test_limits(void **state)
{
	struct subject subject;
	struct tcp_connection *wire = connection_init(&subject);

	(void)state;
	wire->handshake_ns = (uint64_t)INT64_MAX + 1;
	wire->cookie.value = UINT64_MAX;
	wire->netns.value = (uint64_t)INT64_MAX + 1;
	assert_true(line_has(&subject, "\"duration\":9223372036854775807}"));
	assert_true(line_has(&subject, "{\"cookie\":\"18446744073709551615\",\"netns\":\"9223372036854775808\"}"));
	wire->handshake_ns = INT64_MAX - 1;
	assert_true(line_has(&subject, "\"duration\":9223372036854775806}"));
	subject_release(&subject);
}

/* A time in the kernel's clock, moved by an offset that changes within the second that is cached. */
static void test_offset(void **state)
{
	struct subject subject;
	struct tcp_connection *wire = connection_init(&subject);

	(void)state;
	wire->time.ns = 12345;
	subject.moment.utc_offset = 1795000000000000000;
	assert_true(line_has(&subject, "{\"@timestamp\":\"2026-11-18T11:06:40.000012345Z\",\"ecs\""));
	subject.moment.utc_offset -= 12346;
	assert_true(line_has(&subject, "{\"@timestamp\":\"2026-11-18T11:06:39.999999999Z\",\"ecs\""));
	subject.moment.utc_offset += 86400000000000;
	assert_true(line_has(&subject, "{\"@timestamp\":\"2026-11-19T11:06:39.999999999Z\",\"ecs\""));
	subject.moment.utc_offset = -(1ll << 62);
	assert_true(line_has(&subject, "{\"@timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"ecs\""));
	subject_release(&subject);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_presence),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_offset),
	};

	return cmocka_run_group_tests(tests, find_records, NULL);
}
