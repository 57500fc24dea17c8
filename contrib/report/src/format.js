// SPDX-License-Identifier: BSD-2-Clause
/* Numbers, times and elements. Texts go into the page as text nodes only: names come from whoever made the file. */
const view = { utc: false, from: 0, to: 0 }; // what the time charts show, in seconds; the whole of it is data.first to data.last
let data = null; // what the worker has read

const grouped = new Intl.NumberFormat("en-US");
const count = (n) => n === undefined ? "–" : grouped.format(Math.round(n));

/* Three digits and the unit with its prefix. */
function scaled(value, unit, prefixes = ["", "k", "M", "G", "T", "P", "E"]) {
	let power = 0;
	while (Math.abs(value) >= 999.5 && power < prefixes.length - 1) {
		value /= 1000;
		power++;
	}
	const digits = power === 0 && Number.isInteger(value) ? 0 : Math.abs(value) < 9.995 ? 2 : Math.abs(value) < 99.95 ? 1 : 0;
	return `${value.toFixed(digits)} ${prefixes[power]}${unit}`;
}

const bits = (n) => scaled(n, "bit/s");
const bytes = (n) => scaled(n, "B");
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
const duration = (ns) => ns >= 1e9 ? scaled(ns / 1e9, "s", [""]) : scaled(ns, "s", ["n", "µ", "m"]);

function span(seconds) {
	const parts = [[86400, "d"], [3600, "h"], [60, "min"]].flatMap(([length, unit]) => {
		const n = Math.floor(seconds / length);
		seconds -= n * length;
		return n ? [`${n} ${unit}`] : [];
	});
	return [...parts.slice(0, 2), ...parts.length < 2 ? [`${seconds.toFixed(parts.length ? 0 : 1)} s`] : []].join(" ");
}

function clock(seconds, digits = 0) {
	const ms = Math.floor(seconds * 1000 + 1e-3);
	const local = view.utc ? ms : ms - new Date(ms).getTimezoneOffset() * 60_000;
	const text = new Date(local).toISOString();
	return { day: text.slice(0, 10), time: text.slice(11, digits ? 20 + digits : 19), minute: text.slice(11, 16) };
}

function moment(seconds, digits = 0) {
	const { day, time } = clock(seconds, digits);
	return `${day} ${time}`;
}

const zone = () => view.utc ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";

/* An element: properties, or attributes where there is none, and children; text becomes text. */
function make(tag, properties = {}, ...children) {
	const [name, ...classes] = tag.split(".");
	const svg = ["svg", "rect", "line"].includes(name);
	const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
	if (classes.length)
		element.setAttribute("class", classes.join(" "));
	for (const [key, value] of Object.entries(properties)) {
		if (!svg && key in element)
			element[key] = value;
		else
			element.setAttribute(key, value);
	}
	element.append(...children);
	return element;
}

const byId = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const SERIES_COLORS = 7; // --s1 to --s7 in report.css: told apart also by the color-blind
const seriesColor = (i) => i < SERIES_COLORS ? `s${i + 1}` : "rest";

/* Text with commands between backquotes. */
function hint(text) {
	return make("p.hint", {}, ...text.split("`").map((part, i) => i % 2 ? make("code", {}, part) : part));
}

function table(heads, rows, properties = {}) {
	return make("table", properties,
		make("thead", {}, make("tr", {}, ...heads.map((head) => make(head.startsWith("#") ? "th.number" : "th", { scope: "col" }, head.replace("#", ""))))),
		make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, i) => make(heads[i].startsWith("#") ? "td.number" : "td", {}, cell))))));
}
