// SPDX-License-Identifier: BSD-2-Clause
/* Sums of what the records tell. Its memory is bound by the number of bins, NICs, reasons, process names; not by that of records. */

const MOST_NAMES = 20_000, MOST_PIDS = 1000;

const key = (...parts) => parts.join("\0");
const newHistogram = () => ({ buckets: new Array(BUCKETS).fill(0), count: 0, max: 0 });

function observe(histogram, ns) {
	histogram.buckets[bucketOf(ns)]++;
	histogram.count++;
	histogram.max = Math.max(histogram.max, ns);
}

class Aggregate {
	constructor() {
		this.timeline = new Timeline();
		this.lines = { read: 0, unreadable: 0, foreign: 0, incomplete: 0 };
		this.files = [];
		this.first = Infinity;
		this.last = -Infinity;
		for (const name of ["hosts", "versions", "kernels", "schemas", "runs"])
			this[name] = new Set();
		for (const name of ["datasets", "sequences", "nics", "processes", "delays", "probes", "status", "losses", "connections", "failures", "errors", "lost", "waits"])
			this[name] = new Map();
	}

	/* A parsed line. */
	add(record) {
		const envelope = pick(record, ENVELOPE_PLAN);
		if (!envelope?.dataset.startsWith("netline.")) {
			this.lines.foreign++;
			return;
		}
		const { dataset, time, host, run, sequence } = envelope;
		entry(this.datasets, dataset, () => ({ records: 0, known: PLANS.has(dataset) })).records++;
		remember(this.hosts, host);
		remember(this.runs, run);
		remember(this.schemas, envelope.schema);
		const seen = entry(this.sequences, key(run, dataset), (others) => ({ dataset: others ? OTHERS : dataset, records: 0, first: Infinity, last: 0 }), MOST_NAMES);
		seen.records++;
		seen.first = Math.min(seen.first, sequence);
		seen.last = Math.max(seen.last, sequence);

		this.last = Math.max(this.last, time);
		this.first = Math.min(this.first, time);
		if (!PLANS.has(dataset))
			return;
		const values = pick(record, PLANS.get(dataset));
		if (!values) {
			this.lines.incomplete++;
			return;
		}
		this.first = Math.min(this.first, values.start ?? time);
		if (values.version)
			remember(this.versions, values.version);
		this[dataset.slice("netline.".length)](values, time, host, run);
	}

	nic_throughput({ start, direction, bytes, packets, nic, netns, scope }, time, host) {
		if (scope !== "total" || (direction !== "ingress" && direction !== "egress"))
			return;
		const side = () => ({ bytes: 0, packets: 0, series: this.timeline.make() });
		const found = entry(this.nics, key(host, netns, nic), (others) => ({ host, netns, nic: others ? OTHERS : nic, ingress: side(), egress: side() }))[direction];
		found.bytes += bytes;
		found.packets += packets;
		this.timeline.spread(found.series, start, time, bytes);
	}

	tcp_connection({ action, outcome, reason, duration, state, wait }, time) {
		const connects = action === "tcp-connect";
		if (outcome === "success") {
			this.count(this.connections, connects ? "connected" : "accepted", time, 1);
			if (connects && duration !== undefined)
				this.measure(this.waits, "handshake", duration);
		} else {
			this.count(this.failures, reason ?? "unknown", time, 1);
		}
		if (wait !== undefined)
			this.measure(this.waits, `queue: ${state ?? "unknown"}`, wait);
	}

	tcp_bytes({ pid, name, sent, received, again }, time, host) {
		const found = entry(this.processes, name === undefined ? key(host) : key(host, name),
			(others) => ({ host, name: others ? OTHERS : name, pids: new Set(), sent: 0, received: 0, again: 0 }), MOST_NAMES);
		if (pid !== undefined && found.pids.size < MOST_PIDS)
			found.pids.add(pid);
		found.sent += sent;
		found.received += received;
		found.again += again;
	}

	tcp_inerrs({ reason, packets }, time) {
		this.count(this.errors, reason, time, packets);
	}

	/* Of the incoming, tcp, protocol, socket_wait and total are of packets that a process has read, as in the summaries. */
	delay_analysis_in({ nic, end, ...stages }) {
		for (const stage of ["mac", "ip", "protocol", "socket_wait", "tcp", "total"])
			if (stages[stage] !== undefined && (end === "read" || stage === "mac" || stage === "ip"))
				observe(this.delay("packets", "ingress", nic ?? "unknown", stage), stages[stage]);
	}

	delay_analysis_out({ nic, ...stages }) {
		for (const stage of ["tcp", "ip", "qdisc", "total"])
			if (stages[stage] !== undefined)
				observe(this.delay("packets", "egress", nic, stage), stages[stage]);
	}

	delay_analysis_summary({ direction, nic, stage, max, values, counts }) {
		const histogram = this.delay("summaries", direction, nic, stage);
		values.forEach((value, i) => {
			histogram.buckets[bucketOf(value)] += counts[i] ?? 0;
			histogram.count += counts[i] ?? 0;
		});
		histogram.max = Math.max(histogram.max, max);
	}

	agent_probe({ kernel, action, probe, way, reason }, time, host, run) {
		remember(this.kernels, kernel);
		const known = entry(this.probes, key(run, probe), () => ({ probe }), MOST_NAMES);
		if (action !== "probe-detached") // every probe is, at the end of its run: what it was before is told
			Object.assign(known, { action, way, reason });
	}

	/* Counters are totals of their run: the last ones hold. */
	agent_status({ scope, ...counters }, time, host, run) {
		const name = scope === "probe" ? counters.probe : scope === "output" ? counters.output : undefined;
		const known = name !== undefined && entry(this.status, key(run, scope, name), () => ({ time: -Infinity }), MOST_NAMES);
		if (known && time >= known.time)
			Object.assign(known, { ...counters, scope, name, host, run, time });
	}

	agent_lost({ stage, reason, dataset, output, count }, time) {
		this.count(this.losses, reason, time, count);
		entry(this.lost, key(stage, reason, dataset, output), () => ({ stage, reason, dataset, output, count: 0 })).count += count;
	}

	count(group, name, time, value) {
		const found = entry(group, name, (others) => ({ name: others ? OTHERS : name, total: 0, series: this.timeline.make() }));
		found.total += value;
		this.timeline.add(found.series, time, value);
	}

	measure(group, name, ns) {
		observe(entry(group, name, newHistogram), ns);
	}

	delay(source, direction, nic, stage) {
		const { histogram } = entry(this.delays, key(source, direction, nic, stage), (others) =>
			({ source, direction, nic: others ? OTHERS : nic, stage, histogram: newHistogram() }), MOST_NAMES);
		return histogram;
	}

	/* All of it as plain objects, series as sorted arrays. */
	result() {
		const { lines, files, first, last } = this;
		const list = (map) => [...map.values()];
		const plain = ({ values, covered }) => {
			const bins = Float64Array.from(values.keys()).sort();
			return { bins, values: bins.map((bin) => values.get(bin)), covered: bins.map((bin) => covered.get(bin) ?? 0) };
		};
		const counted = (group) => list(group).map((each) => ({ ...each, series: plain(each.series) })).sort((a, b) => b.total - a.total);
		const missing = new Map(), twice = new Map();
		for (const { dataset, records, first: from, last: to } of this.sequences.values()) {
			const gap = to - from + 1 - records;
			increase(gap > 0 ? missing : twice, dataset, Math.abs(gap));
		}
		return {
			lines, files, first, last, inexact, width: WIDTHS[this.timeline.level],
			hosts: [...this.hosts], versions: [...this.versions], kernels: [...this.kernels], schemas: [...this.schemas], runs: [...this.runs],
			datasets: [...this.datasets].map(([name, each]) => ({ name, ...each, missing: missing.get(name) ?? 0, twice: twice.get(name) ?? 0 })),
			nics: list(this.nics).map((nic) => ({
				...nic, ingress: { ...nic.ingress, series: plain(nic.ingress.series) }, egress: { ...nic.egress, series: plain(nic.egress.series) },
			})).sort((a, b) => b.ingress.bytes + b.egress.bytes - a.ingress.bytes - a.egress.bytes),
			connections: counted(this.connections), failures: counted(this.failures), errors: counted(this.errors), losses: counted(this.losses),
			processes: list(this.processes).map(({ pids, ...each }) => ({ ...each, pid: [...pids][0], pids: pids.size })).sort((a, b) => b.sent + b.received - a.sent - a.received),
			waits: [...this.waits].map(([name, histogram]) => ({ name, histogram })),
			delays: list(this.delays), probes: list(this.probes), status: list(this.status), lost: list(this.lost),
			fields: [["*", ENVELOPE_PLAN], ...PLANS].map(([dataset, fields]) => ({ dataset, fields })),
		};
	}
}

function remember(set, value) {
	if (set.size < MOST_NAMES)
		set.add(value);
}
