// SPDX-License-Identifier: BSD-2-Clause
/*
 * The time charts. They share their range and their cursor: drag to zoom, double click or Escape for the whole. Two kinds:
 * rates, a step line for each row, what is received above zero and what is sent below; and counts, stacked bars.
 */
const RATE_BINS = 900, COUNT_BINS = 100;
const charts = [];

/* Sums of the series in bins that are whole multiples of the data's, `most` of them: {width (s), starts, sums, covered}. */
function rebin(series, from, to, most) {
	const width = WIDTHS.find((each) => each >= data.width && (to - from) * 1000 / each <= most) ?? WIDTHS.at(-1);
	const factor = width / data.width, first = Math.floor(from * 1000 / width);
	const length = Math.floor(to * 1000 / width) - first + 1;
	const sum = (bins, values) => {
		const sums = new Array(length).fill(0);
		bins.forEach((bin, i) => {
			const at = Math.floor(bin / factor) - first;
			if (at >= 0 && at < length)
				sums[at] += values[i];
		});
		return sums;
	};
	return {
		width: width / 1000, starts: Array.from({ length }, (_, i) => (first + i) * width / 1000),
		sums: series.map(({ bins, values }) => sum(bins, values)), covered: series.map(({ bins, covered }) => sum(bins, covered)),
	};
}

function zoom(from, to) {
	const least = data.width / 1000, all = Math.max(data.last - data.first, least), length = Math.min(Math.max(to - from, least), all);
	view.from = Math.max(Math.min(from, data.first + all - length), data.first);
	view.to = view.from + length;
	for (const chart of charts)
		chart.show();
	byId("whole").disabled = length >= all;
	byId("range").textContent = `${moment(view.from, 1)} – ${clock(view.to, 1).time} (${span(view.to - view.from)})`;
}

const zoomOut = () => zoom(data.first, data.last);

class TimeChart {
	/* rows: {name, series: [one, or the received and the sent], totals: [text]}; heads: those of the values and of the totals. */
	constructor(mount, { title, rates = false, rows, format, heads, totals }) {
		Object.assign(this, { rates, rows, format, hidden: new Set() });
		this.plot = make("div.plot", { tabIndex: 0, role: "group", "aria-label": `${title}: left and right move the cursor, plus and minus zoom, Escape shows all` });
		this.plot.addEventListener("keydown", (event) => this.key(event));
		this.caption = make("th", { scope: "col" });
		this.values = rows.map(() => heads.map(() => make("td.number.value", {})));
		this.legend = make("table.legend", {},
			make("thead", {}, make("tr", {}, this.caption, ...[...heads, ...totals].map((head) => make("th.number", { scope: "col" }, head)))),
			make("tbody", {}, ...rows.map((row, i) => make("tr", {}, make("th", { scope: "row" }, this.toggle(row, i)), ...this.values[i],
				...row.totals.map((total) => make("td.number", {}, total))))));
		mount.append(this.plot, make("div.wide", {}, this.legend));
		this.chart = this.draw();
		charts.push(this);
	}

	toggle(row, i) {
		const button = make("button.series", { type: "button", title: `show or hide ${row.name}`, "aria-pressed": "true" }, make("span.swatch", {}), row.name);
		button.firstChild.style.background = `var(--${seriesColor(i)})`;
		button.addEventListener("click", () => {
			if (!this.hidden.delete(i))
				this.hidden.add(i);
			button.setAttribute("aria-pressed", String(!this.hidden.has(i)));
			this.show();
		});
		return button;
	}

	draw() {
		const line = (i) => ({
			stroke: color(seriesColor(i)), width: 1.5, fill: `${color(seriesColor(i))}26`, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false },
		});
		const bars = (i) => ({ fill: color(seriesColor(i)), width: 0, paths: uPlot.paths.bars({ size: [0.82, 60] }), points: { show: false } });
		const series = this.rows.flatMap((_, i) => this.rates ? [line(i), line(i)] : [bars(i)]);
		const axis = { stroke: color("muted"), font: `11px ${getComputedStyle(document.body).fontFamily}`, grid: { stroke: color("grid"), width: 1 }, ticks: { show: false } };
		return new uPlot({
			width: Math.max(this.plot.clientWidth, 200), height: this.rates ? 250 : 170, legend: { show: false }, padding: [10, 28, 0, 0],
			tzDate: (seconds) => view.utc ? uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") : new Date(seconds * 1000),
			scales: { x: { time: true, auto: false }, y: { range: (_, low, high) => this.bounds(low, high) } },
			axes: [
				{ ...axis, space: 80, values: (_, splits, _axis, _space, step) => timeLabels(splits, step) },
				{ ...axis, size: 78, values: (_, splits) => splits.map((value) => this.rates || Number.isInteger(value) ? this.format(Math.abs(value)) : "") },
			],
			series: [{}, ...this.rates ? series : series.reverse()], // of stacked bars the highest is drawn first
			cursor: {
				y: false, sync: { key: "time", scales: ["x", null], filters: { pub: (type) => type !== "mousedown" && type !== "mouseup" } },
				drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => () => zoomOut() },
				dataIdx: (chart, _, near, x) => this.rates && near > 0 && chart.data[0][near] > x ? near - 1 : near,
			},
			hooks: {
				setCursor: [(chart) => this.tell(chart.cursor.left >= 0 ? chart.cursor.idx : null)],
				setSelect: [(chart) => this.selected(chart)],
				draw: [(chart) => this.rates && this.sides(chart)],
			},
		}, [[0], ...series.map(() => [0])], this.plot);
	}

	bounds(low, high) {
		const most = Math.max(high ?? 0, 0), least = Math.min(low ?? 0, 0);
		return this.rates ? [least * 1.08 || -1, most * 1.08 || 1] : [0, Math.max(most * 1.08, 1)];
	}

	/* Words on the two halves of a rate chart. */
	sides({ ctx, bbox, valToPos }) {
		const ratio = devicePixelRatio || 1;
		ctx.save();
		ctx.font = `600 ${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
		ctx.fillStyle = color("muted");
		ctx.textAlign = "right";
		ctx.fillText("received ↑", bbox.left + bbox.width - 6 * ratio, bbox.top + 12 * ratio);
		ctx.fillText("sent ↓", bbox.left + bbox.width - 6 * ratio, bbox.top + bbox.height - 6 * ratio);
		ctx.fillRect(bbox.left, valToPos(0, "y", true), bbox.width, ratio);
		ctx.restore();
	}

	show() {
		this.binned = rebin(this.rows.flatMap(({ series }) => series), view.from, view.to, this.rates ? RATE_BINS : COUNT_BINS);
		const { width, starts, sums, covered } = this.binned;
		let below = starts.map(() => 0);
		const drawn = this.each((row, side, at) => {
			if (this.hidden.has(row))
				return starts.map(() => null);
			if (this.rates)
				return sums[at].map((sum, bin) => covered[at][bin] > 0 ? (side ? -8 : 8) * sum / covered[at][bin] : null);
			return below = below.map((value, bin) => value + sums[at][bin]);
		});
		this.chart.batch(() => {
			this.chart.setData([this.rates ? starts : starts.map((start) => start + width / 2), ...this.rates ? drawn : drawn.reverse()], false);
			this.chart.setScale("x", { min: view.from, max: view.to });
		});
		this.tell(null);
	}

	/* What `get` makes of each row's series: row, side, and place among all. */
	each(get) {
		return this.rows.flatMap(({ series }, row) => series.map((_, side) => get(row, side, row * series.length + side)));
	}

	/* The values at a bin, or of the whole range. */
	tell(bin) {
		if (!this.binned)
			return;
		const { width, starts, sums, covered } = this.binned;
		const value = (bins) => bin === null ? bins.reduce((sum, each) => sum + each, 0) : bins[bin];
		this.caption.textContent = bin !== null ? `${moment(starts[bin], width < 1 ? 1 : 0)}, ${span(width)}` : this.rates ? "Mean of the range shown" : "In the range shown";
		this.each((row, side, at) => {
			const seconds = this.rates ? value(covered[at]) / 8 : 1;
			this.values[row][side].textContent = this.hidden.has(row) || !seconds ? "–" : this.format(value(sums[at]) / seconds);
		});
	}

	selected({ select, posToVal }) {
		if (select.width > 3)
			zoom(posToVal(select.left, "x"), posToVal(select.left + select.width, "x"));
		this.chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
	}

	key(event) {
		const { cursor, data: [x], valToPos } = this.chart;
		const at = cursor.left >= 0 ? cursor.idx : null, middle = at === null ? (view.from + view.to) / 2 : x[at];
		const scale = (factor) => zoom(middle - (middle - view.from) * factor, middle + (view.to - middle) * factor);
		const actions = {
			ArrowLeft: () => this.point(at === null ? x.length - 1 : Math.max(at - 1, 0), valToPos),
			ArrowRight: () => this.point(at === null ? 0 : Math.min(at + 1, x.length - 1), valToPos),
			"+": () => scale(0.5),
			"-": () => scale(2),
			Escape: zoomOut,
		};
		if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey)
			return;
		event.preventDefault();
		actions[event.key]();
	}

	point(at, valToPos) {
		const x = this.chart.data[0][at] + (this.rates ? this.binned.width / 2 : 0);
		this.chart.setCursor({ left: Math.min(Math.max(valToPos(x, "x"), 0), this.chart.over.clientWidth - 1), top: 1 });
	}

	resize() {
		const width = this.plot.clientWidth;
		if (width > 0 && width !== this.chart.width)
			this.chart.setSize({ width, height: this.chart.height });
	}
}

/* The time of each split, and below it the day where it begins or changes. */
function timeLabels(splits, step) {
	let before = "";
	return splits.map((split) => {
		const { day, time, minute } = clock(split, 1);
		const label = step >= 86400 ? day.slice(5) : step >= 60 ? minute : step >= 1 ? time.slice(0, 8) : time;
		const below = step >= 86400 || day === before ? "" : day;
		before = day;
		return `${label}\n${below}`;
	});
}
