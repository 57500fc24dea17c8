/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Probes: what each of them is (struct probe, one table), and one that runs (struct probe_run).
 *
 * A probe has its own BPF object, ring, counters, and ways to attach in order of preference. A way fits if every hook of its
 * programs exists here; hooks are read from the programs' sections. To add a probe: schema/X.h, bpf/X.bpf.c,
 * agent/probes/X.c, an example, a line in agent/probes/list.h, and a test.
 */
#ifndef NETLINE_PROBE_H
#define NETLINE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../schema/agent_lost.h"
#include "../schema/agent_probe.h"
#include "../schema/control.h"
#include "config.h"
#include "encode.h"

#define MAX_PROGRAMS 16

struct bpf_object;
struct bpf_link;
struct bpf_program;
struct netfilter;
struct probe_run;
struct ring;

struct way {
	enum probe_way kind;
	const char *const *programs;	/* NULL-terminated, beside those of every way */
};

/* A program over the elements of a map (elements.h), whose rows are wire structs. */
struct probe_walk {
	const char *program, *map;
	const char *in_use;	/* the map of a u32 that is 0 as long as there is nothing to read; NULL: read always */
};

struct probe {
	const char *name;
	const char *summary;			/* for --help */
	const struct record *record;
	const struct record *summary_record;	/* in its place under --summary; NULL: the probe has none */
	const void *object, *object_end;	/* the BPF object, compiled in; NULL: the probe is a part of the object of `needs` */
	const struct probe *needs;		/* keeps the socket table for it; is started before, silently if it was not chosen */
	bool (*needs_if)(const struct probe_config *config);	/* whether it does; NULL: always */
	unsigned table;				/* what it wants of the table: enum table_use bits */
	const char *ring, *counters;		/* its maps, if they are not `events` and `counters` */
	const struct way *ways;
	unsigned n_ways;
	const char *const *programs;		/* attached in every way; NULL-terminated or NULL */
	const char *const *may_miss;		/* those that the kernel may skip without a record being lost; NULL-terminated or NULL */
	unsigned filters;			/* enum filter bits that it can apply */
	bool by_default;
	size_t state_size;			/* of run->state, zeroed */

	/* All may be NULL. Errors: negative errno, with run->reason saying why. */
	int (*configure)(struct probe_run *run);	/* opened, not loaded: settings, sizes, more programs */
	int (*loaded)(struct probe_run *run);		/* loaded, not attached: filter maps */
	int (*attached)(struct probe_run *run);
	void (*tick)(struct probe_run *run, uint64_t now);	/* every interval, and at the end; before its walks */
	const struct probe_walk *walks;				/* every interval, and at the end, read beside the loop; ends with an empty one */
	void (*complete)(const struct probe_run *run, void *wire);	/* fills what the kernel's side leaves to the agent */
	void (*collect)(struct probe_run *run, bool last);	/* every second, and at the end until nothing is in flight: records that gather in the kernel */
	uint64_t (*weight)(const struct probe_run *run, const void *wire);	/* how many events a record stands for; NULL: one */
	void (*detached)(struct probe_run *run);		/* before the ring is drained for the last time */
	void (*release)(struct probe_run *run);
};

/* Totals since the start; see RECORDS.md. in_flight: in the ring or between two counters of the kernel. */
struct probe_totals {
	uint64_t produced, emitted, filtered, lost;
	uint64_t in_flight;
	uint64_t bpf_runs, bpf_ns;	/* UINT64_MAX: not counted */
};

struct probe_run {
	const struct probe *probe;
	const struct probe_config *config;
	const struct record *record;	/* what it writes */
	struct bpf_object *object;
	struct settings settings;
	struct bpf_program *programs[MAX_PROGRAMS];
	struct bpf_link *links[MAX_PROGRAMS];	/* NULL: the links of netfilter programs are kept apart */
	unsigned n_programs;
	struct netfilter *netfilter;	/* NULL: it has no such program, or none is attached */
	struct ring *ring;		/* NULL: the probe has none */
	struct probe_run *table;	/* of probe->needs */
	unsigned table_uses;		/* what is wanted of the table that this one keeps */
	const struct way *way;
	char hooks[512];
	char reason[400];		/* why it is unavailable */
	void *state;

	struct interval {
		uint64_t start;
		int64_t offset;		/* from UTC, with which the start was written */
	} interval, last_interval;	/* the one that the next tick ends, and the one before it */

	/* what the agent counts */
	uint64_t emitted, produced_here, refused;	/* refused: beyond --count */
	uint64_t lost_by[LOST_REASONS];
	struct counters counters;	/* the kernel's, as read last */
	uint64_t missed_before;		/* by the programs, as read last */
	uint64_t bpf_runs, bpf_ns;
	bool is_detached;

	/* where records go */
	void (*sink)(struct probe_run *run, const void *wire);
	void *context;
};

extern const struct probe *const probes[];
extern const struct probe tcp_connection_probe;	/* keeps the socket table */
extern const unsigned n_probes;

const struct probe *probe_find(const char *name);
unsigned probe_index(const struct probe *probe);	/* in probes[] */

/*
 * Chooses a way, loads and attaches. 0, or a negative errno with run->reason in words. The caller ends with probe_detach() and
 * probe_free(). `table`: the run of probe->needs, to be freed after this one; `table_uses`: of all probes that will have this one as theirs.
 */
int probe_start(struct probe_run *run, const struct probe *probe, const struct probe_config *config, struct probe_run *table,
		unsigned table_uses);
/* Only chooses, for `netline list`: 0 with run->way and run->hooks, or a negative errno with run->reason. */
int probe_choose(struct probe_run *run, const struct probe *probe, const struct probe_config *config);
/* To be called every second: with --netns all its netfilter programs follow namespaces that come and go. */
void probe_follow(struct probe_run *run);
void probe_detach(struct probe_run *run);
void probe_free(struct probe_run *run);

void probe_read_totals(struct probe_run *run, struct probe_totals *ret_totals);
/* A record that the agent made itself (interval probes). */
void probe_emit(struct probe_run *run, const void *wire);
uint64_t probe_weight(const struct probe_run *run, const void *wire);
/* A new interval begins; its start as the records have it, so that it is the @timestamp of those before to the nanosecond. */
void probe_begin_interval(struct probe_run *run, uint64_t now);
nl_time probe_start_of(const struct interval *interval);

/* What keeps the socket table for the probe in this run, or NULL. */
const struct probe *probe_needs(const struct probe *probe, const struct probe_config *config);

/* For probes' own code. */
int probe_fail(struct probe_run *run, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
int probe_enable(struct probe_run *run, const char *program);	/* in configure: attach this one too */
int probe_enable_all(struct probe_run *run, const char *const *programs);	/* NULL-terminated, or NULL */
int probe_map_fd(const struct probe_run *run, const char *map);
/* A variable of the programs, which is alone in its section .bss.NAME. */
int probe_set_variable(struct probe_run *run, const char *section, const void *value);
bool probe_may_allocate(const struct probe_run *run);	/* whether the programs of its way may use maps that allocate when they are filled */
int probe_load_only(struct probe_run *run, const char *program);	/* in configure: load, for the two below */
/* An iterator's descriptor, to be read and closed, over the elements of a map (-1: it is over no map); or a negative errno. */
int probe_open_iterator(struct probe_run *run, const char *program, int map_fd);
/* Bytes, 0 at the end, or a negative errno. */
ssize_t probe_read_iterator(int fd, void *ret_written, size_t room);
int probe_iterate(struct probe_run *run, const char *program);	/* runs an iterator, which writes nothing, to its end */
/* Runs a program of elements.h to its end; `take` gets its rows, of at most MAX_ROW bytes. 0 and NULL: it leaves none. */
int probe_each(struct probe_run *run, const char *program, const char *map, size_t row_size,
	       void (*take)(struct probe_run *run, const void *row));
/* Fills a set whose key is an element of the array. */
int probe_fill_set(struct probe_run *run, const char *map, const void *keys, size_t key_size, unsigned n);
/* Settings and sets that all probes about connections share: families, pids, ports, cgroup. */
void probe_connection_settings(struct probe_run *run);
int probe_connection_sets(struct probe_run *run);
int probe_reuse_user_sets(struct probe_run *run);	/* in configure: --cgroupmap, --mntnsmap */

/* Embeds build/bpf/<name>.bpf.o as <name>_object .. <name>_object_end. */
#define BPF_OBJECT(name) \
	__asm__(".section .rodata\n.balign 16\n.global " #name "_object\n" #name "_object:\n" \
		".incbin \"" BPF_DIR "/" #name ".bpf.o\"\n" \
		".global " #name "_object_end\n" #name "_object_end:\n.byte 0\n.previous\n"); \
	extern const char name##_object[], name##_object_end[]
#endif
