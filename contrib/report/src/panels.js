// SPDX-License-Identifier: BSD-2-Clause
/* What stands in each panel; a panel without records says which probe makes them. */
const MOST_ROWS = 12;
const BUCKET_FLOORS = Array.from({ length: BUCKETS + 1 }, (_, i) => i ? (4 + (i - 1) % 4) * 2 ** (Math.floor((i - 1) / 4) + FIRST_BIT - 2) : 0);
const STAGES = {
	ingress: {
		mac: "from the driver's hand-over to IP", ip: "in IP, with netfilter and the route", protocol: "TCP's own work, until the packet is in the receive queue",
		socket_wait: "in the receive queue, until a process reads it", tcp: "protocol and socket_wait", total: "from the driver to the process that reads it",
	},
	egress: { tcp: "in TCP, from its stamp on the packet to IP", ip: "in IP, with netfilter and neighbour", qdisc: "in the queueing discipline, until the driver has it", total: "from TCP to the driver" },
};

const panel = (id) => byId(id).querySelector(".body");
const attached = (probe) => data.probes.some((each) => each.probe === probe && each.action === "probe-attached");

/* Nothing to show: because the probe has met nothing, or because it did not run. */
function empty(id, what, probe) {
	panel(id).replaceChildren(hint(attached(probe) ? `No ${what}: ${probe} was attached, and has reported none.` : `No ${what} in this file: run \`netline ${probe}\`.`));
}

/* NICs of one name, of several hosts or namespaces, are told apart. */
function nicName({ host, netns, nic }) {
	const several = (get) => new Set(data.nics.map(get)).size > 1;
	return [nic, several((each) => each.host) ? host : "", several((each) => each.netns) && netns ? `netns ${netns}` : ""].filter(Boolean).join(" · ");
}

function throughput() {
	if (!data.nics.length)
		return empty("throughput", "throughput", "nic_throughput");
	panel("throughput").replaceChildren();
	const rows = data.nics.slice(0, SERIES_COLORS).map((nic) => ({
		name: nicName(nic), series: [nic.ingress.series, nic.egress.series], totals: [bytes(nic.ingress.bytes), bytes(nic.egress.bytes)],
	}));
	new TimeChart(panel("throughput"), { title: "Throughput", rates: true, rows, format: bits, heads: ["received", "sent"], totals: ["received, all", "sent, all"] });
	const rest = data.nics.slice(SERIES_COLORS);
	if (rest.length)
		panel("throughput").append(make("details", {}, make("summary", {}, plural(rest.length, "more NIC")), table(["NIC", "#received, all", "#sent, all"],
			rest.map((nic) => [nicName(nic), bytes(nic.ingress.bytes), bytes(nic.egress.bytes)]))));
}

function counts(id, title, groups, head, none) {
	if (!groups.length)
		return none();
	panel(id).replaceChildren();
	const row = (name, series, total) => ({ name, series: [series], totals: [count(total)] });
	const rows = groups.slice(0, SERIES_COLORS).map(({ name, series, total }) => row(name, series, total)), rest = groups.slice(SERIES_COLORS);
	if (rest.length) {
		const all = (part) => rest.flatMap(({ series }) => [...series[part]]);
		rows.push(row(`${rest.length} more`, { bins: all("bins"), values: all("values"), covered: all("covered") }, rest.reduce((sum, { total }) => sum + total, 0)));
	}
	new TimeChart(panel(id), { title, rows, format: count, heads: [head], totals: ["all"] });
}

function connections() {
	counts("connections", "Connections", data.connections, "connections", () => empty("connections", "connections", "tcp_connection"));
	counts("failures", "Failed connections", data.failures, "failures", () => data.connections.length
		? panel("failures").replaceChildren(hint("No connection has failed.")) : empty("failures", "failures", "tcp_connection"));
	counts("errors", "Input errors", data.errors, "packets", () => empty("errors", "bad packets", "tcp_inerrs"));
}

function processes() {
	if (!data.processes.length)
		return empty("processes", "bytes of connections", "tcp_bytes");
	const top = data.processes.slice(0, MOST_ROWS), most = Math.max(...top.map(({ sent, received }) => Math.max(sent, received)), 1);
	const bar = (kind, value) => {
		const element = make(`span.bar.${kind}`, {});
		element.style.width = `${100 * value / most}%`;
		return element;
	};
	const name = (each) => [each.name ?? "owner unknown", data.hosts.length > 1 ? ` · ${each.host}` : ""].join("");
	const pids = ({ pid, pids: n }) => n > 1 ? plural(n, "process", "processes") : n ? `pid ${pid}` : "";
	panel("processes").replaceChildren(make("div.wide", {}, table(["process", "", "#received", "#sent", "#sent again"], top.map((each) => [
		make("span", {}, name(each), make("small", {}, pids(each))), make("div.bars", { title: `received ${bytes(each.received)}, sent ${bytes(each.sent)}` },
			bar("received", each.received), bar("sent", each.sent)), bytes(each.received), bytes(each.sent), each.again ? bytes(each.again) : "–",
	]), { className: "processes" })));
	if (data.processes.length > top.length)
		panel("processes").append(hint(`${plural(data.processes.length - top.length, "more process name")} with fewer bytes.`));
}

/* The smallest bucket with so many percent of the values at or below it, by its middle, as netline writes it. */
function percentile({ buckets, count: all }, percent) {
	let below = 0;
	const bucket = buckets.findIndex((packets) => (below += packets) * 100 >= all * percent);
	return bucket === BUCKETS - 1 ? BUCKET_FLOORS[bucket] : (BUCKET_FLOORS[bucket] + BUCKET_FLOORS[bucket + 1]) / 2;
}

/* Histograms below each other on one logarithmic axis: rows of {name, title, histogram}. */
function histograms(rows, unit) {
	const filled = rows.flatMap(({ histogram }) => histogram.buckets.flatMap((packets, i) => packets ? [i] : []));
	const octave = (bucket) => Math.floor((Math.max(bucket, 1) - 1) / 4);
	const low = octave(Math.min(...filled)) * 4 + 1, high = octave(Math.max(...filled)) * 4 + 5;
	const from = Math.log10(BUCKET_FLOORS[low]), to = Math.log10(BUCKET_FLOORS[high] ?? 2 ** (LAST_BIT + 1));
	const place = (ns) => 1000 * Math.min(Math.max((Math.log10(Math.max(ns, 1)) - from) / (to - from), 0), 1);
	const end = (i) => i === BUCKETS - 1 ? 2 ** (LAST_BIT + 1) : BUCKET_FLOORS[i + 1];
	const draw = ({ buckets, count: all }, p50, p99) => {
		const most = Math.max(...buckets);
		const svg = make("svg", { viewBox: "0 0 1000 40", preserveAspectRatio: "none", "aria-hidden": "true" });
		buckets.forEach((packets, i) => {
			const x = place(BUCKET_FLOORS[i]), height = 36 * packets / most;
			if (packets)
				svg.append(make("rect", { x, y: 40 - Math.max(height, 1), width: Math.max(place(end(i)) - x - 1.5, 1), height: Math.max(height, 1) }));
		});
		svg.append(make("line.p50", { x1: place(p50), x2: place(p50), y1: 0, y2: 40 }), make("line.p99", { x1: place(p99), x2: place(p99), y1: 0, y2: 40 }));
		svg.addEventListener("pointermove", (event) => {
			const box = svg.getBoundingClientRect(), ns = 10 ** (from + (to - from) * (event.clientX - box.left) / box.width);
			const i = bucketOf(ns);
			tip(event, `${i ? duration(BUCKET_FLOORS[i]) : "0"} – ${i === BUCKETS - 1 ? "more" : duration(BUCKET_FLOORS[i + 1])}: ${plural(buckets[i], unit)} (${(100 * buckets[i] / all).toFixed(1)} %)`);
		});
		svg.addEventListener("pointerleave", () => tip(null));
		return svg;
	};
	const axis = make("div.axis", {});
	for (let power = Math.ceil(from - 0.02), step = to - from > 5.5 ? 2 : 1; power <= to; power += step) {
		const tick = make("span", {}, scaledPower(power));
		tick.style.left = `${place(10 ** power) / 10}%`;
		axis.append(tick);
	}
	const body = rows.map(({ name, title, histogram }) => {
		const p50 = percentile(histogram, 50), p99 = percentile(histogram, 99);
		return [make("span", { title }, name), draw(histogram, p50, p99), count(histogram.count), duration(p50), duration(p99), duration(histogram.max)];
	});
	const made = table(["", "", `#${unit}s`, "#p50", "#p99", "#max"], body, { className: "histograms" });
	made.append(make("tfoot", {}, make("tr", {}, make("td", {}), make("td", {}, axis), make("td", { colSpan: 4 }))));
	return make("div.wide", {}, made);
}

const scaledPower = (power) => `${10 ** ((power % 3 + 3) % 3)} ${["ns", "µs", "ms", "s"][Math.floor(power / 3)]}`;

function waits() {
	const titles = {
		handshake: "of those that connected: from the connect call to ESTABLISHED", "queue: accepted": "in the accept queue until a process accepted it",
		"queue: closed": "in the accept queue until it was closed", "queue: pending": "in the accept queue when netline stopped",
	};
	const order = ({ name }) => Object.keys(titles).indexOf(name);
	const rows = [...data.waits].sort((a, b) => order(a) - order(b)).map(({ name, histogram }) => ({ name, title: titles[name] ?? "", histogram }));
	if (!rows.length)
		return empty("waits", "handshakes and accepts", "tcp_connection");
	panel("waits").replaceChildren(histograms(rows, "connection"));
}

/* delays() makes the choices of source and NIC, choose() the histograms of what is chosen. */
function delays() {
	const sources = [...new Set(data.delays.map((each) => each.source))].sort().reverse();
	byId("choices").hidden = !sources.length;
	if (!sources.length) {
		for (const id of ["delays-in", "delays-out"])
			panel(id).replaceChildren(hint("No delay records in this file: run `netline delay_analysis_in delay_analysis_out --summary`."));
		return;
	}
	const fill = (id, choices) => {
		const before = byId(id).value;
		byId(id).replaceChildren(...choices.map(([value, text]) => make("option", { value }, text)));
		if (choices.some(([value]) => value === before))
			byId(id).value = before;
		byId(id).disabled = choices.length < 2;
		byId(id).onchange = choose;
	};
	fill("source", sources.map((source) => [source, source === "summaries" ? "summaries" : "records of packets"]));
	fill("nic", [["", "all NICs"], ...[...new Set(data.delays.map((each) => each.nic))].sort().map((nic) => [nic, nic])]);
	choose();
}

function chosenDelays(direction) {
	const source = byId("source").value, nic = byId("nic").value;
	return Object.entries(STAGES[direction]).flatMap(([stage, title]) => {
		const found = data.delays.filter((each) => each.direction === direction && each.stage === stage && each.source === source && (!nic || each.nic === nic) && each.histogram.count);
		return found.length ? [{ name: stage, title, histogram: added(found.map((each) => each.histogram)) }] : [];
	});
}

function choose() {
	for (const [id, direction] of [["delays-in", "ingress"], ["delays-out", "egress"]]) {
		const rows = chosenDelays(direction);
		panel(id).replaceChildren(rows.length ? histograms(rows, "packet") : hint("No such records of this choice."));
	}
}

function added(list) {
	const sum = (get) => list.reduce((all, each) => all + get(each), 0);
	return { buckets: list[0].buckets.map((_, i) => sum((each) => each.buckets[i])), count: sum((each) => each.count), max: Math.max(...list.map((each) => each.max)) };
}

function losses() {
	panel("losses").replaceChildren();
	if (data.losses.length)
		counts("losses", "Losses", data.losses, "lost", () => {});
	else
		panel("losses").append(hint(data.status.length ? "Nothing was lost." : "No losses are told in this file."));
	if (data.lost.length)
		panel("losses").append(make("div.wide", {}, table(["lost in", "reason", "of", "#lost"],
			data.lost.map(({ stage, output, reason, dataset, count: n }) => [output ? `${stage} ${output}` : stage, reason, dataset.replace("netline.", ""), count(n)]))));
	const missing = data.datasets.filter((each) => each.missing);
	if (missing.length)
		panel("losses").append(hint(`Missing between the sequence numbers that are there: ${missing.map((each) => `${count(each.missing)} ${each.name}`).join(", ")}.`));
}

/* The last counters of each probe and output; those that do not add up come first. */
function accounts() {
	const name = (each) => make("span", {}, each.name, make("small", {}, data.runs.length > 1 ? `run ${each.run.slice(0, 6)}` : ""));
	const account = (scope, heads, names) => {
		const sums = (each) => each[names[0]] === names.slice(1).reduce((sum, part) => sum + each[part], 0);
		const found = data.status.filter((each) => each.scope === scope).sort((a, b) => sums(a) - sums(b) || b.time - a.time);
		const made = table([scope, ...heads, ""], found.slice(0, MOST_ROWS).map((each) =>
			[name(each), ...names.map((part) => count(each[part])), sums(each) ? "✓" : make("strong.bad", {}, "does not add up")]));
		return !found.length ? [] : [make("div.wide", {}, made), ...found.length > MOST_ROWS ? [hint(`and ${found.length - MOST_ROWS} more, of before`)] : []];
	};
	const made = [...account("probe", ["#produced", "#= emitted", "#+ filtered", "#+ lost"], ["produced", "emitted", "filtered", "lost"]),
		...account("output", ["#emitted", "#= delivered", "#+ queued", "#+ lost"], ["given", "delivered", "queued", "undelivered"])];
	panel("accounts").replaceChildren(...made.length ? made : [hint("No agent_status records in this file: files and sockets have them, stdout with `netline -o stdout,agent=yes`.")]);
}

function overview() {
	const fact = (name, value, more = "", bad = false) => make(`div.fact${bad ? ".bad" : ""}`, {}, make("dt", {}, name), make("dd", {}, value, make("small", {}, more)));
	const { read, unreadable, foreign, incomplete } = data.lines;
	const records = data.datasets.reduce((sum, each) => sum + each.records, 0), lost = data.losses.reduce((sum, each) => sum + each.total, 0);
	const some = (list, none) => list.length > 2 ? `${list[0]} and ${list.length - 1} more` : list.join(", ") || none;
	byId("facts").replaceChildren(...!records ? [] : [
		fact("Host", some(data.hosts, "none"), data.kernels.length ? `Linux ${some(data.kernels, "")}` : ""),
		fact("netline", some(data.versions, "not told"), plural(data.runs.length, "run")),
		fact("From", clock(data.first).time, `${clock(data.first).day}, ${zone()}`),
		fact("To", clock(data.last).time, `${clock(data.last).day}, ${span(data.last - data.first)} in all`),
		fact("Records", count(records), plural(read + unreadable, "line")),
		fact("Not read", count(unreadable + foreign + incomplete), unreadable + foreign + incomplete ? "see below" : "every line is a record", unreadable + foreign + incomplete > 0),
		fact("Lost", count(lost), data.losses.length ? some(data.losses.map((each) => each.name), "") : "by agent_lost", lost > 0),
	]);
	const notes = [
		[unreadable, `${plural(unreadable, "line is", "lines are")} not JSON.`],
		[foreign, `${plural(foreign, "line is", "lines are")} JSON, but no netline ${foreign === 1 ? "record" : "records"}.`],
		[incomplete, `${plural(incomplete, "record lacks", "records lack")} fields that this page needs.`],
		...data.files.map(({ name, torn }) => [torn, `The last line of ${name} is cut: netline was writing it, or was killed. All before it is here.`]),
		...data.files.map(({ name, failed }) => [failed, `${name} could not be read to its end (${failed}): what was read until there is here. If it is being written, open a copy.`]),
		[data.files.every((file) => file.bytes === 0), "The file is empty."],
		[data.inexact, "Some numbers are above 2^53: they are rounded."],
		[data.schemas.some((version) => version !== 1), `Records of schema version ${some(data.schemas, "")}: this page knows version 1.`],
		[data.datasets.some((each) => each.twice), "There are records twice: the same file was opened twice, or its copy."],
		...data.datasets.map(({ name, known, records: n }) => [!known, `${plural(n, "record")} of ${name}: this page does not know it.`]),
	].filter(([condition]) => condition).map(([, text]) => make("li", {}, text));
	byId("notes").replaceChildren(...notes);
	byId("files").textContent = data.files.map(({ name, bytes: size }) => `${name} (${bytes(size)})`).join(", ");
	const way = (dataset) => {
		const found = data.probes.filter(({ probe }) => probe === dataset || (dataset === "delay_analysis_summary" && probe.startsWith("delay_analysis")));
		return [...new Set(found.map((each) => each.action === "probe-unavailable" ? `unavailable: ${each.reason}` : each.way ?? ""))].join(", ");
	};
	panel("records").replaceChildren(make("div.wide", {}, table(["record", "#records", "#missing", "attached by"], [...data.datasets].sort((a, b) => b.records - a.records)
		.map(({ name, records: n, missing }) => [name.replace("netline.", ""), count(n), count(missing), way(name.replace("netline.", ""))]))));
}

function tip(event, text) {
	const element = byId("tip");
	element.hidden = !event;
	if (!event)
		return;
	element.textContent = text;
	element.style.left = `${Math.min(event.clientX + 12, innerWidth - element.offsetWidth - 8)}px`;
	element.style.top = `${event.clientY + 16}px`;
}
