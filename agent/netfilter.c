/* SPDX-License-Identifier: BSD-2-Clause */
#include "netfilter.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kern.h"
#include "log.h"

#define MAX_HOOKED 4	/* programs */
#define MAX_STEPS 100
#define NFPROTO_IPV4 2
#define NFPROTO_IPV6 10

/* The kernel keeps the very first and the very last priority to itself. */
static const struct hook {
	const char *name;
	uint32_t number;
	int32_t priority, inwards;
} hooks[] = {
	{ "NF_INET_LOCAL_IN", 1, INT_MAX - 1, -1 },
	{ "NF_INET_LOCAL_OUT", 3, INT_MIN + 1, 1 },
};

struct netns {
	uint64_t inode;
	int fd;			/* -1: of the own one, or nothing is attached */
	int links[2 * MAX_HOOKED];	/* IPv4 and IPv6 */
	unsigned n_links;
	unsigned n_attached;	/* programs */
	bool found, told;
};

struct netfilter {
	struct hooked {
		int fd;
		const struct hook *hook;
	} programs[MAX_HOOKED];
	unsigned n_programs;
	bool all_netns, told_hidden;
	int own;		/* the way back, with all_netns */
	dev_t device;		/* of all namespaces' inodes */
	struct netns *netns;	/* the first one is the own */
	unsigned n_netns, size;
};

/* --- one namespace --- */

/* What bpf(2) takes for BPF_LINK_CREATE; 84601d6ee68a. */
struct link_attr {
	uint32_t prog_fd, target_fd, attach_type, flags;
	uint32_t family, hook;
	int32_t priority;
	uint32_t hook_flags;
};

/* A link in the thread's namespace. EBUSY: that priority is another BPF program's, of another netline say. */
static int make_link(const struct hooked *program, uint32_t family)
{
	struct link_attr attr = {
		.prog_fd = program->fd, .attach_type = KERN_ATTACH_NETFILTER, .family = family, .hook = program->hook->number,
		.priority = program->hook->priority,
	};
	int fd = -1;

	for (unsigned i = 0; i < MAX_STEPS && fd < 0; i++, attr.priority += program->hook->inwards) {
		fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
		if (fd < 0 && errno != EBUSY)
			break;
	}
	return fd < 0 ? -errno : fd;
}

static bool lacks_ipv6(int err)
{
	return err == -EAFNOSUPPORT || err == -EOPNOTSUPP || err == -ENOENT;
}

static int attach_program(struct netns *netns, const struct hooked *program)
{
	int ipv4 = make_link(program, NFPROTO_IPV4), ipv6;

	if (ipv4 < 0)
		return ipv4;
	netns->links[netns->n_links++] = ipv4;
	ipv6 = make_link(program, NFPROTO_IPV6);
	if (ipv6 < 0 && !lacks_ipv6(ipv6))
		return ipv6;
	if (ipv6 >= 0)
		netns->links[netns->n_links++] = ipv6;
	netns->n_attached++;
	return 0;
}

/* The links go first: before 6.12 (1230fe7ad397) they do not keep the namespace, and the kernel uses it when they go. */
static void release(struct netns *netns)
{
	while (netns->n_links)
		close(netns->links[--netns->n_links]);
	netns->n_attached = 0;
	if (netns->fd >= 0)
		close(netns->fd);
	netns->fd = -1;
}

/* What is not attached yet to the thread's namespace, which is this one. */
static int attach_here(struct netfilter *netfilter, struct netns *netns)
{
	int err = 0;

	while (netns->n_attached < netfilter->n_programs && !err)
		err = attach_program(netns, &netfilter->programs[netns->n_attached]);
	return err;
}

static void go_back(const struct netfilter *netfilter)
{
	if (!setns(netfilter->own, CLONE_NEWNET))
		return;
	log_error("cannot return to the own network namespace: %s", strerror(errno));
	abort();
}

/* ENOENT: what was found at the path is gone, or another namespace by now. */
static int open_netns(struct netns *netns, int dir, const char *path)
{
	struct stat st;

	if (netns->fd < 0)
		netns->fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (netns->fd < 0)	/* EACCES: a process that could be looked at just before, and ended */
		return errno == EACCES || errno == ESRCH ? -ENOENT : -errno;
	return !fstat(netns->fd, &st) && st.st_ino == netns->inode ? 0 : -ENOENT;
}

static int attach_there(struct netfilter *netfilter, struct netns *netns, int dir, const char *path)
{
	int err = open_netns(netns, dir, path);

	if (!err && setns(netns->fd, CLONE_NEWNET))
		err = -errno;
	else if (!err) {
		err = attach_here(netfilter, netns);
		go_back(netfilter);
	}
	if (err)
		release(netns);
	return err;
}

/* --- all namespaces --- */

static struct netns *find_netns(const struct netfilter *netfilter, uint64_t inode)
{
	for (unsigned i = 0; i < netfilter->n_netns; i++)
		if (netfilter->netns[i].inode == inode)
			return &netfilter->netns[i];
	return NULL;
}

static struct netns *add_netns(struct netfilter *netfilter, uint64_t inode)
{
	if (netfilter->n_netns == netfilter->size) {
		unsigned size = 2 * netfilter->size + 16;
		struct netns *netns = realloc(netfilter->netns, size * sizeof(*netns));

		if (!netns)
			return NULL;
		netfilter->netns = netns;
		netfilter->size = size;
	}
	netfilter->netns[netfilter->n_netns] = (struct netns){ .inode = inode, .fd = -1 };
	return &netfilter->netns[netfilter->n_netns++];
}

/* A path that leads to the namespace. Where it is gone before it could be entered, another path may still lead to it. */
static void take(struct netfilter *netfilter, uint64_t inode, int dir, const char *path)
{
	struct netns *netns = find_netns(netfilter, inode) ?: add_netns(netfilter, inode);
	int err = 0;

	if (!netns || netns->found)
		return;
	if (netns->n_attached < netfilter->n_programs)
		err = attach_there(netfilter, netns, dir, path);
	netns->found = err != -ENOENT;
	if (!err || !netns->found || netns->told)
		return;
	netns->told = true;
	log_error("cannot attach netfilter programs in network namespace %ju: %s", (uintmax_t)inode, strerror(-err));
}

/* The text of the link: stat(2) would bring the namespace's inode up, which takes more than twice as long. */
static ssize_t read_link(int dir, const char *path, char *ret_text, size_t size)
{
	ssize_t n = readlinkat(dir, path, ret_text, size);

	/* EACCES is also said of a process that has just ended: then it is not found when asked again. */
	return n < 0 && errno == EACCES ? readlinkat(dir, path, ret_text, size) : n;
}

static void take_process(struct netfilter *netfilter, int proc, const char *pid)
{
	char path[64], text[64] = "";
	unsigned long long inode;

	if (!isdigit((unsigned char)pid[0]))
		return;
	snprintf(path, sizeof(path), "%.20s/ns/net", pid);
	if (read_link(proc, path, text, sizeof(text) - 1) < 0 && errno == EACCES && !netfilter->told_hidden) {
		netfilter->told_hidden = true;
		log_notice("no permission to see the network namespace of process %.20s, and maybe of others: they may be left out", pid);
	}
	if (sscanf(text, "net:[%llu]", &inode) == 1)
		take(netfilter, inode, proc, path);
}

/* A name may be a plain file as well, where the namespace is mounted on it for others only. */
static void take_mount(struct netfilter *netfilter, int dir, const char *name)
{
	struct stat st;

	if (!fstatat(dir, name, &st, 0) && st.st_dev == netfilter->device)
		take(netfilter, st.st_ino, dir, name);
}

static int scan(struct netfilter *netfilter, const char *path,
		void (*take_entry)(struct netfilter *netfilter, int dir, const char *name))
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir)))
		take_entry(netfilter, dirfd(dir), entry->d_name);
	closedir(dir);
	return 0;
}

static int scan_all(struct netfilter *netfilter)
{
	struct stat run, var_run;
	int err = scan(netfilter, "/proc", take_process) ?: scan(netfilter, "/run/netns", take_mount);

	if (!stat("/run/netns", &run) && !stat("/var/run/netns", &var_run) && run.st_dev == var_run.st_dev && run.st_ino == var_run.st_ino)
		return err;	/* as /var/run is a link to /run */
	return err ?: scan(netfilter, "/var/run/netns", take_mount);
}

void netfilter_follow(struct netfilter *netfilter)
{
	if (!netfilter || !netfilter->all_netns)
		return;
	for (unsigned i = 1; i < netfilter->n_netns; i++)
		netfilter->netns[i].found = false;
	if (scan_all(netfilter))
		return;	/* those that were not looked for are not gone */
	for (unsigned i = netfilter->n_netns; i-- > 1;) {
		struct netns *netns = &netfilter->netns[i];

		if (netns->found)
			continue;
		release(netns);
		*netns = netfilter->netns[--netfilter->n_netns];
	}
}

/* Some descriptors for each namespace may be more than the 1024 that are usual. */
static void raise_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* --- */

static int look_at_own(struct netfilter *netfilter)
{
	struct stat st;

	netfilter->own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (netfilter->own < 0 || fstat(netfilter->own, &st))
		return -errno;
	netfilter->device = st.st_dev;
	netfilter->netns[0].inode = st.st_ino;
	raise_open_files();
	return 0;
}

static int begin(struct netfilter **ret_netfilter, bool all_netns)
{
	struct netfilter *netfilter = calloc(1, sizeof(*netfilter));
	struct netns *own = netfilter ? add_netns(netfilter, 0) : NULL;

	if (!own) {
		free(netfilter);
		return -ENOMEM;
	}
	own->found = true;
	netfilter->all_netns = all_netns;
	netfilter->own = -1;
	*ret_netfilter = netfilter;
	return all_netns ? look_at_own(netfilter) : 0;
}

static const struct hook *find_hook(const char *name)
{
	for (unsigned i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		if (!strcmp(hooks[i].name, name))
			return &hooks[i];
	return NULL;
}

int netfilter_attach(struct netfilter **netfilter, int prog_fd, const char *hook, bool all_netns)
{
	const struct hook *found = find_hook(hook);
	int err = !found ? -EINVAL : *netfilter ? 0 : begin(netfilter, all_netns);

	if (!err && (*netfilter)->n_programs == MAX_HOOKED)
		err = -ENOSPC;
	if (err)
		return err;
	(*netfilter)->programs[(*netfilter)->n_programs++] = (struct hooked){ prog_fd, found };
	err = attach_here(*netfilter, &(*netfilter)->netns[0]);
	if (!err)
		netfilter_follow(*netfilter);
	return err;
}

void netfilter_free(struct netfilter *netfilter)
{
	if (!netfilter)
		return;
	for (unsigned i = 0; i < netfilter->n_netns; i++)
		release(&netfilter->netns[i]);
	if (netfilter->own >= 0)
		close(netfilter->own);
	free(netfilter->netns);
	free(netfilter);
}
