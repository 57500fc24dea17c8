// SPDX-License-Identifier: BSD-2-Clause
/* What the worker and the page share. */

/* Widths of bins, in ms: each divides the next, so that bins merge whole. */
const WIDTHS = [100, 200, 1000, 2000, 10_000, 20_000, 60_000, 120_000, 600_000, 1_200_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000, 864_000_000];

/* The histogram of netline's summaries: four buckets for each power of two of ns, from 256 ns to 17 s. */
const FIRST_BIT = 8, LAST_BIT = 34, BUCKETS = (LAST_BIT - FIRST_BIT) * 4 + 2;
function bucketOf(ns) {
	if (ns < 2 ** FIRST_BIT)
		return 0;
	if (ns >= 2 ** LAST_BIT)
		return BUCKETS - 1;
	const bit = Math.floor(Math.log2(ns));
	return 1 + (bit - FIRST_BIT) * 4 + Math.floor(ns / 2 ** (bit - 2)) - 4;
}
