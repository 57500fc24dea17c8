/* SPDX-License-Identifier: BSD-2-Clause */
/* Container ids in the paths that runtimes give to cgroups. */
#include <errno.h>

#include "../../agent/container.h"
#include "unit.h"

#define A "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define B "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static void test_paths(void **state)
{
	static const struct {
		const char *path, *id;
	} paths[] = {
		{ "/system.slice/docker-" A ".scope", A },						/* docker, systemd */
		{ "/docker/" A, A },									/* docker, cgroupfs */
		{ "/system.slice/docker-" A ".scope/init.scope", A },					/* systemd in the container */
		{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-" A ".scope", A },
		{ "/kubepods/burstable/pod6f3a/" A, A },						/* containerd, cgroupfs */
		{ "/kubepods.slice/kubepods-pod12.slice/crio-" A ".scope/container", A },
		{ "/machine.slice/libpod-" A ".scope/container", A },					/* podman */
		{ "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" A ".scope", A },
		{ "/docker/" A "/docker/" B, B },							/* docker in docker */
		{ "/docker/" A "/system.slice/docker-" B ".scope/x", B },
		{ "/kubepods.slice/crio-conmon-" A ".scope", NULL },					/* the monitor is outside */
		{ "/machine.slice/libpod-conmon-" A ".scope", NULL },
		{ "", NULL }, { "/", NULL }, { "/system.slice/ssh.service", NULL },
		{ "/docker/" A "0", NULL }, { "/docker/x" A, NULL }, { "/docker/0123456789abcdef", NULL },
		{ "/docker-0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef.scope", NULL },
		{ "/docker-" A ".slice", NULL }, { "-" A, A }, { "/" A "-x", NULL },
	};
	char id[CONTAINER_ID_LEN];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		int err = container_in_path(paths[i].path, id);

		require(err == (paths[i].id ? 0 : -ENOENT), "%s: %d", paths[i].path, err);
		if (paths[i].id)
			assert_string_equal(id, paths[i].id);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
