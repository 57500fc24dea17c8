# SPDX-License-Identifier: BSD-2-Clause
"""SIGHUP reads the configuration file again: what is the same runs on, what is not ends in order and begins anew."""
import json
import os
import signal

import pytest

from harness import SCALE, Namespace, of_dataset, wait_until
from harness import Agent as AnyAgent
from outputs import Files, assert_delivered, lines_of
from puppet import Traffic


class Config:
    """The file, and an agent that reads it. stdout is among the outputs."""

    def __init__(self, path, **content):
        self.path, self._read = path, 0
        self.write(**content)

    def write(self, outputs=(), **content):
        text = json.dumps({"outputs": [{"output": "stdout", "agent": True}, *outputs], "ring-size": "16M", **content})
        self.path.with_suffix(".new").write_text(text)
        os.rename(self.path.with_suffix(".new"), self.path)

    def agent(self, *args, **kw):
        return AnyAgent("--config", self.path, *args, agent_records=False, **kw)

    def reload(self, agent, **content):
        """Until it is read; the mistakes, if there are any."""
        self.write(**content)
        return self.hang_up(agent)

    def hang_up(self, agent):
        before = agent.stderr_text
        os.kill(agent.pid, signal.SIGHUP)
        wait_until(lambda: "read again" in agent.stderr_text[len(before):] or "nothing is changed" in agent.stderr_text[len(before):], 20 * SCALE,
                   lambda: f"the file to be read: {agent.stderr_text}")
        return agent.stderr_text[len(before):]


def probe_events(records):
    return [(r["event"]["action"].removeprefix("probe-"), r["netline"]["probe"]["name"]) for r in of_dataset(records, "agent_probe")]


def last_status(records, probe):
    return [r["netline"]["events"] for r in of_dataset(records, "agent_status") if r["netline"].get("probe", {}).get("name") == probe][-1]


def test_probes(tmp_path):
    """One probe is the same, one changes, one goes, one comes."""
    config = Config(tmp_path / "c.json", probes={"tcp_connection": {"port": 1}, "nic_throughput": {"interval": 0.1}, "tcp_inerrs": {}})
    with Namespace() as ns, config.agent(ns=ns) as agent:
        agent.wait_for(lambda records: of_dataset(records, "nic_throughput"))
        Traffic(ns, 10).run()
        config.reload(agent, probes={"tcp_connection": {}, "nic_throughput": {"interval": 0.1}, "tcp_bytes": {"interval": 0.1}})
        assert not of_dataset(agent.records(), "tcp_connection")
        Traffic(ns, 100, max_bytes=1000).run()
        agent.wait_for(lambda records: len(of_dataset(records, "tcp_connection")) >= 200 and of_dataset(records, "tcp_bytes"))
        records = agent.stop()
    assert sorted(probe_events(records)[:3]) == [("attached", "nic_throughput"), ("attached", "tcp_connection"), ("attached", "tcp_inerrs")]
    changed = probe_events(records)[3:-3]
    assert sorted(changed) == [("attached", "tcp_bytes"), ("attached", "tcp_connection"), ("detached", "tcp_connection"), ("detached", "tcp_inerrs")]
    assert changed.index(("detached", "tcp_connection")) < changed.index(("attached", "tcp_connection"))
    assert [r["netline"]["events"]["filtered"] for r in of_dataset(records, "agent_status") if r["netline"].get("probe", {}).get("name") == "tcp_connection"][0] >= 20
    for probe in ("tcp_connection", "tcp_bytes", "nic_throughput", "tcp_inerrs"):
        counters = last_status(records, probe)
        assert counters["produced"] == counters["emitted"] + counters["filtered"] + counters["lost"]


def test_nothing_is_lost(tmp_path):
    """Hundreds of SIGHUPs under load, with other probes and outputs changing: the probe and the file that stay miss nothing."""
    file = {"output": f"file:{tmp_path}/stays.jsonl", "queue": "64M"}
    stays = {"tcp_connection": {}}
    config = Config(tmp_path / "c.json", probes=stays, outputs=[file])
    rounds = 500 // SCALE**2
    with Namespace() as ns, config.agent() as agent:
        made = 0
        for number in range(rounds):
            if number % 10 == 0:
                config.reload(agent, probes={**stays, **({"nic_throughput": {"nic": ["lo"]}} if number % 20 else {"tcp_bytes": {"port": [number + 1]}})},
                              outputs=[{**file, "rotate-size": (1 << 30) + number}] + ([{"output": f"unix:{tmp_path}/s"}] if number % 30 else []))
            else:
                os.kill(agent.pid, signal.SIGHUP)
            if number % 5 == 0:
                Traffic(ns, 20).run()
                made += 40
        agent.wait_for(lambda records: sum(r["netline"]["socket"]["netns"] == str(ns.inum) for r in of_dataset(records, "tcp_connection")) >= made, 20)
        everything = agent.stop()
        inum = str(ns.inum)
    own = [r for r in of_dataset(everything, "tcp_connection") if r["netline"]["socket"]["netns"] == inum]
    assert len(own) == made
    assert probe_events(everything).count(("attached", "tcp_connection")) == 1
    got = [record for path in sorted(tmp_path.glob("stays*.jsonl")) for record in lines_of(path.read_bytes())]
    assert assert_delivered(sorted(got, key=lambda r: (r["event"]["dataset"], r["event"]["sequence"])), everything, f"file:{tmp_path}/stays.jsonl") == 0


@pytest.mark.parametrize("text, told", [
    ("{", ":1:"), ('{"unheard": 1}', "unheard: no such option"), ('{"probes": {"nic_throughput": {"nic": ["no_such_nic"]}}}', "no_such_nic"),
    ('{"probes": {"tcp_bytes": {"attach": "kprobe"}, "nic_throughput": {"attach": "fentry"}}}', "nic_throughput cannot attach"),
    ('{"outputs": [{"output": "file:/no/such/folder/x"}]}', "/no/such/folder/x: No such file"),
])
def test_refused(tmp_path, text, told):
    """A file that is wrong changes nothing."""
    config = Config(tmp_path / "c.json", probes={"nic_throughput": {"interval": 0.1}})
    with Namespace() as ns, config.agent(ns=ns) as agent:
        config.path.write_text(text)
        message = config.hang_up(agent)
        assert told in message and "nothing is changed" in message
        n = len(agent.records())
        agent.wait_for(lambda records: len(records) > n + 5)
        records = agent.stop()
    assert probe_events(records) == [("attached", "nic_throughput"), ("detached", "nic_throughput")]


def test_outputs(tmp_path):
    """Outputs come and go, and settings of those that stay change in place."""
    config = Config(tmp_path / "c.json", probes={"nic_throughput": {"interval": 0.05}}, outputs=[{"output": f"file:{tmp_path}/a.jsonl"}, {"output": f"unix:{tmp_path}/s"}])
    with Namespace() as ns, config.agent(ns=ns) as agent:
        wait_until(lambda: (tmp_path / "a.jsonl").stat().st_size > 2000, 10, "records")
        config.reload(agent, probes={"nic_throughput": {"interval": 0.05}}, label={"a": "b"}, host="h",
                      outputs=[{"output": f"unix:{tmp_path}/s", "mode": "0600"}, {"output": f"file:{tmp_path}/b.jsonl", "agent": False}])
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
        wait_until(lambda: (tmp_path / "b.jsonl").stat().st_size > 2000, 10, "records")
        wait_until(lambda: not open_files(agent.pid, tmp_path / "a.jsonl"), 10, "the old file to be let go")
        everything = agent.stop()
    old = [record for path in sorted(tmp_path.glob("a*.jsonl")) for record in lines_of(path.read_bytes())]
    new = [record for path in sorted(tmp_path.glob("b*.jsonl")) for record in lines_of(path.read_bytes())]
    assert {r["event"]["dataset"] for r in new} == {"netline.nic_throughput"}
    assert all(r["labels"] == {"a": "b"} and r["host"]["name"] == "h" for r in new)
    assert not any("labels" in r for r in old)
    sequences = [r["event"]["sequence"] for r in of_dataset(old, "nic_throughput") + of_dataset(new, "nic_throughput")]
    assert sequences == list(range(1, len(of_dataset(everything, "nic_throughput")) + 1))


def test_rotate_time(tmp_path):
    """Its periods have other numbers then: no file is rotated but by SIGHUP."""
    files, probes = Files(tmp_path), {"nic_throughput": {"interval": 0.05}}
    config = Config(tmp_path / "c.json", probes=probes, outputs=[{"output": f"file:{files.path}", "rotate-time": "1d"}])
    with Namespace() as ns, config.agent(ns=ns) as agent:
        wait_until(lambda: files.path.stat().st_size > 2000, 10, "records")
        config.reload(agent, probes=probes, outputs=[{"output": f"file:{files.path}", "rotate-time": "2d"}])
        wait_until(lambda: files.rotated() and files.path.stat().st_size > 2000, 10, "records in the new file")
        agent.stop()
    assert len(files.rotated()) == 1


def open_files(pid, path):
    folder = f"/proc/{pid}/fd"
    return [fd for fd in os.listdir(folder) if os.path.realpath(f"{folder}/{fd}") == str(path)]


def test_interval(tmp_path):
    """Only the interval has changed: the probe goes on."""
    config = Config(tmp_path / "c.json", probes={"nic_throughput": {"interval": 3600}})
    with Namespace() as ns, config.agent(ns=ns) as agent:
        config.reload(agent, probes={"nic_throughput": {"interval": 0.05}})
        agent.wait_for(lambda records: len(of_dataset(records, "nic_throughput")) > 10)
        records = agent.stop()
    assert probe_events(records) == [("attached", "nic_throughput"), ("detached", "nic_throughput")]


def test_stop_while_reading(tmp_path):
    """The end comes right after SIGHUP."""
    config = Config(tmp_path / "c.json", probes={"tcp_connection": {}})
    for _ in range(5):
        with config.agent() as agent:
            config.write(probes={"tcp_connection": {"port": 1}, "tcp_inerrs": {}, "tcp_bytes": {}})
            os.kill(agent.pid, signal.SIGHUP)
            agent.stop()
        config.write(probes={"tcp_connection": {}})
