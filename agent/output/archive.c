/* SPDX-License-Identifier: BSD-2-Clause */
#include "archive.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define PATTERN "dddddddd-dddddd.ddddddZ"	/* d: a digit */
#define SUFFIX ".jsonl"
#define QUIET_SECONDS 60
#define CHUNK 65536

struct place {
	char directory[SPEC_MAX_PATH];
	char stem[SPEC_MAX_PATH];	/* NAME- */
};

static void place_of(const struct output_spec *spec, struct place *ret_place)
{
	const char *slash = strrchr(spec->path, '/'), *name = slash ? slash + 1 : spec->path;
	size_t len = strlen(name), suffix = strlen(SUFFIX);

	if (len > suffix && !strcmp(name + len - suffix, SUFFIX))
		len -= suffix;
	snprintf(ret_place->directory, sizeof(ret_place->directory), "%.*s", slash ? (int)(slash - spec->path) + 1 : 2, slash ? spec->path : "./");
	snprintf(ret_place->stem, sizeof(ret_place->stem), "%.*s-", (int)len, name);
}

static void path_of(const struct place *place, const char *name, char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%s%s", place->directory, name);
}

/* The time in the name, as text; NULL: the name is not ours. */
static const char *time_in(const struct place *place, const char *name, bool *ret_compressed)
{
	size_t stem = strlen(place->stem);
	const char *at = name + stem, *end = at + strlen(PATTERN);

	if (strncmp(name, place->stem, stem) || strlen(at) < strlen(PATTERN))
		return NULL;
	for (const char *p = PATTERN; *p; p++, at++)
		if (*p == 'd' ? !isdigit((unsigned char)*at) : *p != *at)
			return NULL;
	*ret_compressed = !strcmp(end, SUFFIX ".gz");
	return *ret_compressed || !strcmp(end, SUFFIX) ? name + stem : NULL;
}

/* When it was rotated, as its name says. */
static time_t rotated_at(const char *time_text)
{
	struct tm utc = { 0 };

	strptime(time_text, "%Y%m%d-%H%M%S", &utc);
	return timegm(&utc);
}

/* --- a file is put there --- */

int archive_put(const struct output_spec *spec)
{
	struct place place;
	char target[PATH_MAX], name[SPEC_MAX_PATH + 64];
	struct timespec now;
	struct tm utc;

	place_of(spec, &place);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	for (long micros = now.tv_nsec / 1000; micros < 1000000; micros++) {	/* another name if that one is taken */
		size_t used = snprintf(name, sizeof(name), "%s", place.stem);

		used += strftime(name + used, sizeof(name) - used, "%Y%m%d-%H%M%S", &utc);
		snprintf(name + used, sizeof(name) - used, ".%06ldZ" SUFFIX, micros);
		path_of(&place, name, target);
		if (!renameat2(AT_FDCWD, spec->path, AT_FDCWD, target, RENAME_NOREPLACE))
			return 0;
		if (errno == EINVAL && access(target, F_OK))	/* a file system without that flag; nobody else has this name */
			return rename(spec->path, target) ? -errno : 0;
		if (errno != EEXIST && errno != EINVAL)
			return -errno;
	}
	return -EEXIST;
}

/* --- what there is --- */

struct old_file {
	char *name;
	const char *time;
	bool is_compressed;
	struct stat is;
};

struct listing {
	struct old_file *files;
	unsigned n, room;
};

static void release(struct listing *listing)
{
	for (unsigned i = 0; i < listing->n; i++)
		free(listing->files[i].name);
	free(listing->files);
}

static int add(struct listing *listing, const struct place *place, const char *name)
{
	struct old_file file = { 0 };
	char path[PATH_MAX];

	if (!time_in(place, name, &file.is_compressed))
		return 0;
	path_of(place, name, path);
	if (lstat(path, &file.is) || !S_ISREG(file.is.st_mode))
		return 0;
	if (listing->n == listing->room) {
		unsigned room = listing->room ? 2 * listing->room : 64;
		struct old_file *files = realloc(listing->files, room * sizeof(*files));

		if (!files)
			return -ENOMEM;
		listing->files = files;
		listing->room = room;
	}
	file.name = strdup(name);
	if (!file.name)
		return -ENOMEM;
	file.time = time_in(place, file.name, &file.is_compressed);
	listing->files[listing->n++] = file;
	return 0;
}

static int by_time(const void *one, const void *other)
{
	return strncmp(((const struct old_file *)one)->time, ((const struct old_file *)other)->time, strlen(PATTERN));
}

/* The oldest first. */
static int list(const struct place *place, struct listing *ret_listing)
{
	DIR *directory = opendir(place->directory);
	struct dirent *entry;
	int err = 0;

	*ret_listing = (struct listing){ 0 };
	if (!directory)
		return -errno;
	while (!err && (entry = readdir(directory)))
		err = add(ret_listing, place, entry->d_name);
	closedir(directory);
	if (err)
		release(ret_listing);
	else if (ret_listing->n)
		qsort(ret_listing->files, ret_listing->n, sizeof(*ret_listing->files), by_time);
	return err;
}

/* --- old ones are removed --- */

int archive_trim(const struct output_spec *spec)
{
	struct place place;
	struct listing listing;
	uint64_t bytes = 0;
	unsigned first;
	char path[PATH_MAX];
	int err;

	if (!spec->keep && !spec->keep_bytes)
		return 0;
	place_of(spec, &place);
	err = list(&place, &listing);
	if (err)
		return err;
	for (first = listing.n; first > 0; first--) {
		bytes += listing.files[first - 1].is.st_size;
		if ((spec->keep && listing.n - first >= spec->keep) || (spec->keep_bytes && bytes > spec->keep_bytes))
			break;
	}
	while (first > 0) {
		path_of(&place, listing.files[--first].name, path);
		if (unlink(path) && errno != ENOENT)
			err = -errno;
	}
	release(&listing);
	return err;
}

/* --- gzip --- */

static int copy_compressed(int from, gzFile to)
{
	char *chunk = malloc(CHUNK);
	ssize_t n;
	int err = chunk ? 0 : -ENOMEM;

	while (!err && (n = read(from, chunk, CHUNK)) != 0)
		if (n < 0 || gzwrite(to, chunk, n) != n)
			err = n < 0 ? -errno : errno ? -errno : -EIO;
	free(chunk);
	return err;
}

static int write_compressed(int from, const char *path, const struct stat *is)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), err;
	int to_close = fd < 0 ? -1 : dup(fd);
	gzFile to = to_close < 0 ? NULL : gzdopen(to_close, "wb6");
	struct timespec times[2] = { is->st_atim, is->st_mtim };

	if (!to) {
		err = fd < 0 || to_close < 0 ? -errno : -ENOMEM;
		if (to_close >= 0)
			close(to_close);
		if (fd >= 0)
			close(fd);
		return err;
	}
	err = copy_compressed(from, to);
	if (gzclose(to) != Z_OK && !err)
		err = -EIO;
	if (!err && (fchmod(fd, is->st_mode & 07777) || futimens(fd, times) || fsync(fd)))
		err = -errno;
	close(fd);
	return err;
}

static int compress_file(const struct place *place, const struct old_file *file)
{
	char path[PATH_MAX], target[PATH_MAX + 8], temporary[PATH_MAX + 8];
	int from, err;

	path_of(place, file->name, path);
	snprintf(target, sizeof(target), "%s.gz", path);
	snprintf(temporary, sizeof(temporary), "%s.gz.tmp", path);
	from = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0)
		return -errno;
	err = write_compressed(from, temporary, &file->is);
	close(from);
	if (!err && rename(temporary, target))
		err = -errno;
	if (err)
		unlink(temporary);
	else if (unlink(path))
		err = -errno;
	return err;
}

int archive_compress(const struct output_spec *spec)
{
	struct place place;
	struct listing listing;
	time_t now = time(NULL);
	int err, done = 0;

	place_of(spec, &place);
	err = list(&place, &listing);
	if (err)
		return err;
	for (unsigned i = 0; i + 1 < listing.n && !done && !err; i++) {
		const struct old_file *file = &listing.files[i];

		if (file->is_compressed || now - rotated_at(file->time) < QUIET_SECONDS)
			continue;
		err = compress_file(&place, file);
		done = !err;
	}
	release(&listing);
	return err ?: done;
}
