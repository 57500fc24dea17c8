/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vocabulary in which records are defined.
 *
 * A record is a wire struct (what a BPF program or the agent fills) and, under it, its
 * rows: JSON path, struct member, unit, meaning, and when it is absent. Encoder plan, JSON
 * Schema, field reference and Elasticsearch mapping all come from the rows. Kind, size and
 * offset come from the member, so a row that does not fit its struct does not compile.
 *
 * BPF programs see the structs only; rows are for user space.
 * Wire structs: widest members first, padding named `pad*` and zeroed.
 */
#ifndef NETLINE_RECORD_H
#define NETLINE_RECORD_H

#include <linux/types.h>

#define SCHEMA_VERSION 1	/* any change of a record's shape raises it */
#define COMM_LEN 16		/* TASK_COMM_LEN */

typedef struct { __u64 ns; } nl_time;		/* CLOCK_MONOTONIC, ns -> RFC 3339 UTC */
typedef struct { __u64 value; } nl_id;		/* 64-bit identifier -> string */
typedef struct { __u64 milli; } nl_fixed;	/* thousandths -> number, up to 3 decimals */
typedef struct { __u8 bytes[16]; } nl_ip;	/* network order; IPv4 as ::ffff:a.b.c.d */

enum nl_family { FAMILY_IPV4, FAMILY_IPV6 };
enum nl_direction { DIRECTION_EGRESS, DIRECTION_INGRESS, DIRECTION_UNKNOWN = 0xff };	/* unknown: absent */

#ifndef __bpf__
#include <stdbool.h>
#include <stddef.h>

enum kind {
	KIND_UINT,	/* __u8 .. __u64: integer, held to 2^63-1 */
	KIND_BOOL,
	KIND_FIXED,	/* nl_fixed */
	KIND_TEXT,	/* char[]: NUL-terminated bytes, made valid UTF-8 */
	KIND_LIST,	/* char[]: items separated by ',' -> array of strings */
	KIND_ENUM,	/* __u8 or __u16: index into names */
	KIND_ID,	/* nl_id */
	KIND_TIME,	/* nl_time */
	KIND_IP,	/* nl_ip */
	KIND_ARRAY,	/* __u64[], length in another member -> array of integers */
	KIND_SEQUENCE,	/* the record's number in its dataset; no member */
	KIND_CONST,	/* the same text in every record of this type; no member */
	KIND_CONST_LIST,/* the same array of strings; no member */
	KIND_SCHEMA,	/* SCHEMA_VERSION; no member */
	KIND_FACT,	/* text known when the run starts; no member */
	KIND_LABELS,	/* the user's labels: the only open object; no member */
	KIND_COMMUNITY_ID,	/* of the flow: nl_ip source and destination, and their ports from count_offset on */
	KIND_CONTAINER,	/* the container of a cgroup: nl_id */
};

enum fact { FACT_HOST, FACT_EPHEMERAL_ID, FACT_VERSION, FACT_KERNEL, FACT_COUNT };

enum absence {
	ALWAYS_THERE,
	ABSENT_AT_ZERO,	/* integers 0, text empty, lists empty */
	ABSENT_AT_MAX,	/* every bit of the integer set */
};

struct row {
	const char *path;		/* dotted JSON path */
	const char *member;		/* NULL: not from the struct */
	const char *count_member;	/* KIND_ARRAY: the member with the length */
	const char *unit;		/* ns, bytes, packets, 1, or NULL: by kind */
	const char *meaning;		/* one sentence, without the full stop */
	const char *when;		/* absent when ... (NULL: never) */
	const char *text;		/* KIND_CONST; KIND_CONST_LIST: separated by ',' */
	const char *const *names;	/* KIND_ENUM */
	enum kind kind;
	enum absence absence;
	enum fact fact;			/* KIND_FACT */
	unsigned short offset, size, n_names, count_offset, count_size;
};

struct record {
	const char *name;
	const char *dataset;		/* netline.<name> */
	const char *title;		/* one sentence for schema and docs */
	const char *stream;		/* Elasticsearch data stream type: logs or metrics */
	const char *event_kind;
	const char *event_category;
	const char *event_type;		/* separated by ',' */
	const char *event_action;	/* NULL: a row of the record gives it */
	size_t size;			/* of the wire struct */
	const struct row *rows;
	unsigned n_rows;
};

#define MEMBER_(s, m) (((s *)0)->m)

#define KIND_OF_(s, m) _Generic(MEMBER_(s, m), \
	__u8: KIND_UINT, __u16: KIND_UINT, __u32: KIND_UINT, __u64: KIND_UINT, \
	_Bool: KIND_BOOL, nl_fixed: KIND_FIXED, char *: KIND_TEXT, nl_id: KIND_ID, \
	nl_time: KIND_TIME, nl_ip: KIND_IP)

/* Compiles only if the member is of one of the two types; gives 0. */
#define MUST_BE_(s, m, t1, t2) (0 * sizeof(_Generic(MEMBER_(s, m), t1: 1, t2: 1)))

#define ROW_(s, path_, m, kind_, unit_, meaning_, ...) { .path = path_, .member = #m, \
	.kind = kind_, .unit = unit_, .meaning = meaning_, .offset = offsetof(s, m), \
	.size = sizeof(MEMBER_(s, m)), __VA_ARGS__ }

/* `s` is the struct; what follows the meaning is IF_ZERO(...), IF_MAX(...) or nothing. */
#define ROW(s, path, m, unit, meaning, ...) \
	ROW_(s, path, m, KIND_OF_(s, m), unit, meaning, __VA_ARGS__)
#define ROW_ENUM(s, path, m, names_, meaning, ...) \
	ROW_(s, path, m, KIND_ENUM + MUST_BE_(s, m, __u8, __u16), NULL, meaning, .names = names_, \
	     .n_names = sizeof(names_) / sizeof((names_)[0]), __VA_ARGS__)
#define ROW_LIST(s, path, m, meaning, ...) \
	ROW_(s, path, m, KIND_LIST + MUST_BE_(s, m, char *, const char *), NULL, meaning, __VA_ARGS__)
#define ROW_ARRAY(s, path, m, count, unit, meaning, ...) \
	ROW_(s, path, m, KIND_ARRAY + MUST_BE_(s, m, __u64 *, const __u64 *), unit, meaning, \
	     .count_member = #count, .count_offset = offsetof(s, count), \
	     .count_size = sizeof(MEMBER_(s, count)), __VA_ARGS__)
#define ROW_FACT(path_, fact_, meaning_) { .path = path_, .kind = KIND_FACT, .fact = fact_, .meaning = meaning_ }

#define RECORD_NAME(name_) .name = name_, .dataset = "netline." name_

#define IF_ZERO(when_) .absence = ABSENT_AT_ZERO, .when = when_
#define IF_MAX(when_) .absence = ABSENT_AT_MAX, .when = when_

static const char *const family_names[] = {
	[FAMILY_IPV4] = "ipv4", [FAMILY_IPV6] = "ipv6",
};

static const char *const direction_names[] = {
	[DIRECTION_EGRESS] = "egress", [DIRECTION_INGRESS] = "ingress",
};
#endif /* __bpf__ */
#endif
