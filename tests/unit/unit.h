/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What unit tests share: cmocka, random numbers from a seed, and buffers that end where memory ends, so that one byte too
 * many is a fault even without a sanitizer. Sanitizers and valgrind are slow: rounds() gives them fewer.
 */
#ifndef NETLINE_UNIT_H
#define NETLINE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_DISABLE_ERROR_REPORTING
#define VALGRIND_ENABLE_ERROR_REPORTING
#endif

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define require(condition, ...) do { if (!(condition)) fail_msg(__VA_ARGS__); } while (0)

#ifdef __SANITIZE_ADDRESS__
#define SLOWNESS 8
#else
#define SLOWNESS (RUNNING_ON_VALGRIND ? 100 : 1)
#endif

static inline unsigned rounds(unsigned n)
{
	return (n + SLOWNESS - 1) / SLOWNESS;
}

/* --- random numbers: splitmix64 --- */

struct random {
	uint64_t state;
};

static inline uint64_t random_u64(struct random *random)
{
	uint64_t z = random->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline unsigned random_below(struct random *random, unsigned n)
{
	return random_u64(random) % n;
}

/* As many numbers of each length in bits. */
static inline uint64_t random_length(struct random *random)
{
	return random_u64(random) >> random_below(random, 64);
}

static inline void random_bytes(struct random *random, void *ret_bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)ret_bytes)[i] = random_u64(random) >> 32;
}

/* --- guarded buffers --- */

#define GUARD_BYTE 0xa5

struct guarded {
	char *map, *data;
	size_t map_size, size;
};

static inline void guarded_init(struct guarded *guarded, size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE), room = (size + 2 * page - 1) / page * page;

	*guarded = (struct guarded){ .map_size = room + page, .size = size };
	guarded->map = mmap(NULL, guarded->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(guarded->map != MAP_FAILED);
	memset(guarded->map, GUARD_BYTE, room);
	assert_int_equal(mprotect(guarded->map + room, page, PROT_NONE), 0);
	guarded->data = guarded->map + room - size;
}

/* What lies before the buffer was left alone. */
static inline void guarded_check(const struct guarded *guarded)
{
	for (const char *at = guarded->data - 64; at < guarded->data; at++)
		require((uint8_t)*at == GUARD_BYTE, "%td bytes before the buffer were written", guarded->data - at);
}

static inline void guarded_release(struct guarded *guarded)
{
	munmap(guarded->map, guarded->map_size);
}
#endif
