/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernel addresses that the verifier knows as such, as numbers: to compute with. */
#ifndef NETLINE_NUMBER_BPF_H
#define NETLINE_NUMBER_BPF_H

#include "../kernel.h"

static __u64 anchor SEC(".bss.anchor");

static __always_inline __u64 number_of(const void *address)
{
	__u64 number = (__u64)address;

	/* The verifier allows no other arithmetic with an address than to take one from another, which gives it a number. */
	asm volatile("%0 -= %1" : "+r"(number) : "r"(&anchor));
	return number;
}

/* The same of an address that is a mere number: an argument of a kprobe. */
static __always_inline __u64 number_at(__u64 address)
{
	const void *pointer = &anchor;
	__u64 of_anchor = 0;

	bpf_probe_read_kernel(&of_anchor, sizeof(of_anchor), &pointer);
	return address - of_anchor;
}

static __always_inline __u64 number_by(const void *address, bool known)
{
	return known ? number_of(address) : number_at((__u64)address);
}

/* Of an array of `size` elements, a power of two: which one a number belongs to. */
static __always_inline __u32 slot_of(__u64 number, __u32 size)
{
	return (number * 0x9e3779b97f4a7c15ull >> 32) & (size - 1);
}
#endif
