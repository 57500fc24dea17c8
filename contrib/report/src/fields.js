// SPDX-License-Identifier: BSD-2-Clause
/*
 * Every field that the page reads: path and type, "?" where a record may lack it. Nothing else looks into a record, so that
 * a test can hold this list against schema/*.json.
 */
const ENVELOPE = {
	time: "@timestamp time", dataset: "event.dataset text", sequence: "event.sequence number", run: "agent.ephemeral_id text",
	host: "host.name text", schema: "netline.schema number",
};
const FIELDS = {
	nic_throughput: {
		start: "event.start time", direction: "network.direction text", bytes: "network.bytes number", packets: "network.packets number",
		nic: "network.interface.name text", netns: "netline.nic.netns text", scope: "netline.nic.scope text",
	},
	tcp_connection: {
		action: "event.action text", outcome: "event.outcome text", reason: "event.reason text?", duration: "event.duration number?",
		state: "netline.accept.state text?", wait: "netline.accept.wait_ns number?",
	},
	tcp_bytes: {
		start: "event.start time", pid: "process.pid number?", name: "process.name text?",
		sent: "netline.bytes.sent number", received: "netline.bytes.received number", again: "netline.bytes.retransmitted number",
	},
	tcp_inerrs: { reason: "event.reason text", packets: "netline.inerr.count number" },
	delay_analysis_in: {
		nic: "network.interface.name text?", end: "netline.delay.end text", mac: "netline.delay.mac_ns number?", ip: "netline.delay.ip_ns number?",
		protocol: "netline.delay.protocol_ns number?", socket_wait: "netline.delay.socket_wait_ns number?", tcp: "netline.delay.tcp_ns number?",
		total: "event.duration number?",
	},
	delay_analysis_out: {
		nic: "network.interface.name text", tcp: "netline.delay.tcp_ns number?", ip: "netline.delay.ip_ns number?",
		qdisc: "netline.delay.qdisc_ns number?", total: "event.duration number?",
	},
	delay_analysis_summary: {
		start: "event.start time", direction: "network.direction text", nic: "network.interface.name text", stage: "netline.delay.stage text",
		max: "netline.delay.max_ns number", values: "netline.delay.histogram.values numbers", counts: "netline.delay.histogram.counts numbers",
	},
	agent_probe: {
		version: "agent.version text", kernel: "host.os.kernel text", action: "event.action text", probe: "netline.probe.name text",
		way: "netline.probe.way text?", reason: "event.reason text?",
	},
	agent_status: {
		version: "agent.version text", scope: "netline.scope text", probe: "netline.probe.name text?", produced: "netline.events.produced number?",
		emitted: "netline.events.emitted number?", filtered: "netline.events.filtered number?", lost: "netline.events.lost number?",
		output: "netline.output.name text?", state: "netline.output.state text?", given: "netline.output.emitted number?",
		delivered: "netline.output.delivered number?", queued: "netline.output.queued number?", undelivered: "netline.output.lost number?",
	},
	agent_lost: {
		version: "agent.version text", stage: "netline.lost.stage text", reason: "event.reason text", dataset: "netline.lost.dataset text",
		output: "netline.lost.output text?", count: "netline.lost.count number",
	},
};

function plan(fields) {
	return Object.entries(fields).map(([key, field]) => {
		const [path, type] = field.split(" ");
		return { key, path, keys: path[0] === "@" ? [path] : path.split("."), type: type.replace("?", ""), optional: type.endsWith("?") };
	});
}

const ENVELOPE_PLAN = plan(ENVELOPE);
const PLANS = new Map(Object.entries(FIELDS).map(([name, fields]) => [`netline.${name}`, plan(fields)]));

let inexact = false; // a number above 2^53 was met: JSON.parse() has rounded it

function isNumber(value) {
	if (typeof value !== "number" || value < 0)
		return false;
	inexact ||= value > Number.MAX_SAFE_INTEGER;
	return true;
}

/* Seconds since 1970 from RFC 3339 in UTC with nanoseconds, to the microsecond; NaN. */
let knownText, knownSeconds; // most records follow one of the same second
function seconds(text) {
	const whole = text.slice(0, 19);
	if (whole !== knownText) {
		knownSeconds = Date.parse(`${whole}Z`) / 1000;
		knownText = whole;
	}
	return knownSeconds + Number(`0${text.slice(19, -1)}`);
}

const READ = {
	text: (value) => typeof value === "string" ? value : undefined,
	number: (value) => isNumber(value) ? value : undefined,
	numbers: (value) => Array.isArray(value) && value.every(isNumber) ? value : undefined,
	time: (value) => typeof value === "string" ? seconds(value) || undefined : undefined,
};

/* The values of a record, or null if one that it must have is missing or of another type. */
function pick(record, fields) {
	const values = {};
	for (const { key, keys, type, optional } of fields) {
		let value = record;
		for (const name of keys)
			value = value?.[name];
		value = READ[type](value);
		if (value === undefined && !optional)
			return null;
		values[key] = value;
	}
	return values;
}
