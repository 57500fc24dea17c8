/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the running kernel offers: asked of its BTF, or by a try, never of its version. Answers are remembered.
 * kern_release() frees the kernel's BTF (some megabytes) when nothing more will be asked.
 */
#ifndef NETLINE_KERN_H
#define NETLINE_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether this process and this kernel can run any probe at all; false with the reason in words. */
bool kern_usable(char *ret_why, size_t size);

/* Number of parameters, or -ENOENT. */
int kern_function_params(const char *function);
int kern_tracepoint_params(const char *tracepoint);

/* 0 if the hook can be attached to here, else a negative errno. */
int kern_try_fentry(void);
int kern_try_kprobe(void);

/* bpf_get_socket_cookie() for tracing programs (5.12, c5dbb89fc2ac). */
bool kern_has_socket_cookie(void);

/* Inode number of the agent's own network namespace, 0 if unknown. */
uint32_t kern_own_netns(void);

void kern_release(void);
#endif
