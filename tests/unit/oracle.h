/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slow way from wire struct to JSON, to hold the encoder against: it shares no code with agent/encode.c and agent/text.c,
 * and takes from agent/rows.c only which rows there are. Values come from libc (printf, inet_ntop, strftime) and jansson.
 */
#ifndef NETLINE_ORACLE_H
#define NETLINE_ORACLE_H

#include <arpa/inet.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "../../agent/encode.h"
#include "unit.h"

/* Length of the one code point that begins at `s`, or 0 if the bytes are none (RFC 3629). */
static inline size_t oracle_code_point(const uint8_t *s, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t value;
	size_t n = 0;

	while (n < 8 && s[0] & 0x80 >> n)
		n++;
	if (!n)
		return 1;
	if (n < 2 || n > 4 || n > left)
		return 0;
	value = s[0] & 0x7f >> n;
	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		value = value << 6 | (s[i] & 0x3f);
	}
	return value < least[n] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ? 0 : n;
}

static inline json_t *oracle_text(const char *bytes, size_t len)
{
	char *clean = malloc(3 * len + 1), *p = clean;
	json_t *text;

	assert_non_null(clean);
	for (size_t i = 0; i < len;) {
		size_t n = oracle_code_point((const uint8_t *)bytes + i, len - i);

		memcpy(p, n ? bytes + i : "\xef\xbf\xbd", n ? n : 3);
		p += n ? n : 3;
		i += n ? n : 1;
	}
	text = json_stringn(clean, p - clean);
	free(clean);
	assert_non_null(text);
	return text;
}

static inline uint64_t oracle_uint(const char *at, unsigned size)
{
	uint64_t value = 0;

	memcpy((char *)&value + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 8 - size : 0), at, size);
	return value;
}

static inline uint64_t oracle_held(uint64_t value)
{
	return value >> 63 ? INT64_MAX : value;
}

/* Exact decimal, without zeros at its end. */
static inline void oracle_fixed(uint64_t milli, char ret_text[32])
{
	snprintf(ret_text, 32, "%" PRIu64 ".%03u", milli / 1000, (unsigned)(milli % 1000));
	while (ret_text[strlen(ret_text) - 1] == '0')
		ret_text[strlen(ret_text) - 1] = 0;
	if (ret_text[strlen(ret_text) - 1] == '.')
		ret_text[strlen(ret_text) - 1] = 0;
}

static inline json_t *oracle_number(uint64_t milli)
{
	char text[32];

	oracle_fixed(milli, text);
	return strchr(text, '.') ? json_real(strtod(text, NULL)) : json_integer(milli / 1000);
}

static inline void oracle_time(int64_t utc_ns, char ret_text[40])
{
	int64_t held = utc_ns < 0 ? 0 : utc_ns;
	time_t second = held / 1000000000;
	struct tm tm;

	assert_non_null(gmtime_r(&second, &tm));
	ret_text += strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	sprintf(ret_text, ".%09" PRId64 "Z", held % 1000000000);
}

/* inet_ntop() but for addresses that it writes with a dotted quad: mapped ones are IPv4 here, compatible ones are hexadecimal. */
static inline void oracle_ip(const uint8_t bytes[16], char ret_text[INET6_ADDRSTRLEN])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff }, zeros[12];

	if (!memcmp(bytes, mapped, 12))
		assert_non_null(inet_ntop(AF_INET, bytes + 12, ret_text, INET6_ADDRSTRLEN));
	else if (!memcmp(bytes, zeros, 12) && (bytes[12] || bytes[13]))
		sprintf(ret_text, "::%x:%x", bytes[12] << 8 | bytes[13], bytes[14] << 8 | bytes[15]);
	else
		assert_non_null(inet_ntop(AF_INET6, bytes, ret_text, INET6_ADDRSTRLEN));
}

static inline json_t *oracle_list(const char *items, size_t len)
{
	json_t *list = json_array();

	while (len) {
		const char *comma = memchr(items, ',', len);
		size_t item = comma ? (size_t)(comma - items) : len, used = item + !!comma;

		json_array_append_new(list, oracle_text(items, item));
		items += used;
		len -= used;
	}
	return list;
}

static inline json_t *oracle_array(const struct row *row, const char *wire)
{
	uint64_t n = oracle_uint(wire + row->count_offset, row->count_size);
	json_t *array = json_array();

	for (uint64_t i = 0; i < n && i < row->size / 8; i++)
		json_array_append_new(array, json_integer(oracle_held(oracle_uint(wire + row->offset + 8 * i, 8))));
	return array;
}

static inline json_t *oracle_labels(const struct facts *facts)
{
	json_t *labels = json_object();

	for (unsigned i = 0; i < facts->n_labels; i++) {
		json_t *key = oracle_text(facts->labels[i].key, strlen(facts->labels[i].key));

		json_object_set_new(labels, json_string_value(key), oracle_text(facts->labels[i].value, strlen(facts->labels[i].value)));
		json_decref(key);
	}
	return labels;
}

static inline bool all_bytes(const char *at, size_t size, uint8_t byte)
{
	while (size && (uint8_t)*at == byte) {
		at++;
		size--;
	}
	return !size;
}

static inline const char *oracle_name(const struct row *row, uint64_t index)
{
	return index < row->n_names ? row->names[index] : NULL;
}

/* An optional name that has no text is absent too. */
static inline bool oracle_absent(const struct row *row, const char *wire)
{
	const char *member = wire + row->offset;

	if (row->absence == ALWAYS_THERE || !row->member)
		return false;
	if (row->kind == KIND_TEXT || row->kind == KIND_LIST)
		return !*member;
	if (row->kind == KIND_ENUM && !oracle_name(row, oracle_uint(member, row->size)))
		return true;
	return all_bytes(member, row->size, row->absence == ABSENT_AT_MAX ? 0xff : 0);
}

/* What the record's number, the clock and the run give. */
struct moment {
	const struct facts *facts;
	uint64_t sequence;
	int64_t utc_offset;
};

static inline json_t *oracle_value(const struct row *row, const char *wire, const struct moment *moment)
{
	const char *member = wire + row->offset;
	uint64_t value;
	char text[INET6_ADDRSTRLEN];

	switch (row->kind) {
	case KIND_TEXT:
		return oracle_text(member, strnlen(member, row->size));
	case KIND_LIST:
		return oracle_list(member, strnlen(member, row->size));
	case KIND_ARRAY:
		return oracle_array(row, wire);
	case KIND_IP:
		oracle_ip((const uint8_t *)member, text);
		return json_string(text);
	case KIND_SEQUENCE:
		return json_integer(moment->sequence);
	case KIND_CONST:
		return oracle_text(row->text, strlen(row->text));
	case KIND_CONST_LIST:
		return oracle_list(row->text, strlen(row->text));
	case KIND_SCHEMA:
		return json_integer(SCHEMA_VERSION);
	case KIND_FACT:
		return oracle_text(moment->facts->text[row->fact], strlen(moment->facts->text[row->fact]));
	case KIND_COMMUNITY_ID:
	case KIND_CONTAINER:	/* no cgroup of these tests exists */
		return NULL;
	case KIND_LABELS:
		return moment->facts->n_labels ? oracle_labels(moment->facts) : NULL;
	default:
		value = oracle_uint(member, row->size);
	}
	switch (row->kind) {
	case KIND_BOOL:
		return json_boolean(value);
	case KIND_FIXED:
		return oracle_number(oracle_held(value));
	case KIND_ENUM:
		return json_string(oracle_name(row, value) ? oracle_name(row, value) : "unknown");
	case KIND_ID:
		snprintf(text, sizeof(text), "%" PRIu64, value);
		return json_string(text);
	case KIND_TIME:
		oracle_time(value + (uint64_t)moment->utc_offset, text);
		return json_string(text);
	default:
		return json_integer(oracle_held(value));
	}
}

static inline void oracle_put(json_t *object, const char *path, json_t *value)
{
	for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
		char *key = strndup(path, dot - path);
		json_t *group = json_object_get(object, key);

		if (!group)
			json_object_set_new(object, key, group = json_object());
		free(key);
		object = group;
	}
	assert_null(json_object_get(object, path));
	assert_int_equal(json_object_set_new(object, path, value), 0);
}

static inline json_t *oracle_record(const struct row *rows, int n, const char *wire, const struct moment *moment)
{
	json_t *record = json_object(), *value;

	for (int i = 0; i < n; i++)
		if (!oracle_absent(&rows[i], wire) && (value = oracle_value(&rows[i], wire, moment)))
			oracle_put(record, rows[i].path, value);
	return record;
}

/* Objects keep the order in which jansson read or was given their keys. */
static inline bool same_order(json_t *a, json_t *b)
{
	void *ia = json_object_iter(a), *ib = json_object_iter(b);

	if (!json_is_object(a))
		return true;
	for (; ia && ib; ia = json_object_iter_next(a, ia), ib = json_object_iter_next(b, ib))
		if (strcmp(json_object_iter_key(ia), json_object_iter_key(ib)) ||
		    !same_order(json_object_iter_value(ia), json_object_iter_value(ib)))
			return false;
	return !ia && !ib;
}
#endif
