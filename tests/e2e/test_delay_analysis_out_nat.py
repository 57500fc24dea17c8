# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out behind NAT on the own host: both what TCP has sent and what leaves is told, the latter as the capture has it."""
import pytest

from connections import plain
from delays import nft
from delays_out import assert_packets, assert_same, flow_of, in_namespace, link, loopback, of_packets, out_agent, told_of
from transfers import Talk

pytestmark = pytest.mark.any_way

SIDES = {  # family: (client, its other address, server, an address of nobody)
    "ip": ("10.77.0.1", "10.77.0.9", "10.77.0.2", "10.99.0.1"),
    "ip6": ("fd77::1", "fd77::9", "fd77::2", "fd99::1"),
}
DIALLED, LEAVING = 8080, 61022
# What nft does with connections to the dialled port, and what leaves instead: (source, destination) of the client's packets, None: as TCP has it.
CASES = {
    "snat": (["post tcp dport {port} snat to {other}:{leaving}"], "other", None),
    "masquerade": (["post tcp dport {port} masquerade to :{leaving}"], "client", None),
    "dnat": (["out tcp dport 8080 dnat to {server}:{port}"], None, "server"),
    "both": (["out tcp dport 8080 dnat to {server}:{port}", "post tcp dport {port} snat to {other}:{leaving}"], "other", "server"),
}


def bracketed(ip):
    return f"[{ip}]" if ":" in ip else ip


def translate(ns, family, rules, **words):
    words = {name: bracketed(word) if isinstance(word, str) else word for name, word in words.items()}
    nft(ns, f"add table {family} n", f"add chain {family} n out {{ type nat hook output priority -100; }}",
        f"add chain {family} n post {{ type nat hook postrouting priority 100; }}",
        *(f"add rule {family} n {rule.format(leaving=LEAVING, **words)}" for rule in rules))


def as_it_left(record):
    """Like told_of(), with the addresses that are on the wire."""
    source, destination = (record[side].get("nat", record[side]) for side in ("source", "destination"))
    return source["ip"], source["port"], destination["ip"], destination["port"], *told_of(record)[4:]


def assert_nat(found, side, expected):
    """expected: (address, port), or None: there is none."""
    for record in found:
        assert record[side].get("nat") == (expected and {"ip": expected[0], "port": expected[1]}), record


def assert_left(records, found, packets):
    """The capture has these packets, with their addresses when they left."""
    counted = assert_same(records, map(as_it_left, found), of_packets(packets))
    assert counted["filtered"] == 0


def give_addresses(lab, client, other, nobody):
    """The other address is for NAT alone; to nobody's address there is a route."""
    width, deprecated = (128, ["nodad", "preferred_lft", 0]) if ":" in other else (32, [])
    lab.here.run(["ip", "addr", "add", f"{other}/{width}", "dev", "eth0", *deprecated])
    lab.here.run(["ip", "route", "add", nobody, "dev", "eth0", "src", client])


@pytest.mark.parametrize("family", SIDES)
@pytest.mark.parametrize("case", CASES)
def test_nat(case, family, tmp_path):
    """One connection that is translated, and before it one that is not."""
    client, other, server, nobody = SIDES[family]
    rules, source, destination = CASES[case]
    with link(tmp_path) as lab, out_agent(ns=lab.here) as agent:
        give_addresses(lab, client, other, nobody)
        listener, port = lab.server.listen(6)
        Talk(lab.client, lab.server, listener, server, port).move(10, 10).finish()
        translate(lab.here, family, rules, other=other, server=server, port=port)
        dialled = (nobody, DIALLED) if destination else (server, port)
        talk = Talk(lab.client, lab.server, listener, *dialled).move(30_000, 100)
        talk.finish()
        packets, _ = lab.all_packets()
        found, records = lab.finish(agent)
        assert_left(records, found, [p for p in packets if p.sport != port])
        own = (client, talk.connected.local_port, *dialled)
        leaving = {"other": (other, LEAVING), "client": (client, LEAVING), None: None}[source]
        translated, untouched = ([r for r in found if (flow_of(r) == own) == wanted] for wanted in (True, False))
        assert translated and untouched
        assert_nat(translated, "source", leaving)
        assert_nat(translated, "destination", (server, port) if destination else None)
        for side in ("source", "destination"):
            assert_nat(untouched, side, None)
        assert (plain(talk.accepted.remote), talk.accepted.remote_port) == (leaving or own[:2])


@pytest.mark.parametrize("family, ip", [("ip", "127.0.0.1"), ("ip6", "::1"), ("ip", "::ffff:127.0.0.1")])
def test_redirect(family, ip, tmp_path):
    """On loopback this host answers as well: from its own port, and the answer leaves from the one that was dialled."""
    with loopback(tmp_path) as lab, out_agent(ns=lab.ns) as agent:
        listener, port = lab.server.listen(6)
        translate(lab.ns, family, ["out tcp dport 8080 redirect to :{port}"], port=port)
        talk = Talk(lab.client, lab.server, listener, ip, DIALLED).move(100, 20_000)
        talk.finish()
        packets = lab.all_packets()
        found, records = lab.finish(agent)
        assert_left(records, found, packets)
        assert_packets(found, 0, 1 << 63, "lo")
        sent, answered = ([r for r in found if r["source"]["port"] == each] for each in (talk.connected.local_port, port))
        assert len(sent) + len(answered) == len(found) and sent and answered
        assert {flow_of(r)[3] for r in sent} == {DIALLED}
        assert_nat(sent, "source", None)
        assert_nat(sent, "destination", (plain(ip), port))
        assert_nat(answered, "source", (plain(ip), DIALLED))
        assert_nat(answered, "destination", None)
