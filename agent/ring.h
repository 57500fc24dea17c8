/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reader of one BPF ring buffer, in bounded batches (libbpf 1.1 has none).
 *
 * The kernel wakes us when a record comes into an empty ring, and for each one above `wake_bytes`. ring_fd() becomes readable
 * once a wake-up (edge-triggered inside): a batch may gather, and the loop does not spin on it.
 */
#ifndef NETLINE_RING_H
#define NETLINE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring;

/* `size` in bytes is the map's: a power of two and a multiple of the page size. Errors: negative errno of mmap or epoll. */
int ring_new(int map_fd, size_t size, struct ring **ret_ring);
void ring_free(struct ring *ring);

int ring_fd(const struct ring *ring);
void ring_acknowledge(struct ring *ring);	/* takes the wake-up from ring_fd() */

size_t ring_pending(const struct ring *ring);	/* bytes, headers included */
size_t ring_peak(const struct ring *ring);	/* most that ring_drain() has met */

/*
 * Gives up to `max` records to `take`, oldest first, and returns how many. `take` returns false to leave a record where it is
 * and stop. Fewer than `max` without a refusal: the ring is empty, or its next record is still being written and will wake us.
 */
typedef bool ring_take(void *context, const void *record, size_t size);
unsigned ring_drain(struct ring *ring, unsigned max, ring_take *take, void *context);
#endif
