// SPDX-License-Identifier: BSD-2-Clause
/* The worker: reads files, as text or compressed, line by line, and answers with {progress, records}, and in the end with {result}. */
const LONGEST_LINE = 1 << 20; // netline writes no more than 4096 bytes: without an end it is no line

/* Whether the line could be read. */
function take(line, aggregate) {
	let value;
	try {
		value = JSON.parse(line);
	} catch {
		return false;
	}
	aggregate.lines.read++;
	aggregate.add(value);
	return true;
}

async function readFile(file, aggregate, told) {
	const about = { name: file.name, bytes: file.size, torn: false, failed: "" };
	aggregate.files.push(about);
	const failed = (error) => { about.failed = error.message || error.name; };
	const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer().catch(failed));
	let stream = file.stream().pipeThrough(new TransformStream({
		transform(chunk, out) {
			told(chunk.byteLength);
			out.enqueue(chunk);
		},
	}));
	if (first === 0x1f && second === 0x8b)
		stream = stream.pipeThrough(new DecompressionStream("gzip"));
	const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "", endless = false;
	for (;;) {
		const { value, done } = await reader.read().catch(failed) ?? { done: true };
		if (done)
			break;
		const lines = (rest + value).split("\n");
		rest = lines.pop();
		for (const line of lines) {
			if (endless || (line.trim() && !take(line, aggregate)))
				aggregate.lines.unreadable++;
			endless = false;
		}
		if (rest.length > LONGEST_LINE) {
			endless = true;
			rest = "";
		}
	}
	if (endless)
		aggregate.lines.unreadable++;
	else if (rest.trim() && !take(rest, aggregate))
		about.torn = true;
}

onmessage = async ({ data: files }) => {
	const aggregate = new Aggregate(), total = files.reduce((sum, file) => sum + file.size, 0);
	let read = 0, last = 0;
	const told = (bytes) => {
		read += bytes;
		if (performance.now() - last > 50) {
			last = performance.now();
			postMessage({ progress: read / total, records: aggregate.lines.read });
		}
	};
	for (const file of files)
		await readFile(file, aggregate, told);
	postMessage({ result: aggregate.result() });
};
