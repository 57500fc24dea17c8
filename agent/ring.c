/* SPDX-License-Identifier: BSD-2-Clause */
#include "ring.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

/* Layout of the mapping (kernel/bpf/ringbuf.c): a page with our position, a page with the kernel's, the data twice. */
struct ring {
	_Atomic unsigned long *consumer;
	const _Atomic unsigned long *producer;
	const char *data;
	size_t size, page, peak;
	int epoll;
};

int ring_new(int map_fd, size_t size, struct ring **ret_ring)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct ring *ring = calloc(1, sizeof(*ring));
	char *kernel;

	if (!ring)
		return -ENOMEM;
	ring->epoll = -1;
	ring->size = size;
	ring->page = sysconf(_SC_PAGESIZE);
	ring->consumer = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (ring->consumer == MAP_FAILED) {
		ring->consumer = NULL;
		goto fail;
	}
	kernel = mmap(NULL, ring->page + 2 * size, PROT_READ, MAP_SHARED, map_fd, ring->page);
	if (kernel == MAP_FAILED)
		goto fail;
	ring->producer = (void *)kernel;
	ring->data = kernel + ring->page;
	ring->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (ring->epoll < 0 || epoll_ctl(ring->epoll, EPOLL_CTL_ADD, map_fd, &event))
		goto fail;
	*ret_ring = ring;
	return 0;
fail:
	ring_free(ring);
	return -errno;
}

void ring_free(struct ring *ring)
{
	int error = errno;

	if (!ring)
		return;
	if (ring->epoll >= 0)
		close(ring->epoll);
	if (ring->producer)
		munmap((void *)ring->producer, ring->page + 2 * ring->size);
	if (ring->consumer)
		munmap(ring->consumer, ring->page);
	free(ring);
	errno = error;
}

int ring_fd(const struct ring *ring)
{
	return ring->epoll;
}

void ring_acknowledge(struct ring *ring)
{
	struct epoll_event event;

	epoll_wait(ring->epoll, &event, 1, 0);
}

size_t ring_pending(const struct ring *ring)
{
	return atomic_load_explicit(ring->producer, memory_order_acquire) -
	       atomic_load_explicit(ring->consumer, memory_order_relaxed);
}

size_t ring_peak(const struct ring *ring)
{
	return ring->peak;
}

unsigned ring_drain(struct ring *ring, unsigned max, ring_take *take, void *context)
{
	unsigned long at = atomic_load_explicit(ring->consumer, memory_order_relaxed);
	size_t pending = ring_pending(ring);
	unsigned n = 0;

	if (pending > ring->peak)
		ring->peak = pending;
	while (n < max && at < atomic_load_explicit(ring->producer, memory_order_acquire)) {
		const _Atomic uint32_t *header = (const void *)(ring->data + (at & (ring->size - 1)));
		uint32_t length = atomic_load_explicit(header, memory_order_acquire);

		if (length & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(length & BPF_RINGBUF_DISCARD_BIT)) {
			if (!take(context, (const char *)header + BPF_RINGBUF_HDR_SZ, length))
				break;
			n++;
		}
		length &= ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		at += (length + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
		/* Ordered with the next look at the producer: the kernel wakes us only if it sees that we have caught up. */
		atomic_store_explicit(ring->consumer, at, memory_order_seq_cst);
		atomic_thread_fence(memory_order_seq_cst);
	}
	return n;
}
