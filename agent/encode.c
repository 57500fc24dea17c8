/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a plan over a wire struct. */
#include <string.h>

#include "community_id.h"
#include "container.h"
#include "plan.h"

size_t plan_room(const struct plan *plan)
{
	return plan->room;
}

uint64_t load_uint(const void *at, unsigned size)
{
	union { uint8_t u8; uint16_t u16; uint32_t u32; uint64_t u64; } value = { .u64 = 0 };

	switch (size) {
	case 1:
		memcpy(&value.u8, at, 1);
		return value.u8;
	case 2:
		memcpy(&value.u16, at, 2);
		return value.u16;
	case 4:
		memcpy(&value.u32, at, 4);
		return value.u32;
	default:
		memcpy(&value.u64, at, 8);
		return value.u64;
	}
}

/* Two addresses and two ports, one behind the other. */
static bool lacks_flow(const char *addresses, const char *ports)
{
	return (!load_uint(addresses, 8) && !load_uint(addresses + 8, 8)) || (!load_uint(addresses + 16, 8) && !load_uint(addresses + 24, 8)) ||
	       !load_uint(ports, 2) || !load_uint(ports + 2, 2);
}

static bool is_absent(const struct op *op, const char *member)
{
	uint64_t value;

	if (op->absence == ALWAYS_THERE)
		return false;
	if (op->kind == KIND_TEXT || op->kind == KIND_LIST)
		return !member[0];
	if (op->kind == KIND_IP)
		return !load_uint(member, 8) && !load_uint(member + 8, 8);
	if (op->kind == KIND_ARRAY)
		return false;
	if (op->kind == KIND_COMMUNITY_ID)
		return lacks_flow(member, member - op->offset + op->count_offset);
	if (op->kind == KIND_CONTAINER)
		return !container_of_cgroup(load_uint(member, 8));
	value = load_uint(member, op->size);
	if (op->kind == KIND_ENUM && (value >= op->n_names || !op->names[value].len))
		return true;
	return op->absence == ABSENT_AT_ZERO ? !value : value == UINT64_MAX >> (64 - 8 * op->size);
}

static char *write_list(char *p, const char *items, size_t len)
{
	*p++ = '[';
	for (size_t at = 0; at < len;) {
		const char *comma = memchr(items + at, ',', len - at);
		size_t n = comma ? (size_t)(comma - items) - at : len - at;

		if (at)
			*p++ = ',';
		p = text_string(p, items + at, n);
		at += n + 1;
	}
	*p++ = ']';
	return p;
}

static char *write_array(char *p, const struct op *op, const char *wire)
{
	uint64_t n = load_uint(wire + op->count_offset, op->count_size), most = op->length / 8;

	*p++ = '[';
	for (uint64_t i = 0; i < (n < most ? n : most); i++) {
		uint64_t value = load_uint(wire + op->offset + 8 * i, 8);

		if (i)
			*p++ = ',';
		p = text_uint(p, value < INT64_MAX ? value : INT64_MAX);
	}
	*p++ = ']';
	return p;
}

static char *write_name(char *p, const struct plan *plan, const struct op *op, uint64_t index)
{
	const struct piece *name = index < op->n_names ? &op->names[index] : NULL;

	return name && name->len ? text_copy(p, plan->pool + name->at, name->len) : text_string(p, UNKNOWN_NAME, sizeof(UNKNOWN_NAME) - 1);
}

static char *write_community_id(char *p, const uint8_t *addresses, const char *ports)
{
	*p++ = '"';
	community_id(addresses, load_uint(ports, 2), addresses + 16, load_uint(ports + 2, 2), p);
	p += COMMUNITY_ID_LEN - 1;
	*p++ = '"';
	return p;
}

static char *write_container(char *p, uint64_t cgroup)
{
	return text_string(p, container_of_cgroup(cgroup), CONTAINER_ID_LEN - 1);
}

static char *write_value(struct plan *plan, const struct op *op, const char *wire, int64_t utc_offset, char *p)
{
	const char *member = wire + op->offset;
	uint64_t value = load_uint(member, op->size);

	switch (op->kind) {
	case KIND_UINT:
		return text_uint(p, value < INT64_MAX ? value : INT64_MAX);
	case KIND_FIXED:
		return text_fixed(p, value < INT64_MAX ? value : INT64_MAX);
	case KIND_BOOL:
		memcpy(p, value ? "true\0" : "false", 5);
		return p + (value ? 4 : 5);
	case KIND_ID:
		*p++ = '"';
		p = text_uint(p, value);
		*p++ = '"';
		return p;
	case KIND_TIME:
		return text_time(p, (int64_t)(value + (uint64_t)utc_offset), op->offset ? &plan->start_second : &plan->second);
	case KIND_IP:
		return text_ip(p, (const uint8_t *)member);
	case KIND_ENUM:
		return write_name(p, plan, op, value);
	case KIND_TEXT:
		return text_string(p, member, strnlen(member, op->length));
	case KIND_LIST:
		return write_list(p, member, strnlen(member, op->length));
	case KIND_COMMUNITY_ID:
		return write_community_id(p, (const uint8_t *)member, wire + op->count_offset);
	case KIND_CONTAINER:
		return write_container(p, value);
	default:
		return write_array(p, op, wire);
	}
}

size_t plan_encode(struct plan *plan, const void *wire, uint64_t sequence, int64_t utc_offset, char *out)
{
	char *p = out, *opened[MAX_DEPTH];
	int depth = 0;

	for (const struct op *op = plan->ops, *end = op + plan->n_ops; op < end; op++) {
		unsigned skip;

		p = text_copy(p, plan->pool + op->pre, op->pre_len);
		if (op->kind == OP_GROUP_CLOSE && p[-1] == '{') {
			p = opened[--depth];
			continue;
		}
		if (op->kind < OP_GROUP_OPEN && is_absent(op, (const char *)wire + op->offset))
			continue;
		if (op->kind == OP_GROUP_OPEN)
			opened[depth++] = p;
		else if (op->kind == OP_GROUP_CLOSE)
			depth--;
		if (op->key_len) {
			skip = op->after_brace && p[-1] == '{';
			p = text_copy(p, plan->pool + op->key + skip, op->key_len - skip);
		}
		if (op->kind == KIND_SEQUENCE)
			p = text_uint(p, sequence);
		else if (op->kind < OP_GROUP_OPEN)
			p = write_value(plan, op, wire, utc_offset, p);
	}
	return p - out;
}
