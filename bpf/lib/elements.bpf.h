/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs that go over the elements of a map: agent/elements.h runs them on one batch of keys after the other. What is done with an
 * element is a global function, which the verifier looks at once and not for each key of a batch. By the time it runs the element may
 * be gone, or another may be in its place.
 */
#ifndef NETLINE_ELEMENTS_BPF_H
#define NETLINE_ELEMENTS_BPF_H

#include "../kernel.h"
#include "../../schema/control.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct key_batch);
} key_batch SEC(".maps");

static __always_inline __u64 batch_key(__u32 i)
{
	__u32 zero = 0;
	struct key_batch *b = bpf_map_lookup_elem(&key_batch, &zero);

	return b ? b->keys[i % BATCH_KEYS] : 0;	/* never 0 */
}

/* Never NULL. */
static __always_inline void *batch_row(__u32 row, __u32 size)
{
	__u32 zero = 0;
	struct key_batch *b = bpf_map_lookup_elem(&key_batch, &zero);

	return b ? &b->rows[row % BATCH_KEYS * size] : NULL;
}

/*
 * `on_key(i, row)` looks at the i-th key; 1: it has written that row, 0: it has not. It is __weak, or clang leaves out arguments that it makes no
 * use of. The program is a socket filter because it can be run without being attached, by CAP_BPF alone, on each kernel that netline
 * can use; a raw tracepoint can from 5.10 on, and up to 6.0 the kernel warns of it where a map allocates.
 */
#define EACH_KEY(name, on_key) SEC("?socket") int name(const void *ctx) \
{ \
	__u32 zero = 0, rows = 0; \
	struct key_batch *b = bpf_map_lookup_elem(&key_batch, &zero); \
\
	if (!b) \
		return 0; \
	for (__u32 i = 0; i < BATCH_KEYS && i < b->n_keys; i++) \
		rows += on_key(i, rows) & 1; \
	b->n_rows = rows; \
	return 0; \
}

SEC("?iter/bpf_map_elem")
int list_keys(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *key = ctx->key;

	if (key)
		bpf_seq_write(ctx->meta->seq, key, sizeof(*key));
	return 0;
}
#endif
