// SPDX-License-Identifier: BSD-2-Clause
/* Files in, panels out. */
let worker = null;

function open(files) {
	worker?.terminate(); // of files that were opened before
	const url = URL.createObjectURL(new Blob([byId("worker").textContent], { type: "text/javascript" }));
	worker = new Worker(url);
	URL.revokeObjectURL(url);
	document.body.dataset.state = "loading";
	byId("status").textContent = `Reading ${files.map((file) => file.name).join(", ")}`;
	byId("progress").value = 0;
	worker.onmessage = ({ data: message }) => {
		if (message.result) {
			worker.terminate();
			worker = null;
			data = message.result;
			view.to = view.from = 0;
			document.body.dataset.state = data.datasets.length ? "report" : "none";
			show();
		} else {
			byId("progress").value = message.progress;
			byId("status").textContent = `${count(message.records)} records`;
		}
	};
	worker.onerror = (event) => {
		document.body.dataset.state = "start";
		byId("problem").textContent = `The page could not read this: ${event.message}`;
	};
	byId("problem").textContent = "";
	worker.postMessage(files);
}

/* Everything of `data`, where there is some; again when time zone or colors change. */
function show() {
	const { from, to } = view;
	if (!data)
		return;
	charts.splice(0).forEach((chart) => chart.chart.destroy());
	overview();
	if (document.body.dataset.state !== "report")
		return;
	for (const fill of [throughput, connections, processes, waits, delays, losses, accounts])
		fill();
	if (from >= data.first && to <= data.last && to > from)
		zoom(from, to);
	else
		zoomOut();
}

byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({ target }) => {
	if (target.files.length)
		open([...target.files]);
	target.value = ""; // the same file may be chosen again
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
	event.preventDefault();
	if (event.dataTransfer.files.length)
		open([...event.dataTransfer.files]);
});
byId("whole").addEventListener("click", zoomOut);
for (const [id, utc] of [["local", false], ["utc", true]])
	byId(id).addEventListener("click", () => {
		view.utc = utc;
		byId("local").setAttribute("aria-pressed", String(!utc));
		byId("utc").setAttribute("aria-pressed", String(utc));
		show();
	});
byId("local").title = zone();
new ResizeObserver(() => charts.forEach((chart) => chart.resize())).observe(byId("report"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
for (const [event, theme] of [["beforeprint", "print"], ["afterprint", ""]]) // charts have colors and width from the screen
	addEventListener(event, () => {
		document.documentElement.dataset.theme = theme;
		show();
	});
