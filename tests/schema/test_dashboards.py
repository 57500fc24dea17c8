# SPDX-License-Identifier: BSD-2-Clause
"""contrib/dashboards: what the panels ask for is in the mapping of the data stream that they ask, with a type that the aggregation takes."""
import json
import re
import runpy

import pytest

import contract
from test_schema_elasticsearch import mapped

FOLDER = contract.ROOT / "contrib/dashboards"
GRAFANA = (FOLDER / "grafana-netline.json").read_text()
KIBANA = (FOLDER / "kibana-netline.ndjson").read_text()
GRAFANA_INDEX = "*-netline.*"  # of the data source, as README.md there has it

NUMBERS = {"long", "scaled_float"}
TAKEN = {  # by both products' names
    "date_histogram": {"date_nanos"}, "terms": {"keyword", "ip", "long", "boolean"}, "last_value": {"keyword"},
    **dict.fromkeys(["sum", "avg", "average", "min", "max", "percentiles", "percentile"], NUMBERS | {"histogram"}),
}
NO_FIELD = {"count", "raw_data"}


def values_of(record, field):
    """What a field of the record may be, if that is said."""
    leaf = contract.leaves(contract.schema(record))[field]
    return [leaf["const"]] if "const" in leaf else leaf.get("enum")


def faults_of_query(query, aggregations, others, stream):
    """A query names one dataset; its fields, those of the aggregations (kind, field) and others are in the mapping. Texts."""
    terms = re.findall(r'([@\w.]+): ?("[^"]*"|\S+)', query)
    datasets = [value.strip('"').removeprefix("netline.") for field, value in terms if field == "event.dataset"]
    if len(datasets) != 1 or datasets[0] not in contract.RECORDS:
        return [f"no such dataset: {query}"]
    record, = datasets
    mapping = mapped(contract.component(record)["template"]["mappings"])
    found = [f"{record} has no {field}" for field in [*(field for field, _ in terms), *others] if field not in mapping]
    for field, value in terms:
        known = values_of(record, field) if field in mapping else None
        if known and value.strip('"') not in known:
            found.append(f"{field} of {record} is never {value}")
    for kind, field in aggregations:
        if kind in NO_FIELD:
            continue
        if kind not in TAKEN or field not in mapping:
            found.append(f"{record}: {kind} of {field}")
        elif mapping[field]["type"] not in TAKEN[kind]:
            found.append(f"{kind} of {field}, which is {mapping[field]['type']}")
    patterns = contract.index_template(record)["index_patterns"]
    if not re.fullmatch(re.escape(stream).replace(r"\*", ".*"), patterns[0]):
        found.append(f"{patterns[0]} is not among {stream}")
    if not any(kind not in ("terms", "date_histogram") for kind, _ in aggregations):
        found.append(f"no metric: {query}")
    return found


def faults_of_places(places):
    taken = [(number, x, y) for number, place in enumerate(places)
             for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]
    return ["panels overlap"] if len({cell[1:] for cell in taken}) < len(taken) else []


def grafana_faults(text):
    dashboard = json.loads(text)
    panels, found = dashboard["panels"], []
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    found += [f"no variable {name}" for name in set(re.findall(r"\$\{?(\w+)", text)) - {"__all"} if name not in variables]
    if variables.get("DS_NETLINE", {}).get("query") != "elasticsearch":
        found.append("the data source can be another")
    asked = json.loads(variables["host"]["query"])["field"]
    if len({panel["id"] for panel in panels}) < len(panels):
        found.append("an id twice")
    for panel in panels:
        if not panel["targets"]:
            found.append(f"{panel['title']} has no query")
        for target in panel["targets"]:
            aggregations = [(one["type"], one.get("field")) for one in target["bucketAggs"] + target["metrics"]]
            names = {name for one in panel.get("transformations", []) for name in one["options"]["include"]["names"]}
            found += faults_of_query(target["query"], aggregations, {asked, target["timeField"]} | names, GRAFANA_INDEX)
            metrics = {one["id"] for one in target["metrics"]}
            for bucket in target["bucketAggs"]:
                if bucket["settings"].get("orderBy", "_count") not in metrics | {"_count"}:
                    found.append(f"{panel['title']} is ordered by what is not there")
            if panel["type"] == "timeseries" and ("date_histogram", "@timestamp") not in aggregations:
                found.append(f"{panel['title']} has no time")
        if [panel["datasource"]["uid"]] != list({target["datasource"]["uid"] for target in panel["targets"]}):
            found.append(f"{panel['title']} has another data source")
    return found + faults_of_places([panel["gridPos"] for panel in panels])


def lens_faults(lens, objects):
    """Of one visualization."""
    state = lens["attributes"]["state"]
    (name, layer), = state["datasourceStates"]["formBased"]["layers"].items()
    columns, shown = layer["columns"], state["visualization"]
    found = [] if sorted(layer["columnOrder"]) == sorted(columns) else ["columnOrder"]
    for part in shown.get("layers", [shown]):
        used = {part.get("xAccessor"), part.get("splitAccessor"), *part.get("accessors", []), *(one["columnId"] for one in part.get("columns", []))} - {None}
        if part["layerId"] != name or used != columns.keys():
            found.append(f"{sorted(used)} are shown, of {sorted(columns)}")
    for column in columns.values():
        if column["operationType"] == "terms" and column["params"]["orderBy"].get("columnId", "metric1") not in columns:
            found.append("ordered by what is not there")
        if column["operationType"] == "percentile" and column["params"]["percentile"] not in range(1, 100):
            found.append("no percentile of Lens")
    views = [objects[one["type"], one["id"]] for one in lens["references"] if one["name"] == f"indexpattern-datasource-layer-{name}"]
    if len(views) != 1:
        return found + ["no data view"]
    sorted_by = {column["params"]["sortField"] for column in columns.values() if "sortField" in column["params"]}
    aggregations = [(column["operationType"], column["sourceField"]) for column in columns.values()]
    return found + faults_of_query(state["query"]["query"], aggregations, sorted_by | {views[0]["attributes"]["timeFieldName"]},
                                   views[0]["attributes"]["title"])


def kibana_faults(text):
    listed = [json.loads(line) for line in text.splitlines()]
    objects = {(one["type"], one["id"]): one for one in listed}
    found = [] if len(objects) == len(listed) else ["an id twice"]
    dangling = [ref for one in listed for ref in one["references"] if (ref["type"], ref["id"]) not in objects]
    if dangling:
        return found + [f"dangling: {dangling}"]
    for lens in (one for one in listed if one["type"] == "lens"):
        found += [f"{lens['attributes']['title']}: {fault}" for fault in lens_faults(lens, objects)]
    dashboard, = (one for one in listed if one["type"] == "dashboard")
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    names = [f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels]
    if sorted(names) != sorted(ref["name"] for ref in dashboard["references"]) or len(set(names)) < len(names):
        found.append("panels and references differ")
    shown = {ref["id"] for ref in dashboard["references"]}
    found += [f"{name} is not on the dashboard" for kind, name in objects if kind == "lens" and name not in shown]
    for part in dashboard["attributes"]["optionsJSON"], dashboard["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"]:
        json.loads(part)
    return found + faults_of_places([panel["gridData"] for panel in panels])


def test_fresh():
    """What ./generate would write now."""
    files = runpy.run_path(str(FOLDER / "generate"))["files"]()
    for name, text in files.items():
        assert (FOLDER / name).read_text() == text, f"run contrib/dashboards/generate: {name}"


def test_grafana():
    assert not grafana_faults(GRAFANA)


def test_kibana():
    assert not kibana_faults(KIBANA)


MUTANTS = [
    ("netline.accept.wait_ns", "netline.accept.wait"), ("netline.delay.histogram", "netline.delay.stage"), ("netline.inerr.count", "event.reason"),
    ('\\"ingress\\"', '\\"inbound\\"'), ("netline.tcp_inerrs", "netline.tcp_errors"), ("netline.lost.count", "netline.inerr.count"),
]
OF_GRAFANA = [
    ('"field": "@timestamp"', '"field": "event.start"'), ('"orderBy": "1"', '"orderBy": "9"'), ("${DS_NETLINE}", "${DS_OTHER}"), ('"id": 2,', '"id": 1,'),
    ('"y": 8', '"y": 0'), ("netline.probe.way", "netline.probe.hook"), ("host.name:$host", "host.ip:$host"), ('"type": "sum"', '"type": "total"'),
]
OF_KIBANA = [
    ('"sourceField": "@timestamp"', '"sourceField": "agent.version"'), ("metrics-netline.*", "metrics-other.*"), ('"xAccessor": "time"', '"xAccessor": "x"'),
    ('"type": "index-pattern", "id": "netline-logs", "core', '"type": "index-pattern", "id": "nobody", "core'), ('"percentile": 99', '"percentile": 100'),
    ('\\"panelRefName\\": \\"panel_3\\"', '\\"panelRefName\\": \\"panel_4\\"'), ('"id": "netline-2"', '"id": "netline-1"'), ('"accessors"', '"accessor"'),
]


@pytest.mark.parametrize("good, bad", MUTANTS + OF_GRAFANA)
def test_grafana_mutants(good, bad):
    assert good in GRAFANA and grafana_faults(GRAFANA.replace(good, bad))


@pytest.mark.parametrize("good, bad", MUTANTS + OF_KIBANA)
def test_kibana_mutants(good, bad):
    assert good in KIBANA and kibana_faults(KIBANA.replace(good, bad))
