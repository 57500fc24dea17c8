/* SPDX-License-Identifier: BSD-2-Clause */
#include "container.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "clock.h"

#define ID_DIGITS (CONTAINER_ID_LEN - 1)
#define MAX_DEPTH 32
#define REST 20		/* times as long as the last walk took */
#define FIRST_ROOM 256	/* a power of two */
#define MOST_ROOM (1u << 16)	/* then all is forgotten, and begins anew */

struct known {
	uint64_t cgroup;	/* 0: free */
	char id[CONTAINER_ID_LEN];	/* empty: in no container */
};

static struct known *table;
static unsigned n_known, room;
static uint64_t walk_again;	/* not before */

/* --- names --- */

static bool is_id(const char *name)
{
	size_t n = 0;

	while (isdigit((unsigned char)name[n]) || (name[n] >= 'a' && name[n] <= 'f'))
		n++;
	return n == ID_DIGITS && (!name[n] || name[n] == '/' || !strncmp(name + n, ".scope", 6));
}

/* In one component of a path: the id, or what follows the runtime's name. The monitor of a container is not in it. */
static const char *id_in_name(const char *name, size_t length)
{
	const char *dash;

	if (length < ID_DIGITS)
		return NULL;
	if (is_id(name))
		return name;
	for (dash = name + length - 1; dash > name && *dash != '-'; dash--)
		;
	if (*dash != '-' || !is_id(dash + 1) || (dash - name >= 6 && !strncmp(dash - 6, "conmon", 6)))
		return NULL;
	return dash + 1;
}

int container_in_path(const char *path, char ret_id[CONTAINER_ID_LEN])
{
	const char *found = NULL;

	while (*path) {
		size_t length = strcspn(path, "/");
		const char *id = id_in_name(path, length);

		found = id ?: found;
		path += length + (path[length] == '/');
	}
	if (!found)
		return -ENOENT;
	memcpy(ret_id, found, ID_DIGITS);
	ret_id[ID_DIGITS] = 0;
	return 0;
}

/* --- what is known --- */

static struct known *find(uint64_t cgroup)
{
	uint64_t at = cgroup * 0x9e3779b97f4a7c15 >> 32;

	while (table[at & (room - 1)].cgroup && table[at & (room - 1)].cgroup != cgroup)
		at++;
	return &table[at & (room - 1)];
}

/* Room for one more; false: no memory. */
static bool make_room(void)
{
	struct known *old = table;
	unsigned old_room = room, more = room ? 2 * room : FIRST_ROOM;

	if (2 * n_known < room)
		return true;
	if (more > MOST_ROOM) {
		memset(table, 0, room * sizeof(*table));
		n_known = 0;
		return true;
	}
	table = calloc(more, sizeof(*table));
	if (!table) {
		table = old;
		return false;
	}
	room = more;
	for (unsigned i = 0; i < old_room; i++)
		if (old[i].cgroup)
			*find(old[i].cgroup) = old[i];
	free(old);
	return true;
}

static void remember(uint64_t cgroup, const char *id)
{
	struct known *known;

	if (!make_room())
		return;
	known = find(cgroup);
	n_known += !known->cgroup;
	known->cgroup = cgroup;
	strcpy(known->id, id);
}

/* --- the folders: a folder's inode number is the cgroup's id --- */

static void walk_folder(int fd, const char *id, int depth)
{
	DIR *folder = fdopendir(fd);
	struct dirent *entry;

	if (!folder) {
		close(fd);
		return;
	}
	while (depth < MAX_DEPTH && (entry = readdir(folder))) {
		char own[CONTAINER_ID_LEN];
		int below;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		if (container_in_path(entry->d_name, own))
			strcpy(own, strstr(entry->d_name, "conmon") ? "" : id);
		if (own[0])
			remember(entry->d_ino, own);
		below = openat(dirfd(folder), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (below >= 0)
			walk_folder(below, own, depth + 1);
	}
	closedir(folder);
}

static void walk(void)
{
	static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs fs;

	for (unsigned i = 0; i < 2; i++) {
		int fd = open(mounts[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC)
			walk_folder(fd, "", 0);
		else if (fd >= 0)
			close(fd);
	}
}

static const char *id_of(uint64_t cgroup, bool *ret_known)
{
	const struct known *known = find(cgroup);

	*ret_known = known->cgroup;
	return known->id[0] ? known->id : NULL;
}

const char *container_of_cgroup(uint64_t cgroup)
{
	bool known;
	const char *id;
	uint64_t begin, end;

	if (!cgroup || !make_room())
		return NULL;
	id = id_of(cgroup, &known);
	if (known)
		return id;
	begin = clock_now();
	if (begin < walk_again)
		return NULL;
	walk();
	end = clock_now();
	walk_again = end + REST * (end - begin);
	id = id_of(cgroup, &known);
	if (!known)	/* in none, or gone by now: not looked for again */
		remember(cgroup, "");
	return id;
}

void container_release(void)
{
	free(table);
	table = NULL;
	room = n_known = 0;
}
