# SPDX-License-Identifier: BSD-2-Clause
"""Holds tcp_connection records against what the traffic programs say that they did."""
import calendar
import collections
import time

from harness import KERNEL, PREEMPTS_TRACEPOINTS, Agent, events, of_dataset

# Programs can make a socket's cookie since 5.12; before, a record has the one that somebody has asked for.
MAKES_COOKIES = KERNEL >= (5, 12)
CLOCK_TOLERANCE = 1_000_000  # ns between netline's idea of UTC and the program's


def tcp_agent(*args, **kw):
    return Agent(*args, "tcp_connection", **kw)


def plain(ip):
    """As records print it: v4-mapped addresses are IPv4."""
    return ip.removeprefix("::ffff:")


def timestamp(record):
    """@timestamp in ns."""
    text = record["@timestamp"]
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(text[20:29])


def addresses(record):
    """(source, port, destination, port)."""
    source, destination = record["source"], record["destination"]
    return source["ip"], source["port"], destination["ip"], destination["port"]


def addresses_of(answer):
    """The same of what a program says about a connect or an accept that succeeded."""
    local, remote = (plain(answer.local), answer.local_port), (plain(answer.remote), answer.remote_port)
    return (*remote, *local) if answer.op == "accept" else (*local, *remote)


def in_namespace(records, ns, action=None):
    """The tcp_connection records of a namespace; action is connect or accept. Others on this machine may connect as well."""
    return [r for r in of_dataset(records, "tcp_connection") if r["netline"]["socket"]["netns"] == str(ns.inum)
            and action in (None, r["event"]["action"].removeprefix("tcp-"))]


def by_cookie(records, ns, answer):
    return [r for r in in_namespace(records, ns) if r["netline"]["socket"].get("cookie") == answer.cookie]


def wait_for_cookie(agent, ns, answer, n=1):
    """Waits for n records of the socket; returns the last of them."""
    return agent.wait_for(lambda records: len(found := by_cookie(records, ns, answer)) >= n and found)[-1]


def wait_for_accept(agent, ns, connected, n=1):
    """Waits for n accept records of the connection that the answer to a connect tells of; returns the last of them."""
    def found(records):
        return [r for r in in_namespace(records, ns, "accept") if addresses(r) == addresses_of(connected)]

    return agent.wait_for(lambda records: len(found(records)) >= n and found(records))[-1]


def assert_within(value, low, high, tolerance=CLOCK_TOLERANCE):
    assert low - tolerance <= value <= high + tolerance, f"{value} is {low - value} below {low} or {value - high} above {high}"


def assert_owner(record, pid, name, tid=None, thread_name=None):
    expected = {"pid": pid, "name": name, "thread": {"id": tid or pid, "name": thread_name or name}}
    assert record["process"] == expected, f"expected {expected}: {record}"


def assert_envelope(record, action, role, ip):
    """What follows from the side and the address alone."""
    assert record["event"]["action"] == f"tcp-{action}"
    assert record["netline"]["role"] == role
    assert record["network"] == {"type": "ipv6" if ":" in plain(ip) else "ipv4", "transport": "tcp",
                                 "direction": "egress" if role == "client" else "ingress"}


def assert_connected(record, answer, pid, name):
    """A connect that succeeded, against the program's answer."""
    assert_envelope(record, "connect", "client", answer.remote)
    assert record["event"]["outcome"] == "success" and "reason" not in record["event"]
    assert addresses(record) == addresses_of(answer)
    assert_owner(record, pid, name, answer.tid, answer.thread_name)
    assert_within(timestamp(record), answer.start_real, answer.end_real)
    assert 0 < record["event"]["duration"] <= answer.end - answer.start
    assert "srtt_ns" not in record["netline"] and "accept" not in record["netline"]
    assert_cookie(record, answer)


def assert_accepted(record, answer, pid, name, connected=None, thread=True):
    """An accept that succeeded, against the answer; `connected` is the client's. thread=False: any of the process's threads."""
    assert_envelope(record, "accept", "server", answer.remote)
    assert record["event"]["outcome"] == "success" and "reason" not in record["event"] and "duration" not in record["event"]
    assert addresses(record) == addresses_of(answer)
    if thread:
        assert_owner(record, pid, name, answer.tid, answer.thread_name)
    else:
        assert (record["process"]["pid"], record["process"]["name"]) == (pid, name)
    assert record["netline"]["accept"]["state"] == "accepted"
    assert record["netline"]["srtt_ns"] == answer.rtt_us * 1000 > 0
    assert_cookie(record, answer)
    returned = timestamp(record) + record["netline"]["accept"]["wait_ns"]
    assert_within(returned, answer.start_real, answer.end_real)
    if connected:
        assert_within(timestamp(record), connected.start_real, answer.end_real)
        assert record["netline"]["accept"]["wait_ns"] <= answer.end - connected.start


def each_with_its_answer(records, connects, accepts):
    """
    (record, answer, answer of the connecting side) of each record. Addresses tell which belong together; ports may be used again, then it is
    the socket's cookie, or else the order. Each connection has an answer of both sides, but may have no record.
    """
    answers = collections.defaultdict(list)
    for kind in (connects, accepts):
        for answer in sorted(kind, key=lambda answer: answer.start):
            answers[f"tcp-{answer.op}", addresses_of(answer)].append(answer)
    taken = collections.defaultdict(set)
    for record in sorted(records, key=timestamp):
        key, cookie = (record["event"]["action"], addresses(record)), record["netline"]["socket"].get("cookie")
        left = [n for n, answer in enumerate(answers[key]) if n not in taken[key] and cookie in (None, answer.cookie)]
        assert left, f"a record that no program knows of: {record}"
        taken[key].add(left[0])
        yield record, answers[key][left[0]], answers["tcp-connect", addresses(record)][left[0]]


def assert_each_told_once(records, ns, connects, accepts):
    """
    The namespace's records of a run are those of these connections, one a side, each as the programs tell it. Where tracepoints are
    preempted some may be missing, but no more than were counted as lost, and some accepts have no process: in the way tracepoint, and a
    few by kprobe (the kernel skips those while any task is preempted in a call of bpf(2)).
    """
    found = in_namespace(records, ns)
    lost = events(records, "tcp_connection")["lost"]
    missing = len(connects) + len(accepts) - len(found)
    assert 0 <= missing <= lost and (PREEMPTS_TRACEPOINTS or lost == 0)
    assert lost <= len(connects) / 5, "stand-ins leave few"
    unseen = 0
    for record, answer, connected in each_with_its_answer(found, connects, accepts):
        if answer is connected:
            assert_connected(record, answer, answer.pid, answer.process_name)
        elif "process" in record:
            assert_accepted(record, answer, answer.pid, answer.process_name, connected)
        else:
            unseen += 1
            assert record["netline"]["accept"] == {"state": "accepted"}
    share = {"tracepoint": 1 / 5, "kprobe": 1 / 20, "fentry": 0}[way_and_hooks(records)[0]]
    assert unseen <= (len(accepts) * share if PREEMPTS_TRACEPOINTS else 0)


def assert_failed(record, answer, reason, pid, name):
    """A connect that failed; the program's answer tells no addresses any more."""
    assert record["event"]["action"] == "tcp-connect" and record["netline"]["role"] == "client"
    assert (record["event"]["outcome"], record["event"]["reason"]) == ("failure", reason)
    assert_owner(record, pid, name, answer.tid, answer.thread_name)
    assert_cookie(record, answer)
    assert record["event"]["duration"] > 0


def assert_cookie(record, answer):
    cookie = record["netline"]["socket"].get("cookie")
    assert cookie == answer.cookie or (cookie is None and not MAKES_COOKIES)


def link_to_nowhere(ns):
    """A link on which nobody answers: 10.78.0.0/24 and fd78::/64. Neighbours .2 and ::2 seem to be there, all others do not."""
    ns.run(["ip", "link", "add", "hole", "type", "veth", "peer", "name", "far"])
    for name in ("hole", "far"):
        ns.sysctl(f"net.ipv6.conf.{name}.accept_dad", 0)
        ns.run(["ip", "link", "set", name, "up"])
    for address, neighbour in (("10.78.0.1/24", "10.78.0.2"), ("fd78::1/64", "fd78::2")):
        ns.run(["ip", "addr", "add", address, "dev", "hole", *(["nodad"] if ":" in address else [])])
        ns.run(["ip", "neigh", "add", neighbour, "lladdr", "02:00:00:00:00:99", "dev", "hole", "nud", "permanent"])
    for version in ("ipv4", "ipv6"):  # others fail soon
        ns.sysctl(f"net.{version}.neigh.hole.retrans_time_ms", 20)


def way_and_hooks(records):
    probe = next(r for r in of_dataset(records, "agent_probe") if r["netline"]["probe"]["name"] == "tcp_connection")["netline"]["probe"]
    return probe["way"], probe["hooks"]


