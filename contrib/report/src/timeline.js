// SPDX-License-Identifier: BSD-2-Clause
/*
 * What happened when, in bins of one width for all series.
 * The width grows when there are too many bins: memory has a bound, sums stay exact.
 */
const MOST_BINS = 6000;
const MOST_SERIES = 64; // in a group, such as NICs or reasons; what is more goes into one of all others
const OTHERS = "others";

const increase = (map, key, by) => map.set(key, (map.get(key) ?? 0) + by);

class Timeline {
	constructor() {
		this.series = [];
		this.level = 0;
		this.occupied = new Set();
	}

	make() {
		const series = { values: new Map(), covered: new Map() };
		this.series.push(series);
		return series;
	}

	add(series, time, value) {
		const bin = Math.floor(time * 1000 / WIDTHS[this.level]);
		increase(series.values, bin, value);
		this.occupied.add(bin);
		this.bound();
	}

	/* A value that belongs to an interval: each bin gets its part of it, and of the interval's seconds. */
	spread(series, from, to, value) {
		while (to - from > WIDTHS[this.level] * MOST_BINS / 1000 && this.level < WIDTHS.length - 1)
			this.widen();
		const width = WIDTHS[this.level] / 1000;
		const first = Math.floor(from / width), last = Math.min(Math.floor(to / width), first + MOST_BINS);
		for (let bin = first; bin <= last && to > from; bin++) {
			const part = Math.min(to, (bin + 1) * width) - Math.max(from, bin * width);
			if (part <= 0)
				continue;
			increase(series.values, bin, value * part / (to - from));
			increase(series.covered, bin, part);
			this.occupied.add(bin);
		}
		this.bound();
	}

	bound() {
		while (this.occupied.size > MOST_BINS && this.level < WIDTHS.length - 1)
			this.widen();
	}

	widen() {
		const factor = WIDTHS[this.level + 1] / WIDTHS[this.level], wider = (bin) => Math.floor(bin / factor);
		const merge = (bins) => {
			const merged = new Map();
			for (const [bin, value] of bins)
				increase(merged, wider(bin), value);
			return merged;
		};
		this.level++;
		this.occupied = new Set([...this.occupied].map(wider));
		for (const series of this.series)
			Object.assign(series, { values: merge(series.values), covered: merge(series.covered) });
	}
}

/* The entry of a map, made where there is none; in a full map that of OTHERS. */
function entry(map, key, make, most = MOST_SERIES) {
	if (!map.has(key) && map.size >= most)
		key = OTHERS;
	let found = map.get(key);
	if (!found)
		map.set(key, found = make(key === OTHERS));
	return found;
}
