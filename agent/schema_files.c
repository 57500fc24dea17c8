/* SPDX-License-Identifier: BSD-2-Clause */
/* All generated files of schema/, for `make schema`. */
#include "schema.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "config.h"

static const struct {
	const char *prefix;
	int (*print)(const struct record *record, FILE *out);
} files[] = {
	{ "", schema_print },
	{ "elasticsearch/component-", template_component_print },
	{ "elasticsearch/index-", template_index_print },
};

static int path_make(char *path, const char *dir, const char *prefix, const char *name)
{
	return snprintf(path, PATH_MAX, "%s/%s%s", dir, prefix, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int close_file(FILE *file, int err)
{
	errno = 0;
	if (fclose(file) && !err)
		err = errno ? -errno : -EIO;
	return err;
}

static int write_record(const char *dir, const struct record *record)
{
	char path[PATH_MAX], name[NAME_MAX];
	int err = 0;

	snprintf(name, sizeof(name), "%s.json", record->name);
	for (size_t i = 0; !err && i < sizeof(files) / sizeof(files[0]); i++) {
		FILE *file;

		err = path_make(path, dir, files[i].prefix, name);
		if (err)
			break;
		file = fopen(path, "we");
		err = file ? close_file(file, files[i].print(record, file)) : -errno;
	}
	return err;
}

/* A file that is about no record, or about all. */
static FILE *open_file(const char *dir, const char *name)
{
	char path[PATH_MAX];

	errno = -path_make(path, dir, "", name);
	return errno ? NULL : fopen(path, "we");
}

static int write_fields(const char *dir, const struct record *const *records, size_t n)
{
	FILE *file = open_file(dir, "fields.md");

	return file ? close_file(file, fields_print(records, n, file)) : -errno;
}

static int write_config(const char *dir)
{
	FILE *file = open_file(dir, "config.json");

	return file ? close_file(file, config_write_schema(file)) : -errno;
}

int schema_write_all(const char *dir, const struct record *const *records, size_t n)
{
	char path[PATH_MAX];
	int err = path_make(path, dir, "elasticsearch", "");

	if (!err && mkdir(path, 0755) && errno != EEXIST)
		err = -errno;
	for (size_t i = 0; !err && i < n; i++)
		err = write_record(dir, records[i]);
	return err ?: write_fields(dir, records, n) ?: write_config(dir);
}
