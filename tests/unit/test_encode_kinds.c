/* SPDX-License-Identifier: BSD-2-Clause */
/* Records that exist only here: every kind of row in every place, and records made up at random. */
#include "subject.h"

/* --- one of each kind --- */

struct every {
	nl_time time;
	nl_time start;
	__u64 values[4];
	__u64 counts[3];
	__u64 n64;
	nl_id id;
	nl_fixed fixed;
	nl_fixed rate;
	nl_ip ip;
	nl_ip other_ip;
	char list[24];
	char hooks[16];
	char text[9];
	bool flag;
	bool other_flag;
	__u8 n8;
	__u32 n_counts;
	__u32 n32;
	__u32 deep;
	__u16 n_values;
	__u16 n16;
	__u16 e16;
	__u8 e8;
	char tail[3];	/* the last bytes of the struct */
};

static const char *const small_names[] = { "a", NULL, "b" };
static const char *const other_names[] = { [0] = "zero", [300] = "three_hundred" };

#define S struct every
#define CONSTANT(path_, text_) { .path = path_, .kind = KIND_CONST, .text = text_ }
#define CONSTANTS(path_, text_) { .path = path_, .kind = KIND_CONST_LIST, .text = text_ }
static const struct row every_rows[] = {
	ROW(S, "@timestamp", time, NULL, ""),
	ROW(S, "message", text, NULL, "", IF_ZERO("")),
	ROW(S, "event.start", start, NULL, "", IF_ZERO("")),
	ROW_ENUM(S, "event.reason", e16, other_names, "", IF_MAX("")),
	ROW(S, "source.ip", ip, NULL, "", IF_ZERO("")),			/* optional first, then always there */
	ROW(S, "source.nat.ip", other_ip, NULL, "", IF_ZERO("")),
	ROW(S, "source.nat.port", n16, NULL, "", IF_MAX("")),
	ROW(S, "source.port", n32, NULL, ""),
	ROW(S, "destination.port", n16, NULL, "", IF_ZERO("")),		/* constants after an optional */
	CONSTANT("destination.const", "a\"b\\\n\xff\xc3\xa9"),
	CONSTANTS("destination.consts", "one,two"),
	ROW(S, "process.pid", n8, NULL, "", IF_MAX("")),		/* a fact after an optional, in a group of its own */
	ROW_FACT("process.thread.fact", FACT_KERNEL, ""),
	ROW(S, "process.thread.id", n8, NULL, "", IF_ZERO("")),
	ROW(S, "container.a.b.c.d.leaf", deep, NULL, "", IF_ZERO("")),	/* nothing but optional, four below */
	ROW(S, "container.a.b.c.e.leaf", n64, NULL, "", IF_ZERO("")),
	ROW(S, "container.a.b.leaf", n16, NULL, "", IF_ZERO("")),
	ROW(S, "container.z", n8, NULL, "", IF_ZERO("")),
	ROW(S, "netline.flag", flag, NULL, ""),
	ROW(S, "netline.other_flag", other_flag, NULL, "", IF_ZERO("")),
	ROW(S, "netline.id", id, NULL, ""),
	ROW(S, "netline.n8", n8, NULL, ""),
	ROW(S, "netline.n16", n16, NULL, ""),
	ROW(S, "netline.n32", n32, NULL, "", IF_MAX("")),
	ROW(S, "netline.n64", n64, NULL, ""),
	ROW(S, "netline.fixed", fixed, NULL, ""),
	ROW(S, "netline.rate", rate, NULL, "", IF_MAX("")),
	ROW_ENUM(S, "netline.e8", e8, small_names, ""),
	ROW_ENUM(S, "netline.e16", e16, other_names, ""),
	ROW_LIST(S, "netline.list", list, ""),
	ROW_LIST(S, "netline.hooks", hooks, "", IF_ZERO("")),
	ROW_ARRAY(S, "netline.histogram.values", values, n_values, NULL, ""),
	ROW_ARRAY(S, "netline.histogram.counts", counts, n_counts, NULL, ""),
	ROW(S, "netline.tail", tail, NULL, ""),
};
#undef S

#define RECORD_OF(struct_, rows_, n_rows_) { RECORD_NAME("test"), .event_kind = "event", .event_category = "network", \
	.event_type = "connection,start", .event_action = "test", .size = sizeof(struct_), .rows = rows_, .n_rows = n_rows_ }
static const struct record every_record = RECORD_OF(struct every, every_rows, COUNT_OF(every_rows));

static void test_every_kind(void **state)
{
	struct random random = { 8 };
	struct subject subject;

	(void)state;
	subject_init(&subject, &every_record, plain_facts());
	for (unsigned byte = 0; byte < 256; byte++) {
		memset(subject.wire.data, byte, subject.wire.size);
		subject_check(&subject);
	}
	for (unsigned i = 0; i < rounds(10000); i++) {
		random_wire(&subject, &random);
		subject_check(&subject);
	}
	subject_release(&subject);
}

/* The optional rows in every combination that 12 bits give, the bits dealt out anew each time. */
static void test_every_presence(void **state)
{
	struct random random = { 9 };
	struct subject subject;

	(void)state;
	subject_init(&subject, &every_record, plain_facts());
	for (unsigned round = 0; round < rounds(4096); round++) {
		uint64_t bits = random_u64(&random) & random_u64(&random);

		memset(subject.wire.data, 1, subject.wire.size);
		for (int i = 0, bit = 0; i < subject.n_rows; i++)
			if (row_optional(&subject.rows[i]) && !(bits >> bit++ & 1))
				set_absent(&subject, &subject.rows[i]);
		subject_check(&subject);
	}
	subject_release(&subject);
}

static void expect_part(struct subject *subject, const char *part)
{
	const char *line = subject_encode(subject);

	require(memmem(line, subject->length, part, strlen(part)), "%s is not in %.*s", part, (int)subject->length, line);
}

/* What the oracle could get wrong in the same way. */
static void test_every_known(void **state)
{
	struct subject subject;
	struct every *wire;

	(void)state;
	subject_init(&subject, &every_record, plain_facts());
	wire = (void *)subject.wire.data;
	wire->n16 = wire->n32 = UINT16_MAX;
	wire->e16 = 300;
	wire->fixed.milli = 383994;
	wire->rate.milli = UINT64_MAX - 1;
	wire->flag = true;
	wire->n_values = 2;
	wire->n_counts = UINT32_MAX;
	wire->values[0] = 1024;
	wire->values[1] = UINT64_MAX;
	memcpy(wire->list, "a,,b\xc3,", 6);
	memcpy(wire->tail, "xyz", 3);
	expect_part(&subject, "\"reason\":\"three_hundred\"},\"host\":");
	expect_part(&subject, "\"source\":{\"port\":65535},\"destination\":{\"port\":65535,\"const\":\"a\\\"b\\\\\\n\xef\xbf\xbd\xc3\xa9\",");
	expect_part(&subject, "\"consts\":[\"one\",\"two\"]},\"process\":{\"pid\":0,\"thread\":{\"fact\":\"6.1.0\"}},\"container\":{");
	expect_part(&subject, "\"container\":{\"a\":{\"b\":{\"leaf\":65535}}},\"netline\":{\"schema\":1,\"flag\":true,\"id\":\"0\",\"n8\":0,");
	expect_part(&subject, "\"fixed\":383.994,\"rate\":9223372036854775.807,\"e8\":\"a\",\"e16\":\"three_hundred\",");
	expect_part(&subject, "\"list\":[\"a\",\"\",\"b\xef\xbf\xbd\"],\"histogram\":{\"values\":[1024,9223372036854775807],\"counts\":[0,0,0]}");
	expect_part(&subject, ",\"tail\":\"xyz\"}}\n");
	wire->n16 = wire->n_values = wire->n_counts = 0;
	wire->deep = 7;
	expect_part(&subject, "\"destination\":{\"const\":");
	expect_part(&subject, "\"source\":{\"nat\":{\"port\":0},\"port\":65535}");
	expect_part(&subject, "\"container\":{\"a\":{\"b\":{\"c\":{\"d\":{\"leaf\":7}}}}},\"netline\"");
	expect_part(&subject, "\"histogram\":{\"values\":[],\"counts\":[]}");
	subject_release(&subject);
}

/* --- an optional first key of the line --- */

struct bare {
	nl_time time;
	__u64 number;
};

static void test_optional_first(void **state)
{
	static const struct row rows[] = {
		ROW(struct bare, "@timestamp", time, NULL, "", IF_ZERO("")),
		ROW(struct bare, "netline.number", number, NULL, "", IF_MAX("")),
	};
	static const struct record record = RECORD_OF(struct bare, rows, COUNT_OF(rows));
	struct subject subject;

	(void)state;
	subject_init(&subject, &record, plain_facts());
	subject_check(&subject);
	expect_part(&subject, "{\"ecs\":{");
	memset(subject.wire.data, 0xff, sizeof(struct bare));
	subject_check(&subject);
	expect_part(&subject, "\"netline\":{\"schema\":1}}\n");
	subject_release(&subject);
}

/* --- room --- */

/* "unknown" is longer than every name that these rows have. */
static void test_room_for_unknown(void **state)
{
	static const char *const names[] = { "x" };
	struct row rows[MAX_ROWS];
	char paths[40][16];
	struct record record = RECORD_OF(__u8[40], rows, 40);
	struct subject subject;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		snprintf(paths[i], sizeof(paths[i]), "netline.e%u", i);
		rows[i] = (struct row){ .path = paths[i], .member = "e", .kind = KIND_ENUM, .offset = i, .size = 1, .names = names, .n_names = 1 };
	}
	subject_init(&subject, &record, plain_facts());
	memset(subject.wire.data, 0xff, 40);
	subject_check(&subject);
	subject_release(&subject);
}

/* Texts of nothing but what is longest: the room is kept to, and a line above the limit tells its true length. */
static void test_room_for_texts(void **state)
{
	static const struct row rows[] = {
		{ .path = "message", .member = "m", .kind = KIND_TEXT, .size = 600 },
		{ .path = "netline.list", .member = "l", .kind = KIND_LIST, .size = 601, .offset = 600 },
	};
	static const struct record record = RECORD_OF(char[1201], rows, COUNT_OF(rows));
	struct subject subject;

	(void)state;
	subject_init(&subject, &record, plain_facts());
	for (unsigned byte = 1; byte < 256; byte += SLOWNESS > 8 ? 7 : 1) {
		memset(subject.wire.data, byte, 1201);
		subject_check(&subject);
		for (unsigned i = 0; i < 601; i += 2)
			subject.wire.data[600 + i] = ',';
		subject_check(&subject);
	}
	memset(subject.wire.data, 1, 1201);
	subject_encode(&subject);
	assert_true(subject.length > LINE_MAX_BYTES);
	subject_release(&subject);
}

/* Each value at its longest, and every length of what follows: the slack for block copies is needed, and enough. */
static void test_room_for_copies(void **state)
{
	static const struct row rows[] = { { .path = "message", .member = "m", .kind = KIND_TEXT, .size = 100 } };
	static const struct record record = RECORD_OF(char[100], rows, COUNT_OF(rows));
	struct facts facts = *plain_facts();
	char host[2 * 32 + 1];
	struct subject subject;

	(void)state;
	for (unsigned i = 0; i < sizeof(host); i++) {
		memset(host, 'h', i);
		host[i] = 0;
		facts.text[FACT_HOST] = host;
		subject_init(&subject, &record, &facts);
		memset(subject.wire.data, 1, 100);
		subject.moment.sequence = UINT64_MAX;
		subject_encode(&subject);
		subject_release(&subject);
	}
}

/* --- labels --- */

static void check_labels(const char *key, const char *value, unsigned n)
{
	struct label labels[64];
	struct facts facts = *plain_facts();
	struct random random = { 10 };
	struct subject subject;
	char *keys = malloc(n * 600);

	assert_non_null(keys);
	for (unsigned i = 0; i < n; i++) {
		snprintf(keys + i * 600, 600, "%s%u", key, i);
		labels[i] = (struct label){ .key = keys + i * 600, .value = value };
	}
	facts.labels = labels;
	facts.n_labels = n;
	subject_init(&subject, &every_record, &facts);
	for (unsigned i = 0; i < rounds(n == 64 ? 20 : 200); i++) {
		random_wire(&subject, &random);
		subject_check(&subject);
		if (n * strlen(value) > LINE_MAX_BYTES)
			assert_true(subject.length > LINE_MAX_BYTES);
	}
	subject_release(&subject);
	free(keys);
}

static char *repeated(char *ret_text, int byte, size_t n)
{
	memset(ret_text, byte, n);
	ret_text[n] = 0;
	return ret_text;
}

static void test_labels(void **state)
{
	char text[512];

	(void)state;
	check_labels("k", "v", 1);
	check_labels("a \"key\"\n\xff", "\xc3\xa9 \\ \x01", 3);
	check_labels("k", repeated(text, 'v', 100), 64);
	check_labels("k", repeated(text, 'v', 505), 64);
}

/* All that --label takes: 64 of 512 bytes, which escaping makes longer than 16 bits can count. */
static void test_labels_longest(void **state)
{
	char text[512];

	(void)state;
	check_labels("k", repeated(text, '"', 505), 64);
	check_labels("k", repeated(text, '\x01', 505), 64);
}

/* --- records at random --- */

struct making {
	struct random *random;
	struct row rows[MAX_ROWS];
	char paths[MAX_ROWS][128];
	unsigned n_rows, limit;
};

#define WIRE_BYTES 200

static void make_leaf(struct making *making, const char *path)
{
	static const struct {
		enum kind kind;
		unsigned short size;
	} kinds[] = {
		{ KIND_UINT, 1 }, { KIND_UINT, 2 }, { KIND_UINT, 4 }, { KIND_UINT, 8 }, { KIND_BOOL, 1 }, { KIND_FIXED, 8 }, { KIND_ENUM, 1 },
		{ KIND_ENUM, 2 }, { KIND_ID, 8 }, { KIND_TIME, 8 }, { KIND_IP, 16 }, { KIND_TEXT, 16 }, { KIND_TEXT, 1 }, { KIND_LIST, 20 },
		{ KIND_LIST, 2 }, { KIND_ARRAY, 32 }, { KIND_CONST, 0 }, { KIND_CONST_LIST, 0 }, { KIND_FACT, 0 },
	};
	unsigned k = random_below(making->random, COUNT_OF(kinds));
	struct row *row = &making->rows[making->n_rows];

	strcpy(making->paths[making->n_rows], path);
	*row = (struct row){ .path = making->paths[making->n_rows++], .kind = kinds[k].kind, .size = kinds[k].size };
	row->member = row->size ? "m" : NULL;
	row->text = "one,two";
	row->fact = random_below(making->random, FACT_COUNT);
	row->names = small_names;
	row->n_names = COUNT_OF(small_names);
	row->offset = random_below(making->random, WIRE_BYTES - row->size + 1);
	row->count_size = 2 << random_below(making->random, 2);
	row->count_offset = random_below(making->random, WIRE_BYTES - row->count_size + 1);
	if (row->member && row->kind != KIND_ARRAY && random_below(making->random, 4))
		row->absence = row->kind == KIND_TEXT || row->kind == KIND_LIST || row->kind == KIND_IP || random_below(making->random, 2)
			       ? ABSENT_AT_ZERO : ABSENT_AT_MAX;
}

/* One to four members; a group five levels down holds leaves only. */
static void make_group(struct making *making, const char *path, unsigned depth)
{
	unsigned n = 1 + random_below(making->random, 4);

	for (unsigned i = 0; i < n && making->n_rows < making->limit; i++) {
		char member[128];

		snprintf(member, sizeof(member), "%s.%c%u", path, 'a' + random_below(making->random, 26), i);
		if (depth < 5 && !random_below(making->random, 3))
			make_group(making, member, depth + 1);
		else
			make_leaf(making, member);
	}
}

static void test_random_records(void **state)
{
	static const char *const tops[] = { "network", "source", "destination", "process", "container", "netline" };
	static struct making making;
	struct random random = { 11 };
	struct subject subject;

	(void)state;
	for (unsigned round = 0; round < rounds(1500); round++) {
		struct record record = RECORD_OF(char[WIRE_BYTES], making.rows, 0);

		making = (struct making){ .random = &random, .limit = MAX_ROWS - 13 };
		if (random_below(&random, 2))
			make_leaf(&making, "@timestamp");
		if (random_below(&random, 2))
			make_leaf(&making, "message");
		for (size_t i = 0; i < COUNT_OF(tops); i++)
			if (random_below(&random, 3))
				make_group(&making, tops[i], 1);
		record.n_rows = making.n_rows;
		subject_init(&subject, &record, plain_facts());
		for (unsigned i = 0; i < 20; i++) {
			random_wire(&subject, &random);
			subject_check(&subject);
		}
		subject_release(&subject);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind),
		cmocka_unit_test(test_every_presence),
		cmocka_unit_test(test_every_known),
		cmocka_unit_test(test_optional_first),
		cmocka_unit_test(test_room_for_unknown),
		cmocka_unit_test(test_room_for_texts),
		cmocka_unit_test(test_room_for_copies),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_labels_longest),
		cmocka_unit_test(test_random_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
