/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel's drop reasons mean to tcp_inerrs.
 *
 * Reasons are known by their names (enum skb_drop_reason in the running kernel's BTF): their numbers differ from kernel to kernel.
 */
#ifndef NETLINE_INERR_REASONS_H
#define NETLINE_INERR_REASONS_H

#include <stdbool.h>

#include "../../schema/tcp_inerrs.h"

#define DROP_REASON_PREFIX "SKB_DROP_REASON_"

/* False: a reason of that name is of no interest. `name` is the kernel's, with its prefix; duplicates: --duplicates. */
bool inerr_rule_of(const char *name, bool duplicates, struct inerr_rule *ret_rule);
#endif
