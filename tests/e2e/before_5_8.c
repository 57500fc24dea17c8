/* SPDX-License-Identifier: BSD-2-Clause */
/* For LD_PRELOAD: bpf(2) as before Linux 5.8, which has no ring buffer: EINVAL for a map of an unknown type. */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <sys/syscall.h>

long syscall(long number, ...)
{
	static long (*next)(long, ...);
	const union bpf_attr *attr;
	long a[6];
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	attr = (const void *)a[1];
	if (number == SYS_bpf && a[0] == BPF_MAP_CREATE && attr->map_type == BPF_MAP_TYPE_RINGBUF) {
		errno = EINVAL;
		return -1;
	}
	if (!next)
		next = dlsym(RTLD_NEXT, "syscall");
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
