/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: encoded records stand in blocks of 64 KiB that are freed when the last record in them was let go.
 * One thread counts references; others may read what was written.
 */
#ifndef NETLINE_BUF_H
#define NETLINE_BUF_H

#include <stddef.h>

#define ARENA_BYTES 65536

struct arena {
	unsigned references;
	size_t used, size;
	char data[];
};

/* The arena that is being filled; `room` bytes are free at the returned place, or NULL if there is no memory. */
struct arena_writer {
	struct arena *arena;
};
char *arena_room(struct arena_writer *writer, size_t room);
/* The last `length` bytes written at arena_room() are a record now. */
void arena_commit(struct arena_writer *writer, size_t length);
void arena_writer_release(struct arena_writer *writer);

void arena_hold(struct arena *arena);
void arena_drop(struct arena *arena);	/* NULL is fine */
#endif
