# SPDX-License-Identifier: BSD-2-Clause
"""One run in which everything happens: for ASan, UBSan and valgrind. netline frees all at the end, and aborts if its loop does not close."""
import json
import os
import signal
import socket
import threading

from harness import Namespace, of_dataset, wait_until
from outputs import Files
from puppet import Traffic
from test_reload import Config

ALL = {"nic_throughput": {"interval": 0.1}, "tcp_connection": {}, "tcp_bytes": {"interval": 0.1}, "tcp_inerrs": {},
       "delay_analysis_in": {}, "delay_analysis_out": {"summary": True, "interval": 0.1}}


def read_some(path, times):
    """A reader that comes and goes."""
    for _ in range(times):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert client.recv(100)


def serve(listener, times):
    """A shipper that comes and goes."""
    for _ in range(times):
        with listener.accept()[0] as connection:
            assert connection.recv(100)


def test_everything(tmp_path):
    files = Files(tmp_path)
    outputs = [{"output": f"file:{files.path}", "rotate-size": "64K", "keep": 3, "compress": True}, {"output": f"unix:{tmp_path}/s", "queue": "128K"},
               {"output": f"unix-connect:{tmp_path}/c", "queue": "128K"}]
    config = Config(tmp_path / "c.json", probes=ALL, outputs=outputs, **{"community-id": True})
    old = tmp_path / "netline-20200101-000000.000000Z.jsonl"
    old.write_text(json.dumps({"a": 1}) + "\n")
    with socket.socket(socket.AF_UNIX) as listener, Namespace() as ns, config.agent(ns=ns) as agent:
        listener.bind(f"{tmp_path}/c")
        listener.listen(1)
        listener.settimeout(60)
        others = [threading.Thread(target=read_some, args=(tmp_path / "s", 10)), threading.Thread(target=serve, args=(listener, 4))]
        for thread in others:
            thread.start()
        Traffic(ns, 200, max_bytes=10_000).run()
        changed = {**dict(list(ALL.items())[2:]), "tcp_inerrs": {"duplicates": True}}
        config.reload(agent, probes=changed, outputs=outputs[1:])
        Traffic(ns, 100).run()
        config.reload(agent, probes=changed, outputs=outputs)
        for thread in others:
            thread.join()
        config.path.write_text('{"probes": {"no_such": {}}')
        assert "nothing is changed" in config.hang_up(agent)
        wait_until(lambda: not old.exists(), 60, "an old file to go")
        os.unlink(files.path)
        os.kill(agent.pid, signal.SIGHUP)
        agent.wait_for(lambda records: of_dataset(records, "delay_analysis_summary"), 60)
        records = agent.stop(signal.SIGTERM)
    assert of_dataset(records, "tcp_bytes") and of_dataset(records, "delay_analysis_in")
