// SPDX-License-Identifier: BSD-2-Clause
/* syscalls COUNT: calls getppid() COUNT times on CPU 0, in ten parts, and prints the fastest part: what a system call costs
 * when nothing disturbs it. */
#include "bench.h"

#include <sys/syscall.h>

#define PARTS 10

int main(int argc, char **argv)
{
	unsigned count = argc == 2 ? atoi(argv[1]) : 0;
	uint64_t best = UINT64_MAX;

	if (count < PARTS) {
		fprintf(stderr, "usage: syscalls COUNT\n");
		return 2;
	}
	end_with_parent();
	pin(0);
	for (int part = 0; part < PARTS; part++) {
		uint64_t start = clock_ns(CLOCK_MONOTONIC), spent;

		for (unsigned i = 0; i < count / PARTS; i++)
			syscall(SYS_getppid);
		spent = clock_ns(CLOCK_MONOTONIC) - start;
		if (spent < best)
			best = spent;
	}
	printf("{\"count\":%u,\"wall_ns\":%llu}\n", count / PARTS, (unsigned long long)best);
	return 0;
}
