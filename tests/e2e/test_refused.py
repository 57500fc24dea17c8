# SPDX-License-Identifier: BSD-2-Clause
"""Kernels and surroundings in which netline cannot attach: one clear line, and exit status 3. And containers in which it can."""
import ctypes
import json
import os
import struct
import subprocess

import pytest

from connections import assert_connected, in_namespace
from harness import CAN_REFUSE, NETLINE, Agent, Namespace, parse_lines, refusing, wait_until
from puppet import Puppet
from transfers import Talk

CANNOT_ATTACH = 3
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
LIBC = ctypes.CDLL(None, use_errno=True)


def forbid_bpf():
    """A seccomp filter as containers have it: bpf(2) is EPERM. For preexec_fn."""
    load_number, is_equal, answer = 0x20, 0x15, 0x06
    code = struct.pack("<" + "HBBI" * 4, load_number, 0, 0, 0, is_equal, 0, 1, SYS_BPF, answer, 0, 0, 0x00050000 | 1, answer, 0, 0, 0x7fff0000)
    room = ctypes.create_string_buffer(code)
    filter_ = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 4, ctypes.addressof(room)))
    assert not LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0)


def refused(argv, message, **kw):
    """Ends with one line that has the message, also where a probe is named; `netline list` says the same."""
    for args in ([], ["tcp_connection"]):
        done = subprocess.run([*argv, NETLINE, *args], capture_output=True, text=True, timeout=30, check=False, **kw)
        assert (done.returncode, done.stdout) == (CANNOT_ATTACH, ""), done.stderr
        line, = done.stderr.splitlines()
        assert line.startswith("netline: ") and message in line
    listed = subprocess.run([*argv, NETLINE, "list", "--json"], capture_output=True, text=True, timeout=30, check=False, **kw)
    assert listed.returncode == 0
    assert all(message in probe["unavailable"] for probe in json.loads(listed.stdout))


def test_no_btf():
    refused(["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"], "the kernel has no BTF")


needs_refusal = pytest.mark.skipif(not CAN_REFUSE, reason="bpf(2) can only be replaced in a program with shared libraries")


@needs_refusal
def test_kernel_before_5_8():
    """Such kernels are not to be had as packages any more: bpf(2) answers as theirs does."""
    refused([], "the kernel has no BPF ring buffer: it needs Linux 5.8 or newer", env={**os.environ, **refusing("ring")})


@needs_refusal
def test_programs_are_not_run():
    """The table cannot be read then: that is said, and the rest goes on."""
    with Namespace() as ns, Agent("--interval", "0.1", "tcp_connection", "tcp_bytes", ns=ns, env=refusing("run")) as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        talk = Talk(client, server, listener, "127.0.0.1", port).move(10, 20)
        pending = client.connect("127.0.0.1", port)
        wait_until(lambda: "netline: tcp_bytes: cannot read the elements of sockets: Operation not permitted" in agent.stderr_text)
        talk.finish()
        agent.wait_for(talk.is_told)
        records = agent.stop()
        client.close(pending.socket)
        talk.assert_told(records)
    assert "netline: tcp_connection: connections that still wait for accept are not reported" in agent.stderr_text


def test_user_namespace():
    refused(["unshare", "--user", "--map-root-user"], "the kernel refuses BPF here in spite of the capabilities")


def test_seccomp():
    refused([], "the kernel refuses BPF here in spite of the capabilities", preexec_fn=forbid_bpf)


def test_container_without_capabilities():
    """Those that container engines give by default."""
    default = "+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod"
    refused(["setpriv", f"--bounding-set=-all,{default}", "--inh-caps=-all"], "no permission to load BPF programs")


def test_privileged_container():
    """In mount, network and process namespaces of its own it sees the whole machine, and names processes by the machine's numbers."""
    with Namespace() as ns, Namespace() as own:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        argv = ["ip", "netns", "exec", own.name, "unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc",
                NETLINE, "--count", "1", "--pid", str(client.pid), "tcp_connection"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as agent:
            while b"ready" not in (line := agent.stderr.readline()):
                assert line, "netline has ended"
            connected = client.connect("127.0.0.1", port)
            server.accept(listener)
            out, err = agent.communicate(timeout=30)
        assert agent.returncode == 0, err
        record, = in_namespace(parse_lines(out), ns)
        assert_connected(record, connected, client.pid, "client")
