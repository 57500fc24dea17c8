# SPDX-License-Identifier: BSD-2-Clause
"""What netline tells about itself in the stream: agent_probe and agent_status. agent_lost is with the tests of stdout."""
import json
import os
import signal
import subprocess

import pytest

from harness import NETLINE, Agent, assert_loss_equation, of_dataset, wait_until

PROBES = ["nic_throughput", "tcp_connection", "tcp_bytes", "tcp_inerrs"]


def actions(records):
    return [(r["event"]["action"], r["netline"]["probe"]["name"]) for r in of_dataset(records, "agent_probe")]


def statuses(records, scope):
    return [r["netline"] for r in of_dataset(records, "agent_status") if r["netline"]["scope"] == scope]


def test_probes_are_attached_at_the_start_and_detached_at_the_end():
    with Agent("--interval", "0.1") as agent:
        agent.wait_for(lambda records: of_dataset(records, "nic_throughput"))
        records = agent.stop()
    assert actions(records) == [(action, probe) for action in ("probe-attached", "probe-detached") for probe in PROBES]
    assert [r["event"]["dataset"] for r in records[:2]] == 2 * ["netline.agent_probe"], "attached comes before what the probes see"
    by_probe = {probe: [r["netline"]["probe"] for r in of_dataset(records, "agent_probe") if r["netline"]["probe"]["name"] == probe]
                for probe in PROBES}
    for probe, (attached, detached) in by_probe.items():
        assert attached == detached and attached["way"] in ("fentry", "kprobe", "tracepoint"), probe
    assert by_probe["nic_throughput"][0]["way"] == "tracepoint"
    assert by_probe["nic_throughput"][0]["hooks"] == ["net_dev_start_xmit", "netif_receive_skb"]
    assert "inet_sock_set_state" in by_probe["tcp_connection"][0]["hooks"]
    assert {r["host"]["os"]["kernel"] for r in of_dataset(records, "agent_probe")} == {os.uname().release}


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_status_at_the_end(sig):
    with Agent("--interval", "0.1") as agent:
        agent.wait_for(lambda records: len(of_dataset(records, "nic_throughput")) > 10)
        records = agent.stop(sig)
    about_agent, = statuses(records, "agent")
    assert about_agent["agent"]["uptime_ns"] > 10**8 and about_agent["agent"]["cpu_ns"] > 0
    # With a sanitizer, what was freed (the kernel's BTF, once for each probe) stays for a while.
    assert 1 << 20 < about_agent["agent"]["rss_bytes"] < (256 if "sanitize" in NETLINE.parts else 64) << 20
    assert [status["probe"]["name"] for status in statuses(records, "probe")] == PROBES
    assert_loss_equation(records, "nic_throughput")
    assert_loss_equation(records, "tcp_connection")
    about_output, = statuses(records, "output")
    output = about_output["output"]
    assert (output["name"], output["state"], output["lost"]) == ("stdout", "open", 0)
    assert output["emitted"] == output["delivered"] + output["queued"]
    at = next(i for i, r in enumerate(records) if r["netline"] == about_output)
    assert output["emitted"] == at, "all that stands before it was given to the output"
    assert all(r["event"]["dataset"] == "netline.agent_status" for r in records[-4:]), "it is the last that is written"


def test_status_every_ten_seconds():
    with Agent("nic_throughput") as agent:
        records = agent.wait_for(lambda records: statuses(records, "output") and records, timeout=12)
        uptime = statuses(records, "agent")[0]["agent"]["uptime_ns"]
        assert 9.5e9 < uptime < 11.5e9
        agent.stop()


def test_all_records_of_a_run_share_its_identity():
    with Agent("--interval", "0.1", "--host", "web-01", "--label", "env=test", "--label", "team=edge") as agent:
        agent.wait_for(lambda records: of_dataset(records, "nic_throughput"))
        records = agent.stop()
    assert {r["host"]["name"] for r in records} == {"web-01"}
    assert all(r["labels"] == {"env": "test", "team": "edge"} for r in records)
    keys = ["@timestamp", "message", "ecs", "event", "labels", "host", "agent", "network", "source", "destination", "process",
            "container", "netline"]
    for record in records:
        assert list(record) == [key for key in keys if key in record], "the order of keys is part of the contract"


def test_an_unavailable_probe_of_the_default_set_is_told():
    """nic_throughput has no way fentry. tcp_connection runs by it where the kernel allows that; else nothing is left to run."""
    with Agent("--attach", "fentry", ready=False) as agent:
        wait_until(lambda: agent.returncode is not None or "netline: ready" in agent.stderr_text, 15, "netline to be ready or to end")
        assert "netline: nic_throughput cannot attach: it has no way fentry" in agent.stderr_text
        if agent.returncode is not None:
            assert agent.returncode == 3
            assert "netline: tcp_connection cannot attach: fentry: the kernel refuses fentry programs" in agent.stderr_text
            return
        records = agent.stop()
    assert actions(records)[:2] == [("probe-unavailable", "nic_throughput"), ("probe-attached", "tcp_connection")]
    unavailable = of_dataset(records, "agent_probe")[0]
    assert unavailable["event"]["reason"] and set(unavailable["netline"]["probe"]) == {"name"}


def test_without_agent_records_the_stream_has_none():
    with Agent("--interval", "0.1", agent_records=False) as agent:
        agent.wait_for(lambda records: len(of_dataset(records, "nic_throughput")) > 10)
        records = agent.stop()
    assert not [r for r in records if r["event"]["dataset"].startswith("netline.agent_")]


def test_nothing_stays_in_the_kernel():
    with Agent("--interval", "0.1") as agent:
        ids = program_ids(agent.pid)
        assert len(ids) >= 4
        agent.stop()
    wait_until(lambda: not ids & loaded_programs(), 10, f"the programs {ids} to be unloaded")


def program_ids(pid):
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
            found.update(int(line.split()[1]) for line in file if line.startswith("prog_id:"))
    return found


def loaded_programs():
    shown = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, check=True).stdout
    return {program["id"] for program in json.loads(shown)}
