# SPDX-License-Identifier: BSD-2-Clause
"""Moves bytes between puppets, and holds tcp_bytes records against what the programs say that they moved."""
import collections
import re

from connections import CLOCK_TOLERANCE, MAKES_COOKIES, addresses, addresses_of, assert_cookie, assert_owner, assert_within, timestamp
from harness import PREEMPTS_TRACEPOINTS, Agent, assert_loss_equation, of_dataset, wait_until

INTERVAL = "0.05"
Sums = collections.namedtuple("Sums", "sent received")


def bytes_agent(*args, interval=INTERVAL, **kw):
    return Agent("--interval", interval, *args, "tcp_bytes", **kw)


def in_namespace(records, ns):
    """The tcp_bytes records of a namespace. Others on this machine may have connections as well."""
    return [r for r in of_dataset(records, "tcp_bytes") if r["netline"]["socket"]["netns"] == str(ns.inum)]


def role_of(answer):
    return "server" if answer.op == "accept" else "client"


def records_of(records, ns, answer, role=None):
    """Those of the side that the answer to a connect or an accept tells of. Of an unknown role source is the local side."""
    role = role or role_of(answer)
    wanted = addresses_of(answer)
    if role == "unknown" and answer.op == "accept":
        wanted = (*wanted[2:], *wanted[:2])
    return [r for r in in_namespace(records, ns) if r["netline"]["role"] == role and addresses(r) == wanted]


def is_closed(record):
    return record["netline"]["connection"] == "closed"


def sums_of(found):
    told = [r["netline"]["bytes"] for r in found]
    return Sums(sum(b["sent"] for b in told), sum(b["received"] for b in told))


def total_of(found, *path):
    """The sum of a number below netline over these records."""
    total = 0
    for value in (r["netline"] for r in found):
        for name in path:
            value = value[name]
        total += value
    return total


def assert_numbers(record):
    """One record by itself: by sender and by side it tells the same."""
    told, role = record["netline"]["bytes"], record["netline"]["role"]
    sent, received = ("destination", "source") if role == "server" else ("source", "destination")
    assert record["network"]["bytes"] == told["sent"] + told["received"], record
    assert (record[sent]["bytes"], record[received]["bytes"]) == (told["sent"], told["received"]), record
    assert told["sent_total"] >= told["sent"] and told["received_total"] >= told["received"], record
    assert record["network"]["type"] == ("ipv6" if ":" in record["source"]["ip"] else "ipv4"), record
    assert record["network"].get("direction") == {"client": "egress", "server": "ingress", "unknown": None}[role], record
    assert_within(timestamp(record) - start_of(record), record["event"]["duration"], record["event"]["duration"])
    if not is_closed(record):
        assert told["sent"] + told["received"] + told["retransmitted"] > 0, f"no traffic: {record}"


def start_of(record):
    return timestamp({"@timestamp": record["event"]["start"]})


def assert_story(found, before=Sums(0, 0)):
    """
    All records of one side of a connection: totals that add up, and one last record at the most. `before`: netline started. The
    segments of a record's payload may stand in the record before: the kernel counts them first.
    """
    sent, received = before
    for number, record in enumerate(found):
        assert_numbers(record)
        told = record["netline"]["bytes"]
        sent, received = sent + told["sent"], received + told["received"]
        assert (told["sent_total"], told["received_total"]) == (sent, received), f"record {number} of {len(found)}: {record}"
        assert not is_closed(record) or number == len(found) - 1, f"told after its end: {found[number + 1]}"
    for own, total in (("sent", sent - before.sent), ("received", received - before.received)):
        assert not total or total_of(found, "segments", own) > 0, found
    assert [timestamp(r) for r in found] == sorted(timestamp(r) for r in found), found


def assert_side(records, puppet, answer, sent, received, *, role=None, before=Sums(0, 0), thread=True, closed=True):
    """One side of a connection is told exactly, with its owner; returns its records. thread=False: it is older than netline."""
    found = records_of(records, puppet.ns, answer, role)
    assert found, f"no record of {answer}"
    unowned = 0
    owned = 0 if thread and PREEMPTS_TRACEPOINTS else 1  # there the kernel skips a program now and then, that of accept, too
    while answer.op == "accept" and unowned < len(found) - owned and "process" not in found[unowned]:  # data came before it was accepted
        unowned += 1
    first = found[0]["netline"]["bytes"]
    if role == "unknown" and first["sent_total"] - first["sent"] == before.sent + 1:
        before = before._replace(sent=before.sent + 1)  # a SYN, where nothing tells which side sent one
    assert_story(found, before)
    assert sums_of(found) == (sent, received), f"{sums_of(found)} instead of {sent} and {received}: {found}"
    assert is_closed(found[-1]) == closed, found
    for record in found[unowned:]:
        if thread:
            assert_owner(record, puppet.pid, puppet.name, answer.tid, answer.thread_name)
        else:
            assert record["process"] == {"pid": puppet.pid, "name": puppet.name}
        assert_cookie(record, answer)
    return found


def assert_ticks(records):
    """Records of one tick share start and end; intervals follow each other; what has closed lies in the interval that ran then."""
    told = of_dataset(records, "tcp_bytes")
    ticks = sorted({(start_of(r), timestamp(r)) for r in told if not is_closed(r)})
    for (_, end), (start, _) in zip(ticks, ticks[1:]):
        assert end <= start, f"two ticks overlap by {end - start} ns"
    for record in told:
        inside = [end for start, end in ticks if start < start_of(record) < end]
        assert not inside, f"its interval begins within another: {record}"


class Talk:
    """A connection between two puppets, and what was moved over it."""

    def __init__(self, client, server, listener, ip, port, **kw):
        self.client, self.server, self.listener, self.up, self.down = client, server, listener, 0, 0
        self.connected = client.connect(ip, port, **kw)
        assert self.connected.result == 0, self.connected
        self.accepted = server.accept(listener)

    def move(self, up=0, down=0):
        """Both at once; returns when each side has all."""
        self.client.order("transfer", self.connected.socket, up, down)
        served = self.server.do("transfer", self.accepted.fd, down, up)
        answer = self.client.answer()
        assert answer.result == served.result == 0, (answer, served)
        assert (answer.sent, answer.received, served.sent, served.received) == (up, down, down, up)
        self.up, self.down = self.up + up, self.down + down
        return self

    def finish(self, server_first=False, late=False):
        """One side closes, the other reads to the end and closes; `late`: so late that it is TIME_WAIT that answers its FIN."""
        sides = [(self.client, self.connected.socket), (self.server, self.accepted.fd)]
        if server_first:
            sides.reverse()
        sides[0][0].close(sides[0][1])
        assert sides[1][0].must("transfer", sides[1][1], 0, "end").received == 0
        if late:
            wait_until(lambda: ss_lines(sides[0][0].ns, self.connected, server_first, "fin-wait-2"), 10, "the acknowledgement of a FIN")
        sides[1][0].close(sides[1][1])

    def finish_half_closed(self):
        """The client shuts down and keeps its socket until the server has closed: so it is that one, and not TIME_WAIT, that answers the server's FIN."""
        self.client.must("shutdown", self.connected.socket, "write")
        assert self.server.must("transfer", self.accepted.fd, 0, "end").received == 0
        self.server.close(self.accepted.fd)
        assert self.client.must("transfer", self.connected.socket, 0, "end").received == 0
        self.client.close(self.connected.socket)

    def is_told(self, records):
        """Whether both sides have their last record."""
        return all(any(map(is_closed, records_of(records, puppet.ns, answer)))
                   for puppet, answer in ((self.client, self.connected), (self.server, self.accepted)))

    def assert_told(self, records):
        """Both sides; returns their records."""
        return (assert_side(records, self.client, self.connected, self.up, self.down),
                assert_side(records, self.server, self.accepted, self.down, self.up))


def wait_for_ends(agent, *talks):
    agent.wait_for(lambda records: all(talk.is_told(records) for talk in talks), 30)


def wait_for_sums(agent, ns, answer, sent, received, role=None):
    """Waits until the records of this side add up to so much; more of it fails."""
    def told(records):
        sums = sums_of(records_of(records, ns, answer, role))
        assert sums.sent <= sent and sums.received <= received, f"{sums} is more than {sent} and {received}"
        return sums == (sent, received)

    agent.wait_for(told, 30)


def wait_for_no_sockets(ns):
    """Until each has reached CLOSE, as far as the kernel lets them: those in TIME_WAIT have."""
    wait_until(lambda: not ns.run(["ss", "-tnH", "state", "connected", "exclude", "time-wait"]).stdout, 20, "the ends of the connections")


def ss_lines(ns, answer, of_peer=False, state="all"):
    """Of the socket or its peer, if it is in this state."""
    here, there = (answer.remote_port, answer.local_port) if of_peer else (answer.local_port, answer.remote_port)
    return ns.run(["ss", "-tinHO", "state", state, f"sport = :{here} and dport = :{there}"]).stdout.splitlines()


def ss(ns, answer):
    """What ss tells of the socket: {name: number}, with those that it leaves out at 0."""
    lines = ss_lines(ns, answer)
    assert len(lines) == 1, lines
    return collections.Counter({name: int(value) for name, value in re.findall(r"\b([a-z_]+):(\d+)\b", lines[0])})


def assert_as_kernel(agent, puppet, answer, sent, received):
    """When all is acknowledged and told: totals and retransmissions are those of the open socket. A SYN counts in bytes_acked, on the active side."""
    syn = answer.op == "connect"
    shown = wait_until(lambda: (now := ss(puppet.ns, answer))["bytes_acked"] == sent + syn and now["bytes_received"] == received and now,
                       10, "all to be acknowledged")
    wait_for_sums(agent, puppet.ns, answer, sent, received)

    def retransmitted():
        return total_of(records_of(agent.records(), puppet.ns, answer), "bytes", "retransmitted")

    wait_until(lambda: retransmitted() == shown["bytes_retrans"], 10, lambda: f"{retransmitted()} to become {shown['bytes_retrans']}")
    found = records_of(agent.records(), puppet.ns, answer)
    assert_story(found)
    for name, own in (("segs_out", "sent"), ("segs_in", "received")):  # those without payload may stand in a later record
        assert 0 < total_of(found, "segments", own) <= shown[name], (shown, found)
    return shown


def assert_exact(records, ns, answers):
    """
    Every side that has a last record is told exactly, and those without are no more than were counted as lost. Clients' ports are
    used once, so addresses and role tell a side.
    """
    lost = assert_loss_equation(records, "tcp_bytes")["lost"]
    began = {addresses_of(answer): answer.start_real for answer in answers if answer.op == "connect"}
    told = {}
    for record in in_namespace(records, ns):
        told.setdefault((record["netline"]["role"], addresses(record)), []).append(record)
    ended = 0
    for answer in answers:
        found = told.pop((role_of(answer), addresses_of(answer)), [])
        if not found or not is_closed(found[-1]):
            continue
        ended += 1
        assert_story(found)
        assert sums_of(found) == (answer.sent, answer.received), (answer, found)
        assert_owners(found, answer)
        assert timestamp(found[0]) >= began[addresses_of(answer)] - CLOCK_TOLERANCE, "told of a time before it was there"
    assert not told, f"records that no program knows of: {list(told)[:3]}"
    assert len(answers) - ended <= lost, f"{ended} of {len(answers)}, {lost} lost"
    if PREEMPTS_TRACEPOINTS:  # states are lost, of which a connection has some
        assert ended >= len(answers) / 2, f"{ended} of {len(answers)}, {lost} lost"
    else:
        assert lost <= len(answers) / 1000, f"{ended} of {len(answers)}, {lost} lost"


def assert_owners(found, answer):
    """An accepted connection has no owner until accept has returned, which may be after its first records."""
    expected = {"pid": answer.pid, "name": answer.process_name, "thread": {"id": answer.tid, "name": answer.thread_name}}
    owners = [r.get("process") for r in found]
    while answer.op == "accept" and owners[:-1] and owners[0] is None:
        owners.pop(0)
    assert owners == [expected] * len(owners) or (PREEMPTS_TRACEPOINTS and owners == [None]), f"{owners} instead of {expected}"
    if MAKES_COOKIES:
        assert {r["netline"]["socket"]["cookie"] for r in found} == {answer.cookie}, found
