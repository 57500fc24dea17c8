/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rotated files beside the one that is written, NAME-<UTC time>.jsonl: putting one there, removing old ones, gzip. Blocking; for workers.
 * Only names of this pattern are ever touched. Order is by name, that is by time. All return a negative errno.
 */
#ifndef NETLINE_ARCHIVE_H
#define NETLINE_ARCHIVE_H

#include "spec.h"

/* Renames the file at spec->path. */
int archive_put(const struct output_spec *spec);
/* Removes what is too much. */
int archive_trim(const struct output_spec *spec);
/*
 * Compresses one of the rotated files, if there is one that is neither the newest nor younger than a minute: readers may still be in it.
 * 1: one was; 0: there is none.
 */
int archive_compress(const struct output_spec *spec);
#endif
