/* SPDX-License-Identifier: BSD-2-Clause */
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

static uint64_t kept = UINT64_MAX;

int user_check(const char *where, const char *name)
{
	if (getpwnam(name))
		return 0;
	log_error("%s %s: there is no such user", where, name);
	return -EINVAL;
}

/* Those in effect; all where they cannot be asked for: then the kernel's own refusal will tell. */
static uint64_t get_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	return syscall(SYS_capget, &header, data) ? UINT64_MAX : data[0].effective | (uint64_t)data[1].effective << 32;
}

bool user_has(int capability)
{
	return get_capabilities() & CAP_BIT(capability);
}

bool user_keeps(int capability)
{
	return user_has(capability) && kept & CAP_BIT(capability);
}

void user_will_keep(uint64_t capabilities)
{
	kept = capabilities;
}

static int set_capabilities(uint64_t capabilities)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = capabilities, .permitted = capabilities },
		{ .effective = capabilities >> 32, .permitted = capabilities >> 32 },
	};

	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

int user_become(const char *name, uint64_t capabilities)
{
	struct passwd *user = getpwnam(name);
	uint64_t had = get_capabilities();
	int err = 0;

	if (!user)
		return user_check("--user", name);
	if (prctl(PR_SET_KEEPCAPS, 1) || initgroups(name, user->pw_gid) || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid))
		err = -errno;
	err = err ?: set_capabilities(had & capabilities);
	if (!err && (prctl(PR_SET_KEEPCAPS, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
		err = -errno;
	if (err)
		log_error("--user %s: %s", name, strerror(-err));
	return err;
}
