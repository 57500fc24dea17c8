/* SPDX-License-Identifier: BSD-2-Clause */
/* A record type under test: its plan, a wire struct to fill, and the comparison of the line with the oracle. */
#ifndef NETLINE_SUBJECT_H
#define NETLINE_SUBJECT_H

#include "oracle.h"

struct subject {
	const struct record *record;
	struct moment moment;
	struct row rows[MAX_ROWS];
	int n_rows;
	struct plan *plan;
	struct guarded wire, out;
	size_t length;		/* of the line that was encoded last */
};

#define UTC_OFFSET 1795000000123456789	/* November 2026 */

static inline const struct facts *plain_facts(void)
{
	static const struct facts facts = {
		.text = { [FACT_HOST] = "web-01", [FACT_EPHEMERAL_ID] = "8a4f500fc2d1e07b", [FACT_VERSION] = "0.1.0", [FACT_KERNEL] = "6.1.0" },
	};

	return &facts;
}

static inline void subject_init(struct subject *subject, const struct record *record, const struct facts *facts)
{
	*subject = (struct subject){ .record = record, .moment = { .facts = facts, .sequence = 1, .utc_offset = UTC_OFFSET } };
	subject->n_rows = record_rows(record, subject->rows);
	require(subject->n_rows > 0, "%s: record_rows() gives %d", record->name, subject->n_rows);
	assert_int_equal(plan_new(record, facts, &subject->plan), 0);
	guarded_init(&subject->wire, record->size);
	guarded_init(&subject->out, plan_room(subject->plan));
	memset(subject->wire.data, 0, record->size);
}

static inline void subject_release(struct subject *subject)
{
	plan_free(subject->plan);
	guarded_release(&subject->wire);
	guarded_release(&subject->out);
}

/* One line: no white space between values, no control character anywhere, a newline at the end only. */
static inline void check_shape(const char *line, size_t length)
{
	bool in_string = false;

	require(length > 3 && line[0] == '{' && line[length - 2] == '}' && line[length - 1] == '\n', "no line: %.*s", (int)length, line);
	for (size_t i = 0; i < length - 1; i++) {
		uint8_t byte = line[i];

		require(byte >= 0x20 + !in_string && byte != 0x7f, "byte %02x at %zu: %.*s", byte, i, (int)length, line);
		if (in_string && byte == '\\')
			i++;
		else if (byte == '"')
			in_string = !in_string;
	}
}

/* Encodes what the wire struct holds. */
static inline const char *subject_encode(struct subject *subject)
{
	subject->length = plan_encode(subject->plan, subject->wire.data, subject->moment.sequence, subject->moment.utc_offset,
				      subject->out.data);
	require(subject->length <= subject->out.size, "%s: %zu bytes, room for %zu", subject->record->name, subject->length,
		subject->out.size);
	guarded_check(&subject->out);
	check_shape(subject->out.data, subject->length);
	return subject->out.data;
}

/* The line says what the oracle says, in the same order. */
static inline void subject_check(struct subject *subject)
{
	const char *line = subject_encode(subject);
	json_error_t error;
	json_t *expected = oracle_record(subject->rows, subject->n_rows, subject->wire.data, &subject->moment);
	json_t *found = json_loadb(line, subject->length, JSON_REJECT_DUPLICATES, &error);

	require(found, "%s: %s: %.*s", subject->record->name, error.text, (int)subject->length, line);
	if (!json_equal(found, expected) || !same_order(found, expected)) {
		fprintf(stderr, "got      %.*sexpected %s\n", (int)subject->length, line, json_dumps(expected, JSON_COMPACT));
		fail_msg("%s: not what the oracle says", subject->record->name);
	}
	json_decref(found);
	json_decref(expected);
}

/* --- filling the wire struct --- */

static inline bool row_optional(const struct row *row)
{
	return row->member && row->absence != ALWAYS_THERE;
}

static inline void set_absent(struct subject *subject, const struct row *row)
{
	memset(subject->wire.data + row->offset, row->absence == ABSENT_AT_MAX ? 0xff : 0, row->size);
}

static inline void set_present(struct subject *subject, const struct row *row)
{
	memset(subject->wire.data + row->offset, row->kind == KIND_TEXT || row->kind == KIND_LIST ? 'x' : 1, row->size);
}

static inline void set_text(struct subject *subject, const struct row *row, const char *bytes, size_t len)
{
	memset(subject->wire.data + row->offset, 0, row->size);
	memcpy(subject->wire.data + row->offset, bytes, len < row->size ? len : row->size);
}

static inline void set_uint(char *at, unsigned size, uint64_t value)
{
	memcpy(at, (char *)&value + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 8 - size : 0), size);
}

/* Pieces of text that encoders get wrong; cut anywhere by what follows or by the end of the member. */
static inline void random_text(struct random *random, char *ret_text, size_t size)
{
	static const char *const pieces[] = {
		"eth0", "a", ",", ",,", "\"", "\\", "\n", "\x1b[31m", "\x7f", "\x01", "/", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
		"\xe2\x82", "\xf0\x9f\x98", "\xc3", "\x80", "\xbf\xbf", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xed\x9f\xbf",
		"\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe", "\xff", "\xef\xbf\xbd", "\xc2\x85", "\xef\xbb\xbf",
	};
	size_t used = 0, wanted = random_below(random, size + 1);

	memset(ret_text, 0, size);
	while (used < wanted) {
		const char *piece = pieces[random_below(random, COUNT_OF(pieces))];

		for (; *piece && used < wanted; piece++)
			ret_text[used++] = *piece;
	}
}

/* Every byte random, then some members at what is special for them. */
static inline void random_wire(struct subject *subject, struct random *random)
{
	random_bytes(random, subject->wire.data, subject->wire.size);
	for (int i = 0; i < subject->n_rows; i++) {
		const struct row *row = &subject->rows[i];
		char *member = subject->wire.data + row->offset;

		if (!row->member)
			continue;
		switch (random_below(random, 6)) {
		case 0:
			memset(member, 0, row->size);
			break;
		case 1:
			memset(member, 0xff, row->size);
			break;
		case 2:
			if (row->kind == KIND_TEXT || row->kind == KIND_LIST)
				random_text(random, member, row->size);
			break;
		case 3:
			if (row->kind == KIND_ENUM)
				set_uint(member, row->size, random_below(random, row->n_names));
			break;
		}
		if (row->kind == KIND_ARRAY && random_below(random, 2))
			set_uint(subject->wire.data + row->count_offset, row->count_size, random_below(random, row->size / 8 + 2));
	}
}
#endif
