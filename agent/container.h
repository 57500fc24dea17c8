/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which container a cgroup (v2) belongs to, by the names that docker, containerd, cri-o and podman give to their cgroups: 64 hexadecimal digits,
 * perhaps between the runtime's name and .scope. Kept by cgroup id. An id that is not known yet costs a walk over the cgroups' folders, of which
 * there is one in twenty times as long as one takes, at most: what asks in between is told that it is in no container.
 */
#ifndef NETLINE_CONTAINER_H
#define NETLINE_CONTAINER_H

#include <stdint.h>

#define CONTAINER_ID_LEN 65

/* NULL: in none, or it is not known. Valid until the next call. */
const char *container_of_cgroup(uint64_t cgroup);
/* The id in a path, as in /proc/PID/cgroup; of nested ones the innermost. 0 or -ENOENT. */
int container_in_path(const char *path, char ret_id[CONTAINER_ID_LEN]);
void container_release(void);
#endif
