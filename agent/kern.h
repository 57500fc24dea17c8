/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the running kernel offers: asked of its BTF, or by a try, never of its version. Answers are remembered.
 * kern_release() frees the kernel's BTF and the names of its functions (some megabytes) when nothing more will be asked.
 */
#ifndef NETLINE_KERN_H
#define NETLINE_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether this process and this kernel can run any probe at all; false with the reason in words. */
bool kern_usable(char *ret_why, size_t size);

bool kern_has_function(const char *function);
bool kern_has_tracepoint(const char *tracepoint);
/* Whether a parameter, counted from 0, is a pointer to that struct. */
bool kern_tracepoint_takes(const char *tracepoint, int parameter, const char *type);
/* Gives each value of an enum to `take`; none if the kernel has no such enum. */
void kern_enum(const char *name, void (*take)(void *context, const char *name, uint32_t value), void *context);

#define PROC_KALLSYMS "/proc/kallsyms"

/* BPF_PROG_TYPE_NETFILTER and BPF_NETFILTER (6.4, fd9c663b9ad6), which an older <linux/bpf.h> lacks. */
#define KERN_PROG_TYPE_NETFILTER 32
#define KERN_ATTACH_NETFILTER 45

/* 0 if the hook can be attached to here, else a negative errno. */
int kern_try_fentry(const char *function);
int kern_try_kprobe(void);
int kern_try_netfilter(void);

/*
 * The symbol of a function in a file like /proc/kallsyms: its name, or that with .isra.N where the compiler has changed a
 * static function's parameters. -ENOENT: there is none, so it was inlined. The file is read once, until the names are forgotten.
 */
int kern_symbol(const char *kallsyms, const char *function, char *ret_symbol, size_t size);
void kern_forget_symbols(void);

/*
 * Where the code of functions is, by a file like /proc/kallsyms, what the compiler has put apart of each (name.cold) included. Returns how
 * many ranges were found, at most `size`; 0 where the kernel hides its addresses.
 */
struct code_range;
unsigned kern_code(const char *kallsyms, const char *const *functions, struct code_range *ret_ranges, unsigned size);

/* Whether a task can be preempted while a program runs in it at a tracepoint (not in 6.18, in 7.3): the kernel guards them by SRCU then. */
bool kern_preempts_tracepoints(void);

/* Iterators over the elements of a map (5.9, a5cbe05a6673), which hardened kernels refuse while they have others. */
bool kern_iterates_maps(void);

/* bpf_get_socket_cookie() for tracing programs (5.12, c5dbb89fc2ac). */
bool kern_has_socket_cookie(void);

/* Before 5.11 maps count as locked memory of the process: whether that is so here, and limited. */
bool kern_limits_maps(void);

/* Whether programs of every kind may use maps that allocate when they are filled (6.1, 7c8199e24fa0); before, the kernel warns of it in kprobes. */
bool kern_allocates_in_programs(void);

/* Inode number of the agent's own network namespace, 0 if unknown. */
uint32_t kern_own_netns(void);

void kern_release(void);
#endif
