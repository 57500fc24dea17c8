/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the kernel's functions are, and under which names, by a file like /proc/kallsyms. */
#include "kern.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../schema/control.h"

/* The names of all functions, each with its 0; read once, since the kernel takes its time over the file. */
static struct {
	char *names;
	size_t used, size;
} symbols;

static int remember(const char *name, size_t len)
{
	if (symbols.used + len + 1 > symbols.size) {
		size_t size = symbols.size ? 2 * symbols.size : 1 << 20;
		char *names = realloc(symbols.names, size);

		if (!names)
			return -ENOMEM;
		symbols.names = names;
		symbols.size = size;
	}
	memcpy(symbols.names + symbols.used, name, len);
	symbols.used += len;
	symbols.names[symbols.used++] = '\0';
	return 0;
}

static int read_symbols(const char *kallsyms)
{
	FILE *file = fopen(kallsyms, "r");
	char line[512];
	int err = 0;

	if (!file)
		return -errno;
	while (!err && fgets(line, sizeof(line), file)) {	/* ffffffff81000000 t name.isra.0	[module] */
		const char *type = strchr(line, ' ');

		if (type && type[1] && strchr("tTwW", type[1]) && type[2] == ' ')
			err = remember(type + 3, strcspn(type + 3, "\t\n"));
	}
	fclose(file);
	if (err)
		kern_forget_symbols();
	return err;
}

void kern_forget_symbols(void)
{
	free(symbols.names);
	memset(&symbols, 0, sizeof(symbols));
}

int kern_symbol(const char *kallsyms, const char *function, char *ret_symbol, size_t size)
{
	int err = symbols.names ? 0 : read_symbols(kallsyms);
	size_t len = strlen(function);

	if (err)
		return err;
	err = -ENOENT;
	for (const char *name = symbols.names, *end = name + symbols.used; name < end; name += strlen(name) + 1) {
		if (strncmp(name, function, len) || strlen(name) >= size || (name[len] && strncmp(name + len, ".isra.", 6)))
			continue;
		strcpy(ret_symbol, name);
		err = 0;
		if (!name[len])
			break;
	}
	return err;
}

static bool mentions(const char *line, const char *const *functions)
{
	for (; *functions; functions++)
		if (strstr(line, *functions))
			return true;
	return false;
}

static bool is_one_of(const char *symbol, const char *const *functions)
{
	for (; *functions; functions++) {
		size_t len = strlen(*functions);

		if (!strncmp(symbol, *functions, len) && (!symbol[len] || !strcmp(symbol + len, ".cold")))
			return true;
	}
	return false;
}

unsigned kern_code(const char *kallsyms, const char *const *functions, struct code_range *ret_ranges, unsigned size)
{
	FILE *file = fopen(kallsyms, "r");
	char line[256], symbol[128];
	unsigned long long address;
	struct code_range *open = NULL;
	unsigned n = 0;

	while (file && fgets(line, sizeof(line), file)) {	/* sorted by address: a function ends where the next symbol begins */
		if ((!open && !mentions(line, functions)) || sscanf(line, "%llx %*1[a-zA-Z] %127s", &address, symbol) != 2 || !address)
			continue;
		if (open && address > open->start) {
			open->end = address;
			open = NULL;
		}
		if (!open && n < size && is_one_of(symbol, functions)) {
			open = &ret_ranges[n++];
			*open = (struct code_range){ address, ~0ull };
		}
	}
	if (file)
		fclose(file);
	return n;
}
