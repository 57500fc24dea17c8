/* SPDX-License-Identifier: BSD-2-Clause */
#include "clock.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int64_t offset;

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

uint64_t clock_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_offset(void)
{
	return offset;
}

/* The tightest of three: an interruption between the reads would shift the offset by its length. */
void clock_sample(void)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 3; i++) {
		uint64_t before = clock_now(), utc = read_clock(CLOCK_REALTIME), after = clock_now();

		if (after - before < best) {
			best = after - before;
			offset = utc - (before + best / 2);
		}
	}
}

static int arm(int fd)
{
	const struct itimerspec never = { .it_value.tv_sec = INT32_MAX };	/* only its cancellation matters */

	return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) ? -errno : 0;
}

int clock_step_fd(void)
{
	int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = arm(fd);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

void clock_step_acknowledge(int fd)
{
	uint64_t expirations;

	if (read(fd, &expirations, sizeof(expirations)) < 0 && errno == EAGAIN)
		return;
	arm(fd);
}
