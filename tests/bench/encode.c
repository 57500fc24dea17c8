// SPDX-License-Identifier: BSD-2-Clause
/*
 * encode: what it costs to write one record as a line of JSON, in three ways, and prints one JSON object for each sample.
 *
 *   plan     plan_encode()
 *   jansson  a json_t is built and json_dumpb() writes it; the paths were split into keys before
 *   printf   one snprintf() whose format was written by hand for this very sample, with inet_ntop() and strftime()
 *
 * The ways take turns on the same records, so that noise meets all of them. Before that, their lines must be equal.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <jansson.h>

#include "../../agent/encode.h"
#include "../../schema/agent_lost.h"
#include "../../schema/agent_probe.h"
#include "../../schema/agent_status.h"
#include "../../schema/nic_throughput.h"
#include "../../schema/tcp_connection.h"

#define TURNS 21
#define TURN_NS 1500000
#define VARIANTS 64
#define MAX_WIRE 1024
#define MAX_GROUPS 32
#define UTC_OFFSET 1795385460000000000ll

static const struct facts facts = {
	.text = { [FACT_HOST] = "web-01", [FACT_EPHEMERAL_ID] = "8a4f500fc2d1e07b", [FACT_VERSION] = "0.1.0",
		  [FACT_KERNEL] = "6.1.0-28-amd64" },
};

/* --- jansson --- */

/* A group is an object that is made when its first member comes. */
struct group {
	char key[32];
	int parent;
};

struct leaf {
	const struct row *row;
	const char *key;
	int group;
};

struct tree {
	struct row rows[MAX_ROWS];
	struct leaf leaves[MAX_ROWS];
	struct group groups[MAX_GROUPS];
	int n_leaves, n_groups;
};

static int find_group(struct tree *tree, int parent, const char *key, size_t len)
{
	struct group *group;

	for (int i = 1; i < tree->n_groups; i++)
		if (tree->groups[i].parent == parent && strlen(tree->groups[i].key) == len && !memcmp(tree->groups[i].key, key, len))
			return i;
	group = &tree->groups[tree->n_groups];
	memcpy(group->key, key, len);
	group->parent = parent;
	return tree->n_groups++;
}

static void tree_init(struct tree *tree, const struct record *record)
{
	memset(tree, 0, sizeof(*tree));
	tree->n_groups = 1;
	tree->n_leaves = record_rows(record, tree->rows);
	for (int i = 0; i < tree->n_leaves; i++) {
		const char *key = tree->rows[i].path, *dot;
		int group = 0;

		for (; (dot = strchr(key, '.')); key = dot + 1)
			group = find_group(tree, group, key, dot - key);
		tree->leaves[i] = (struct leaf){ .row = &tree->rows[i], .key = key, .group = group };
	}
}

static bool absent(const struct row *row, const char *member)
{
	uint64_t value;

	if (row->kind == KIND_LABELS || row->kind == KIND_COMMUNITY_ID || row->kind == KIND_CONTAINER)
		return true;	/* no labels, no --community-id, and the cgroup is the root */
	if (row->absence == ALWAYS_THERE)
		return false;
	if (row->kind == KIND_TEXT || row->kind == KIND_LIST)
		return !member[0];
	value = load_uint(member, row->size);
	return row->absence == ABSENT_AT_ZERO ? !value : value == UINT64_MAX >> (64 - 8 * row->size);
}

static size_t print_time(char *out, size_t size, uint64_t monotonic)
{
	uint64_t utc = monotonic + UTC_OFFSET;
	time_t second = utc / 1000000000;
	struct tm tm;
	size_t n;

	gmtime_r(&second, &tm);
	n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + snprintf(out + n, size - n, ".%09uZ", (unsigned)(utc % 1000000000));
}

static const char *print_ip(char *out, size_t size, const nl_ip *ip)
{
	return IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)ip) ? inet_ntop(AF_INET, ip->bytes + 12, out, size) :
								   inet_ntop(AF_INET6, ip->bytes, out, size);
}

static json_t *list_of(const char *items)
{
	json_t *list = json_array();

	for (const char *at = items; *at;) {
		size_t len = strcspn(at, ",");

		json_array_append_new(list, json_stringn_nocheck(at, len));
		at += len + (at[len] == ',');
	}
	return list;
}

static json_t *value_of(const struct row *row, const char *member, uint64_t sequence)
{
	char text[64];

	switch (row->kind) {
	case KIND_UINT:
		return json_integer(load_uint(member, row->size));
	case KIND_FIXED:
		return json_real(load_uint(member, 8) / 1000.0);
	case KIND_TEXT:
		return json_stringn(member, strnlen(member, row->size));
	case KIND_LIST:
		return list_of(member);
	case KIND_ENUM:
		return json_string_nocheck(row->names[load_uint(member, row->size)]);
	case KIND_ID:
		return json_stringn_nocheck(text, snprintf(text, sizeof(text), "%" PRIu64, load_uint(member, 8)));
	case KIND_TIME:
		return json_stringn_nocheck(text, print_time(text, sizeof(text), load_uint(member, 8)));
	case KIND_IP:
		return json_string_nocheck(print_ip(text, sizeof(text), (const nl_ip *)member));
	case KIND_SEQUENCE:
		return json_integer(sequence);
	case KIND_CONST:
		return json_string_nocheck(row->text);
	case KIND_CONST_LIST:
		return list_of(row->text);
	case KIND_SCHEMA:
		return json_integer(SCHEMA_VERSION);
	case KIND_FACT:
		return json_string_nocheck(facts.text[row->fact]);
	default:
		fprintf(stderr, "no sample has a row of kind %d\n", row->kind);
		exit(1);
	}
}

static json_t *group_object(const struct tree *tree, json_t **objects, int group)
{
	if (!objects[group]) {
		objects[group] = json_object();
		if (group)
			json_object_set_new_nocheck(group_object(tree, objects, tree->groups[group].parent), tree->groups[group].key,
						    objects[group]);
	}
	return objects[group];
}

static size_t encode_jansson(const struct tree *tree, const char *wire, uint64_t sequence, char *out)
{
	json_t *objects[MAX_GROUPS] = { NULL };
	size_t length;

	for (const struct leaf *leaf = tree->leaves; leaf < tree->leaves + tree->n_leaves; leaf++)
		if (!absent(leaf->row, wire + leaf->row->offset))
			json_object_set_new_nocheck(group_object(tree, objects, leaf->group), leaf->key,
						    value_of(leaf->row, wire + leaf->row->offset, sequence));
	length = json_dumpb(objects[0], out, LINE_MAX_BYTES, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(objects[0]);
	out[length] = '\n';
	return length + 1;
}

/* --- printf --- */

#define HEAD "{\"@timestamp\":\"%s\","
#define MESSAGE "\"message\":\"%s\","
#define ENVELOPE(kind, category, type, dataset) "\"ecs\":{\"version\":\"9.4.0\"},\"event\":{\"kind\":\"" kind "\",\"category\":[\"" category \
	"\"],\"type\":[" type "],\"dataset\":\"netline." dataset "\",\"action\":\"%s\",\"sequence\":%" PRIu64
#define AGENT "},\"host\":{\"name\":\"%s\"},\"agent\":{\"type\":\"netline\",\"ephemeral_id\":\"%s\"},"
#define AGENT_VERSION "},\"host\":{\"name\":\"%s\"},\"agent\":{\"type\":\"netline\",\"ephemeral_id\":\"%s\",\"version\":\"%s\"},"
#define HOST facts.text[FACT_HOST], facts.text[FACT_EPHEMERAL_ID]
#define VERSION facts.text[FACT_VERSION]
#define U(x) ((uint64_t)(x))

static size_t print_connection(const void *wire, uint64_t sequence, char *out)
{
	const struct tcp_connection *r = wire;
	char time[40], source[48], destination[48];

	print_time(time, sizeof(time), r->time.ns);
	print_ip(source, sizeof(source), &r->source_ip);
	print_ip(destination, sizeof(destination), &r->destination_ip);
#define TUPLE "\"network\":{\"type\":\"%s\",\"transport\":\"tcp\",\"direction\":\"%s\"},\"source\":{\"ip\":\"%s\",\"port\":%u}," \
	"\"destination\":{\"ip\":\"%s\",\"port\":%u},\"process\":{\"pid\":%u,\"name\":\"%s\",\"thread\":{\"id\":%u,\"name\":\"%s\"}}," \
	"\"netline\":{\"schema\":1,\"role\":\"%s\","
#define SOCKET "\"socket\":{\"cookie\":\"%" PRIu64 "\",\"netns\":\"%" PRIu64 "\",\"cgroup\":\"%" PRIu64 "\"}}}\n"
#define TUPLE_VALUES family_names[r->family], direction_names[r->direction], source, r->source_port, destination, r->destination_port, \
	r->pid, r->process_name, r->tid, r->thread_name, role_names[r->role]
	if (r->action == ACTION_CONNECT)
		return snprintf(out, LINE_MAX_BYTES, HEAD ENVELOPE("event", "network", "\"connection\",\"start\"", "tcp_connection")
				",\"outcome\":\"%s\",\"duration\":%" PRIu64 AGENT TUPLE SOCKET,
				time, connection_actions[r->action], sequence, connection_outcomes[r->outcome], U(r->handshake_ns), HOST,
				TUPLE_VALUES, U(r->cookie.value), U(r->netns.value), U(r->cgroup.value));
	return snprintf(out, LINE_MAX_BYTES, HEAD ENVELOPE("event", "network", "\"connection\",\"start\"", "tcp_connection")
			",\"outcome\":\"%s\"" AGENT TUPLE "\"srtt_ns\":%" PRIu64 ",\"accept\":{\"state\":\"%s\",\"wait_ns\":%" PRIu64 "}," SOCKET,
			time, connection_actions[r->action], sequence, connection_outcomes[r->outcome], HOST, TUPLE_VALUES, U(r->srtt_ns),
			accept_states[r->accept_state], U(r->accept_wait_ns), U(r->cookie.value), U(r->netns.value), U(r->cgroup.value));
}

static size_t print_nic(const void *wire, uint64_t sequence, char *out)
{
	const struct nic_throughput *r = wire;
	char time[40], start[40];

	print_time(time, sizeof(time), r->time.ns);
	print_time(start, sizeof(start), r->start.ns);
	return snprintf(out, LINE_MAX_BYTES, HEAD ENVELOPE("metric", "network", "\"info\"", "nic_throughput")
			",\"start\":\"%s\",\"duration\":%" PRIu64 AGENT
			"\"network\":{\"direction\":\"%s\",\"bytes\":%" PRIu64 ",\"packets\":%" PRIu64 ",\"interface\":{\"name\":\"%s\"}},"
			"\"netline\":{\"schema\":1,\"nic\":{\"netns\":\"%" PRIu64 "\",\"index\":%u,\"scope\":\"%s\",\"queue\":%u,\"speed_bps\":%" PRIu64
			",\"skbs\":%" PRIu64 ",\"avg_packet_bytes\":%.3f,\"bytes_per_sec\":%.3f,\"packets_per_sec\":%.3f,\"bytes_total\":%" PRIu64
			",\"packets_total\":%" PRIu64 "}}}\n",
			time, "nic-throughput", sequence, start, U(r->duration_ns), HOST, direction_names[r->direction], U(r->bytes), U(r->packets),
			r->name, U(r->netns.value), r->index, nic_scopes[r->scope], r->queue, U(r->speed_bps), U(r->skbs),
			r->avg_packet_bytes.milli / 1000.0, r->bytes_per_sec.milli / 1000.0, r->packets_per_sec.milli / 1000.0,
			U(r->bytes_total), U(r->packets_total));
}

static size_t print_lost(const void *wire, uint64_t sequence, char *out)
{
	const struct agent_lost *r = wire;
	char time[40];

	print_time(time, sizeof(time), r->time.ns);
	return snprintf(out, LINE_MAX_BYTES, HEAD MESSAGE ENVELOPE("pipeline_error", "process", "\"info\"", "agent_lost")
			",\"reason\":\"%s\"" AGENT_VERSION
			"\"netline\":{\"schema\":1,\"lost\":{\"stage\":\"%s\",\"dataset\":\"%s\",\"count\":%" PRIu64 ",\"count_total\":%" PRIu64 "}}}\n",
			time, r->message, "events-lost", sequence, lost_reasons[r->reason], HOST, VERSION, lost_stages[r->stage], r->dataset,
			U(r->count), U(r->count_total));
}

static size_t print_status(const void *wire, uint64_t sequence, char *out)
{
	const struct agent_status *r = wire;
	char time[40];

	print_time(time, sizeof(time), r->time.ns);
	return snprintf(out, LINE_MAX_BYTES, HEAD ENVELOPE("metric", "process", "\"info\"", "agent_status") AGENT_VERSION
			"\"netline\":{\"schema\":1,\"scope\":\"%s\",\"probe\":{\"name\":\"%s\"},\"events\":{\"produced\":%" PRIu64 ",\"emitted\":%" PRIu64
			",\"filtered\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"ring_peak_bytes\":%" PRIu64 ",\"bpf_runs\":%" PRIu64 ",\"bpf_ns\":%" PRIu64 "}}}\n",
			time, "agent-status", sequence, HOST, VERSION, status_scopes[r->scope], r->probe, U(r->produced), U(r->emitted),
			U(r->filtered), U(r->lost), U(r->ring_peak_bytes), U(r->bpf_runs), U(r->bpf_ns));
}

static size_t print_probe(const void *wire, uint64_t sequence, char *out)
{
	const struct agent_probe *r = wire;
	char time[40], hooks[600], *at = hooks;

	print_time(time, sizeof(time), r->time.ns);
	for (const char *from = r->hooks; *from; from++) {
		if (*from == ',') {
			memcpy(at, "\",\"", 3);
			at += 3;
		} else {
			*at++ = *from;
		}
	}
	*at = 0;
	return snprintf(out, LINE_MAX_BYTES, HEAD ENVELOPE("event", "process", "\"info\"", "agent_probe")
			"},\"host\":{\"name\":\"%s\",\"os\":{\"kernel\":\"%s\"}},\"agent\":{\"type\":\"netline\",\"ephemeral_id\":\"%s\",\"version\":\"%s\"},"
			"\"netline\":{\"schema\":1,\"probe\":{\"name\":\"%s\",\"way\":\"%s\",\"hooks\":[\"%s\"]}}}\n",
			time, probe_actions[r->action], sequence, facts.text[FACT_HOST], facts.text[FACT_KERNEL], facts.text[FACT_EPHEMERAL_ID],
			VERSION, r->name, probe_ways[r->way], hooks);
}

/* --- samples --- */

#define IPV4(a, b, c, d) { .bytes = { [10] = 0xff, 0xff, a, b, c, d } }
#define SOCKET_MEMBERS .cookie.value = 29360129, .netns.value = 4026531840, .cgroup.value = 1

static const struct tcp_connection connected = {
	.handshake_ns = 11523004, SOCKET_MEMBERS, .source_ip = IPV4(10, 0, 0, 5), .destination_ip = IPV4(93, 184, 216, 34),
	.process_name = "curl", .thread_name = "curl", .pid = 48120, .tid = 48120, .source_port = 40001, .destination_port = 443,
	.action = ACTION_CONNECT, .family = FAMILY_IPV4, .direction = DIRECTION_EGRESS, .role = ROLE_CLIENT,
}, accepted = {
	.srtt_ns = 11523000, .accept_wait_ns = 90210, SOCKET_MEMBERS,
	.source_ip = { .bytes = { 0x20, 0x01, 0x0d, 0xb8, [7] = 0x12, [15] = 0x34 } },
	.destination_ip = { .bytes = { 0x20, 0x01, 0x0d, 0xb8, 0xfe, 0x01, [14] = 0xab, 0xcd } },
	.process_name = "nginx", .thread_name = "nginx", .pid = 811, .tid = 811, .source_port = 40001, .destination_port = 443,
	.action = ACTION_ACCEPT, .family = FAMILY_IPV6, .direction = DIRECTION_INGRESS, .role = ROLE_SERVER, .accept_state = ACCEPT_ACCEPTED,
};
static const struct nic_throughput nic = {
	.start.ns = 999990000, .duration_ns = 1000016265, .bytes = 384123, .packets = 611, .skbs = 123, .bytes_total = 123004120391,
	.packets_total = 61230991, .speed_bps = 10000000000, .avg_packet_bytes.milli = 628679, .bytes_per_sec.milli = 384116753,
	.packets_per_sec.milli = 610991, .netns.value = 4026531840, .name = "eth0", .index = 2, .queue = 3,
	.direction = DIRECTION_EGRESS, .scope = SCOPE_QUEUE,
};
static const struct agent_lost lost = {
	.count = 14, .count_total = 14, .message = "14 delay_analysis_in events lost: ring full", .dataset = "netline.delay_analysis_in",
	.stage = LOST_KERNEL, .reason = LOST_RING_FULL,
};
#define NONE UINT64_MAX
static const struct agent_status status = {
	.uptime_ns = NONE, .cpu_ns = NONE, .rss_bytes = NONE, .produced = 120334, .emitted = 120320, .filtered = 0, .lost = 14,
	.ring_peak_bytes = 1048576, .bpf_runs = 240668, .bpf_ns = 48133600, .output_emitted = NONE, .delivered = NONE, .queued = NONE,
	.output_lost = NONE, .bytes = NONE, .probe = "tcp_inerrs", .scope = STATUS_PROBE,
};
static const struct agent_probe probe = {
	.name = "tcp_connection", .hooks = "inet_sock_set_state,sys_exit,io_uring_complete", .way = WAY_TRACEPOINT,
};

static const struct sample {
	const char *name;
	const struct record *record;
	const void *wire;
	size_t (*print)(const void *wire, uint64_t sequence, char *out);
} samples[] = {
	{ "tcp_connection connect", &tcp_connection_record, &connected, print_connection },
	{ "tcp_connection accept", &tcp_connection_record, &accepted, print_connection },
	{ "nic_throughput", &nic_throughput_record, &nic, print_nic },
	{ "agent_probe", &agent_probe_record, &probe, print_probe },
	{ "agent_status", &agent_status_record, &status, print_status },
	{ "agent_lost", &agent_lost_record, &lost, print_lost },
};

/* --- the turns --- */

enum way { PLAN, JANSSON, PRINTF, WAYS };
static const char *const way_names[] = { "plan", "jansson", "printf" };

struct bench {
	const struct sample *sample;
	struct plan *plan;
	struct tree tree;
	_Alignas(8) char wires[VARIANTS][MAX_WIRE];
	char out[2 * LINE_MAX_BYTES];
};

static size_t encode(struct bench *b, enum way way, unsigned i)
{
	const char *wire = b->wires[i % VARIANTS];

	switch (way) {
	case PLAN:
		return plan_encode(b->plan, wire, 103682 + i, UTC_OFFSET, b->out);
	case JANSSON:
		return encode_jansson(&b->tree, wire, 103682 + i, b->out);
	default:
		return b->sample->print(wire, 103682 + i, b->out);
	}
}

/* The same record at other times, about 40 us apart; every wire struct begins with its time. */
static void bench_init(struct bench *b, const struct sample *sample)
{
	b->sample = sample;
	if (sample->record->size > MAX_WIRE || plan_new(sample->record, &facts, &b->plan) || plan_room(b->plan) > sizeof(b->out)) {
		fprintf(stderr, "%s: no plan\n", sample->name);
		exit(1);
	}
	tree_init(&b->tree, sample->record);
	for (unsigned i = 0; i < VARIANTS; i++) {
		uint64_t ns = 2000000000 + i * 40961ull;

		memcpy(b->wires[i], sample->wire, sample->record->size);
		memcpy(b->wires[i], &ns, sizeof(ns));
	}
}

/* Length of the line, the same in all ways. */
static size_t check_equal(struct bench *b)
{
	static char expected[2 * LINE_MAX_BYTES];
	size_t length = encode(b, PRINTF, 0);

	memcpy(expected, b->out, length);
	for (enum way way = 0; way < WAYS; way++) {
		size_t n = encode(b, way, 0);

		if (n != length || memcmp(b->out, expected, length)) {
			fprintf(stderr, "%s: %s writes\n%.*s and printf\n%.*s", b->sample->name, way_names[way], (int)n, b->out, (int)length, expected);
			exit(1);
		}
	}
	return length;
}

static double turn(struct bench *b, enum way way, unsigned n)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < n; i++)
		encode(b, way, i);
	return (double)(clock_ns(CLOCK_MONOTONIC) - start) / n;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), compare);
	return values[n / 2];
}

static void measure(struct bench *b, size_t bytes)
{
	double ns[WAYS][TURNS], ratio[WAYS][TURNS];
	unsigned n[WAYS];

	for (enum way way = 0; way < WAYS; way++)
		n[way] = TURN_NS / turn(b, way, 200) + 1;
	for (unsigned i = 0; i < TURNS; i++) {
		for (enum way way = 0; way < WAYS; way++)
			ns[way][i] = turn(b, way, n[way]);
		for (enum way way = 0; way < WAYS; way++)
			ratio[way][i] = ns[way][i] / ns[PLAN][i];
	}
	printf("{\"sample\":\"%s\",\"bytes\":%zu", b->sample->name, bytes);
	for (enum way way = 0; way < WAYS; way++)
		printf(",\"%s_ns\":%.1f,\"%s_ratio\":%.2f", way_names[way], median(ns[way], TURNS), way_names[way], median(ratio[way], TURNS));
	printf("}\n");
}

int main(void)
{
	static struct bench bench;

	end_with_parent();
	pin(0);
	for (unsigned i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		bench_init(&bench, &samples[i]);
		measure(&bench, check_equal(&bench));
		plan_free(bench.plan);
	}
	return 0;
}
