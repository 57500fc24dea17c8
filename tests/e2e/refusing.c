/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For LD_PRELOAD: bpf(2) of a kernel that is not to be had, by the variable REFUSES:
 *   ring       before Linux 5.8: EINVAL for a map of an unknown type
 *   run        hardened: EPERM where a program is to run without being attached
 *   elements   hardened: EPERM for iterators over maps, while others are allowed
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static int refusal(long command, const union bpf_attr *attr)
{
	const char *what = getenv("REFUSES") ?: "";

	if (!strcmp(what, "ring"))
		return command == BPF_MAP_CREATE && attr->map_type == BPF_MAP_TYPE_RINGBUF ? EINVAL : 0;
	if (!strcmp(what, "run"))
		return command == BPF_PROG_TEST_RUN ? EPERM : 0;
	return command == BPF_PROG_LOAD && attr->prog_type == BPF_PROG_TYPE_TRACING && attr->expected_attach_type == BPF_TRACE_ITER &&
	       (!strcmp(attr->prog_name, "netline_try") || !strcmp(attr->prog_name, "list_keys")) ? EPERM : 0;
}

long syscall(long number, ...)
{
	static long (*next)(long, ...);
	long a[6];
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	errno = number == SYS_bpf ? refusal(a[0], (const void *)a[1]) : 0;
	if (errno)
		return -1;
	if (!next)
		next = dlsym(RTLD_NEXT, "syscall");
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
