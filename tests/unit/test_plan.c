/* SPDX-License-Identifier: BSD-2-Clause */
/* Which rows may stand together, and in what order: record_rows() and plan_new(). */
#include <errno.h>

#include "../../agent/agent.h"
#include "../../agent/encode.h"
#include "capture.h"

#define NUMBER(path_) { .path = path_, .member = "m", .kind = KIND_UINT, .size = 8 }

static const struct facts facts = {
	.text = { [FACT_HOST] = "h", [FACT_EPHEMERAL_ID] = "i", [FACT_VERSION] = "v", [FACT_KERNEL] = "k" },
};

static struct record record_of(const struct row *rows, unsigned n)
{
	return (struct record){ RECORD_NAME("test"), .event_kind = "event", .event_category = "network", .event_type = "info",
				.event_action = "test", .size = 8, .rows = rows, .n_rows = n };
}

static void check_accepted(const struct record *record)
{
	struct row rows[MAX_ROWS];
	struct plan *plan = NULL;

	require(record_rows(record, rows) > 0, "rows refused");
	assert_int_equal(plan_new(record, &facts, &plan), 0);
	assert_non_null(plan);
	plan_free(plan);
}

/* -EINVAL, a line that names the row, and nothing given back. */
static void check_refused(const struct record *record, const char *about)
{
	static struct capture capture;
	struct plan *untouched = (void *)&capture, *plan = untouched;
	const char *text;
	int err;

	capture_begin(&capture, STDERR_FILENO);
	err = plan_new(record, &facts, &plan);
	text = capture_end(&capture);
	require(err == -EINVAL, "%s is accepted", about);
	assert_ptr_equal(plan, untouched);
	check_one_line(text, about);
}

static void test_refused(void **state)
{
	static const struct {
		const char *about;
		struct row rows[4];
		unsigned n;
	} refused[] = {
		{ "netline.a", { NUMBER("netline.a"), NUMBER("netline.a") }, 2 },
		{ "netline.a", { NUMBER("netline.a"), NUMBER("netline.b"), NUMBER("netline.a") }, 3 },
		{ "netline.a.b", { NUMBER("netline.a"), NUMBER("netline.a.b") }, 2 },
		{ "netline.a.b", { NUMBER("netline.a.b"), NUMBER("netline.a") }, 2 },
		{ "netline.a.b.c.d", { NUMBER("netline.a.b.c.d"), NUMBER("netline.x"), NUMBER("netline.a") }, 3 },
		{ "netline.a.c", { NUMBER("netline.a.b"), NUMBER("netline.x"), NUMBER("netline.a.c") }, 3 },
		{ "netline.a.b.e", { NUMBER("netline.a.b.c"), NUMBER("netline.a.d"), NUMBER("netline.a.b.e") }, 3 },
		{ "source.nat.port", { NUMBER("source.nat.ip"), NUMBER("source.ip"), NUMBER("source.nat.port") }, 3 },
		{ "netline.schema", { NUMBER("netline.schema") }, 1 },
		{ "netline.schema", { NUMBER("netline.schema.x") }, 1 },
		{ "netline", { NUMBER("netline") }, 1 },
		{ "ecs.version", { NUMBER("ecs") }, 1 },
		{ "event.kind", { NUMBER("event") }, 1 },
		{ "event.kind", { NUMBER("event.kind") }, 1 },
		{ "event.action", { NUMBER("event.action") }, 1 },
		{ "event.sequence", { NUMBER("event.sequence") }, 1 },
		{ "labels.a", { NUMBER("labels.a") }, 1 },
		{ "host.name", { NUMBER("host.name") }, 1 },
		{ "agent.type", { NUMBER("agent.type.x") }, 1 },
		{ "@timestamp", { NUMBER("@timestamp"), NUMBER("@timestamp") }, 2 },
		{ "unheard.of", { NUMBER("unheard.of") }, 1 },
		{ "Network.bytes", { NUMBER("Network.bytes") }, 1 },
		{ "net.bytes", { NUMBER("net.bytes") }, 1 },
		{ "networks.bytes", { NUMBER("networks.bytes") }, 1 },
		{ "event.unheard", { NUMBER("event.unheard") }, 1 },
		{ "event.reasons", { NUMBER("event.reasons") }, 1 },
		{ "event.", { NUMBER("event.") }, 1 },
		{ ".netline", { NUMBER(".netline") }, 1 },
		{ "test", { NUMBER("") }, 1 },
		{ "netline.a.b.c.d.e.f", { NUMBER("netline.a.b.c.d.e.f") }, 1 },	/* deeper than MAX_DEPTH */
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(refused); i++) {
		struct record record = record_of(refused[i].rows, refused[i].n);

		check_refused(&record, refused[i].about);
	}
}

/* What only looks like a contradiction. */
static void test_accepted(void **state)
{
	static const struct {
		struct row rows[4];
		unsigned n;
	} accepted[] = {
		{ { { .path = NULL } }, 0 },
		{ { NUMBER("netline.a"), NUMBER("netline.ab"), NUMBER("netline.abc") }, 3 },
		{ { NUMBER("netline.ab.c"), NUMBER("netline.a.c"), NUMBER("netline.abc.c") }, 3 },
		{ { NUMBER("netline.a.b"), NUMBER("netline.b.a"), NUMBER("netline.b.b") }, 3 },
		{ { NUMBER("netline.a.b.c"), NUMBER("netline.a.c"), NUMBER("netline.d") }, 3 },
		{ { NUMBER("netline.z"), NUMBER("source.port"), NUMBER("netline.y"), NUMBER("source.ip") }, 4 },	/* sorted by key first */
		{ { NUMBER("source.nat.ip"), NUMBER("destination.nat.ip"), NUMBER("source.nat.port") }, 3 },
		{ { NUMBER("netline.a.b.c.d.leaf") }, 1 },
		{ { NUMBER("agent.types"), NUMBER("host.named") }, 2 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(accepted); i++) {
		struct record record = record_of(accepted[i].rows, accepted[i].n);

		check_accepted(&record);
	}
}

/* A record may tell itself what the envelope asks of it. */
static void test_own_constants(void **state)
{
	static const struct row own[] = { NUMBER("event.action"), NUMBER("event.kind"), NUMBER("event.type") };
	struct record record = record_of(own, COUNT_OF(own));
	struct row rows[MAX_ROWS];

	(void)state;
	record.event_action = record.event_kind = record.event_type = NULL;
	assert_int_equal(record_rows(&record, rows), 12);
	assert_string_equal(rows[1].path, "event.kind");
	assert_int_equal(rows[1].kind, KIND_UINT);
	check_accepted(&record);
}

static void test_order(void **state)
{
	static const struct row shuffled[] = {
		NUMBER("netline.b"), NUMBER("container.id"), NUMBER("event.duration"), NUMBER("netline.a"), NUMBER("process.pid"),
		NUMBER("event.outcome"), NUMBER("message"), NUMBER("destination.ip"), NUMBER("source.ip"), NUMBER("event.start"),
		NUMBER("network.type"), NUMBER("event.reason"), NUMBER("agent.version"), NUMBER("host.os.kernel"), NUMBER("@timestamp"),
	};
	static const char *const order[] = {
		"@timestamp", "message", "ecs.version", "event.kind", "event.category", "event.type", "event.dataset", "event.action",
		"event.sequence", "event.outcome", "event.reason", "event.start", "event.duration", "labels", "host.name",
		"host.os.kernel", "agent.type", "agent.ephemeral_id", "agent.version", "network.type", "source.ip", "destination.ip",
		"process.pid", "container.id", "netline.schema", "netline.b", "netline.a",
	};
	struct record record = record_of(shuffled, COUNT_OF(shuffled));
	struct row rows[MAX_ROWS];

	(void)state;
	assert_int_equal(record_rows(&record, rows), COUNT_OF(order));
	for (size_t i = 0; i < COUNT_OF(order); i++)
		assert_string_equal(rows[i].path, order[i]);
}

static bool same_row(const struct row *a, const struct row *b)
{
	return a->path == b->path && a->member == b->member && a->text == b->text && a->names == b->names && a->kind == b->kind &&
	       a->absence == b->absence && a->fact == b->fact && a->offset == b->offset && a->size == b->size;
}

/* Constants have their text; nothing that a record has is left out or changed. */
static void test_rows_of_records(void **state)
{
	const struct record *records[MAX_RECORDS];
	unsigned n_records = agent_record_types(records);
	struct row rows[MAX_ROWS];

	(void)state;
	for (unsigned r = 0; r < n_records; r++) {
		int n = record_rows(records[r], rows), found;

		require(n > 0, "%s", records[r]->name);
		for (int i = 0; i < n; i++)
			require((rows[i].kind != KIND_CONST && rows[i].kind != KIND_CONST_LIST) || rows[i].text, "%s", rows[i].path);
		for (unsigned own = 0; own < records[r]->n_rows; own++) {
			found = 0;
			for (int i = 0; i < n; i++)
				found += same_row(&rows[i], &records[r]->rows[own]);
			require(found == 1, "%s: %s stands %d times", records[r]->name, records[r]->rows[own].path, found);
		}
		check_accepted(records[r]);
	}
}

#define ENVELOPE_ROWS 12

static void test_too_many(void **state)
{
	static struct row many[MAX_ROWS];
	static char paths[MAX_ROWS][16];
	struct record record = record_of(many, MAX_ROWS - ENVELOPE_ROWS);

	(void)state;
	for (unsigned i = 0; i < MAX_ROWS; i++) {
		snprintf(paths[i], sizeof(paths[i]), "netline.n%u", i);
		many[i] = (struct row)NUMBER(paths[i]);
	}
	check_accepted(&record);
	record.n_rows++;
	check_refused(&record, paths[MAX_ROWS - ENVELOPE_ROWS]);
	record.n_rows = MAX_ROWS;
	check_refused(&record, paths[MAX_ROWS - ENVELOPE_ROWS]);
}

static void test_free_null(void **state)
{
	(void)state;
	plan_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_own_constants),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_rows_of_records),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_free_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
