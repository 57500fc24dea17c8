/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the kernel's functions are, and under which names, by a file like /proc/kallsyms. */
#include "kern.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../schema/control.h"

int kern_symbol(const char *kallsyms, const char *function, char *ret_symbol, size_t size)
{
	FILE *file = fopen(kallsyms, "r");
	size_t len = strlen(function);
	char line[256], symbol[128];
	int err = -ENOENT;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {	/* ffffffff81000000 t name.isra.0	[module] */
		if (!strstr(line, function) || sscanf(line, "%*s %*1[tTwW] %127s", symbol) != 1 || strncmp(symbol, function, len) || strlen(symbol) >= size)
			continue;
		if (symbol[len] && strncmp(symbol + len, ".isra.", 6))
			continue;
		strcpy(ret_symbol, symbol);
		err = 0;
		if (!symbol[len])
			break;
	}
	fclose(file);
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
