/* SPDX-License-Identifier: BSD-2-Clause */
/* What systemd wants to know of a service of Type=notify: a datagram to $NOTIFY_SOCKET (sd_notify(3)). Without one, nothing happens. */
#ifndef NETLINE_NOTIFY_H
#define NETLINE_NOTIFY_H

#include <stdint.h>

/* "READY=1\nSTATUS=..." */
void notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Within which time a WATCHDOG=1 has to come: ns; 0: none is wanted from this process. */
uint64_t notify_watchdog(void);
#endif
