/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BPF programs at netfilter hooks (6.4), which libbpf 1.1 cannot attach: where packets have come in last, or go out first.
 *
 * Hooks belong to a network namespace: programs are attached in the agent's own, or in every one that the first thread of a process
 * is in or that `ip netns` has named. Links and a descriptor keep these namespaces; netfilter_follow() lets those go that
 * neither a process nor a name leads to any more.
 */
#ifndef NETLINE_NETFILTER_H
#define NETLINE_NETFILTER_H

#include <stdbool.h>

struct netfilter;

/*
 * Attaches one more program; the first one makes *netfilter and decides where. hook: NF_INET_LOCAL_IN or NF_INET_LOCAL_OUT. The
 * program's descriptor stays the caller's, open until netfilter_free(). A negative errno if that failed in the own namespace,
 * *netfilter is to be freed then as well; others that cannot be entered are logged, once each, and tried again later.
 */
int netfilter_attach(struct netfilter **netfilter, int prog_fd, const char *hook, bool all_netns);
/* With all_netns, namespaces that came and went: once a second, by the thread that attached. NULL is fine, for both. */
void netfilter_follow(struct netfilter *netfilter);
void netfilter_free(struct netfilter *netfilter);
#endif
