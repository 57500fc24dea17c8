# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_in: packets that come to IP without a hand-over that a hook sees, on a host that passes others on."""
from delays_in import delays_agent, echo, finish, joined, listen, pass_on, tcp_socket, to_port
from harness import Namespace
from inerrs import lab

TURNS = 50


def ipvlan(there):
    """Joins the lab's namespaces by it as well: 10.80.0.1 here, 10.80.0.2 there."""
    there.there.run(["ip", "link", "add", "low0", "type", "dummy"])
    there.there.run(["ip", "link", "set", "low0", "up"])
    for name, ns, address in (("iv0", there.here, "10.80.0.1"), ("iv1", there.there, "10.80.0.2")):
        there.there.run(["ip", "link", "add", name, "link", "low0", "type", "ipvlan", "mode", "l2"])
        if ns is not there.there:
            there.there.run(["ip", "link", "set", name, "netns", ns.name])
        ns.run(["ip", "addr", "add", f"{address}/24", "dev", name])
        ns.run(["ip", "link", "set", name, "up"])


def test_ipvlan():
    """dev_forward_skb() hands its packets on: there is no time in MAC, and not that of a packet with the same skb that was passed on before."""
    with lab("10.77.0.2", True) as there, Namespace() as beyond, delays_agent(ns=there.there) as agent:
        pass_on(there, beyond)
        ipvlan(there)
        with listen(beyond, "10.79.0.2") as listener, tcp_socket(there.here, "10.79.0.2") as client, joined(there, "10.80.0.2") as pair:
            client.connect(listener.getsockname())
            with listener.accept()[0] as server:
                for _ in range(TURNS):
                    echo(client, server, 1)
                    echo(*pair, 1)
        found, _ = finish(agent, there)
    found = to_port(found, there.port)
    assert len(found) >= TURNS and {r["network"]["interface"]["name"] for r in found} == {"iv1"}
    assert not [r for r in found if "mac_ns" in r["netline"]["delay"]]
