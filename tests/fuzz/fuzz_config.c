/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as a configuration file: taken, or refused with -EINVAL; read twice, it says the same. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../agent/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_it(struct config *config, int fd)
{
	char path[64];
	char *argv[] = { "netline", "-c", path, NULL };

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return config_parse(config, 3, argv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config one, other;
	int fd = memfd_create("config", MFD_CLOEXEC), err;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	err = read_it(&one, fd);
	if (err && err != -EINVAL)
		abort();
	if (read_it(&other, fd) != err)
		abort();
	if (!err && (memcmp(one.probes, other.probes, sizeof(one.probes)) || memcmp(one.outputs, other.outputs, sizeof(one.outputs))))
		abort();
	config_release(&one);
	config_release(&other);
	close(fd);
	return 0;
}
