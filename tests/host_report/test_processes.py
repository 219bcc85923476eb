# SPDX-License-Identifier: BSD-3-Clause
"""Other processes: found by command line and memory on a machine made of files, and a real one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

from pollmode.eal.runtime import LOCK
from pollmode.host_report import Host, Verdict
from pollmode.host_report.processes import Running, running
from pollmode.host_report.testing import FakeHost


def test_programs_are_known_by_their_command_line(host: FakeHost) -> None:
    host.add_process(10, "/usr/bin/bash", "-c", "dpdk-testpmd")
    host.add_process(11, "/usr/bin/dpdk-testpmd", "-l", "0", "--file-prefix", "vnf")
    host.add_process(12, "/usr/bin/python3", "/opt/bin/testpmd", "--demo")
    host.add_process(13, "python3.11", "-m", "pollmode.l2fwd", "--file-prefix=two")
    host.add_process(14, "python3", "/usr/bin/dpdk-telemetry.py")
    host.add_process(15, "/usr/bin/python3", "/opt/bin/doctor")
    host.add_process(16, "vim", "testpmd")
    assert running(host) == [
        Running(11, "dpdk-testpmd", "vnf"),
        Running(12, "testpmd", "rte"),
        Running(13, "l2fwd", "two"),
    ]


def test_programs_of_users_are_known_by_their_memory(host: FakeHost) -> None:
    host.add_process(20, "python3", "mine.py", memory="/memfd:pollmode-edge (deleted)")
    host.add_process(21, "python3", "other.py", memory="/memfd:jit (deleted)")
    assert running(host) == [Running(20, "python3", "edge")]


def test_this_process_is_no_other(host: FakeHost) -> None:
    host.remove("/proc/self")
    host.add_process(30, "python3", "mine.py", memory="/memfd:pollmode-edge (deleted)")
    host.link_to("/proc/self", "30")
    assert running(host) == []


def test_others_are_told_and_are_well(host: FakeHost, look) -> None:
    host.add_process(11, "dpdk-testpmd", "--file-prefix", "vnf")
    assert look("processes")[0].verdict is Verdict.GREEN
    assert look("processes")[0].text == "dpdk-testpmd (pid 11, prefix vnf)"


def test_the_default_prefix_is_taken(host: FakeHost, only) -> None:
    host.add_process(12, "python3", "/opt/bin/testpmd")
    host.write(f"{host.runtime_base}/rte/{LOCK}", 12)
    with open(host.at(f"{host.runtime_base}/rte/{LOCK}")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert only("processes").text == "the default file prefix is taken: testpmd (pid 12, prefix rte)"
        assert only("processes").mend == "testpmd --file-prefix second ..."


def test_a_real_process_is_found_by_its_memory() -> None:
    prefix = f"doctor{os.getpid()}"
    code = f"import os, sys\nheld = os.memfd_create('pollmode-{prefix}')\nprint('up', flush=True)\nsys.stdin.read()\n"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert process.pid in [each.pid for each in running(Host()) if each.prefix == prefix]
