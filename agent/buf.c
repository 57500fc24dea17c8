/* SPDX-License-Identifier: BSD-2-Clause */
#include "buf.h"

#include <stdlib.h>

char *arena_room(struct arena_writer *writer, size_t room)
{
	struct arena *arena = writer->arena;
	size_t size = room > ARENA_BYTES ? room : ARENA_BYTES;

	if (arena && arena->size - arena->used >= room)
		return arena->data + arena->used;
	arena = malloc(sizeof(*arena) + size);
	if (!arena)
		return NULL;
	arena->references = 1;
	arena->used = 0;
	arena->size = size;
	arena_drop(writer->arena);
	writer->arena = arena;
	return arena->data;
}

void arena_commit(struct arena_writer *writer, size_t length)
{
	writer->arena->used += length;
}

void arena_writer_release(struct arena_writer *writer)
{
	arena_drop(writer->arena);
	writer->arena = NULL;
}

void arena_hold(struct arena *arena)
{
	arena->references++;
}

void arena_drop(struct arena *arena)
{
	if (arena && !--arena->references)
		free(arena);
}
