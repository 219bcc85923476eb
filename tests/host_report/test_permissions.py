# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel lets a process do: each verdict on a machine made of files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pollmode.host_report import Host, Verdict
from pollmode.host_report.permissions import has_capability
from pollmode.host_report.testing import FakeHost


def test_an_ordinary_user_lacks_capabilities(host: FakeHost, only) -> None:
    host.replace("/proc/self/status", "000001ffffffffff", "0000000000000000")
    assert only("capabilities").verdict is Verdict.YELLOW
    assert "net_raw (net_af_packet)" in only("capabilities").text
    assert "--ambient-caps=+net_raw,+net_admin,+ipc_lock,+sys_rawio,+sys_admin " in only("capabilities").mend


def test_only_what_lacks_is_told(host: FakeHost, only) -> None:
    host.replace("/proc/self/status", "000001ffffffffff", "000001ffffffdfff")
    assert only("capabilities").text == "without net_raw (net_af_packet)"
    assert only("capabilities").mend.endswith('--inh-caps=+net_raw --ambient-caps=+net_raw "$(command -v testpmd)" ...')


@pytest.mark.root
def test_the_command_gives_an_ordinary_user_the_capability(tmp_path: Path) -> None:
    """The words that are printed, with another program in the place of testpmd."""
    words = "--reuid 65534 --regid 65534 --clear-groups --inh-caps=+net_raw --ambient-caps=+net_raw"
    shown = subprocess.run(
        ["setpriv", *words.split(), "grep", "CapEff", "/proc/self/status"], capture_output=True, text=True, check=True
    ).stdout
    host = FakeHost(tmp_path)
    host.write("/proc/self/status", shown)
    assert has_capability(host, "net_raw")
    assert not has_capability(host, "sys_admin")


def test_too_little_locked_memory(host: FakeHost, only, look) -> None:
    host.replace("/proc/self/limits", "locked memory         unlimited", "locked memory         8388608  ")
    assert look("memlock")[0].text == "8 MiB, which does not bind this process (ipc_lock)"
    host.replace("/proc/self/status", "000001ffffffffff", "0")
    assert only("memlock").mend == "sudo prlimit --memlock=unlimited --pid $$"
    host.replace("/proc/self/limits", "8388608  ", "134217728")
    assert look("memlock")[0].text == "128 MiB"
    assert look("memlock")[0].verdict is Verdict.GREEN


def test_modules_that_are_not_there(host: FakeHost, look) -> None:
    host.write("/proc/misc", "1 psaux")
    host.remove("/dev/net/tun")
    host.remove("/proc/net/packet")
    said = {finding.mend for finding in look("modules") if finding.verdict is Verdict.YELLOW}
    assert said == {"sudo modprobe vhost_net", "sudo modprobe tun", "sudo modprobe af_packet"}
    host.folder("/sys/module/tun")
    assert look("modules")[0].text == "tun"


def test_the_tun_device(host: FakeHost, only) -> None:
    host.denied.add("/dev/net/tun")
    assert only("tun").mend == "sudo chmod 666 /dev/net/tun"
    host.remove("/dev/net/tun")
    assert only("tun").mend.endswith("sudo mknod -m 666 /dev/net/tun c 10 200")


def test_a_runtime_directory_that_cannot_be_made(host: FakeHost, only, look) -> None:
    assert look("runtime")[0].text == "/run/user/1000/dpdk can be made"
    host.denied.add("/run/user/1000")
    assert only("runtime").verdict is Verdict.RED
    host.folder("/run/user/1000/dpdk")
    assert look("runtime")[0].text == "/run/user/1000/dpdk"
    host.denied.add("/run/user/1000/dpdk")
    assert only("runtime").mend == 'export RUNTIME_DIRECTORY="$(mktemp -d)"'


def test_what_is_red_about_the_runtime_directory_stops_a_start_and_the_command_mends_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = (
        "from pollmode.eal.environment import Environment\n"
        "Environment.start(['--no-huge', '-m', '32', '--file-prefix', 'doctored']).close()\n"
    )
    words = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path / "file")}
    refused = subprocess.run([sys.executable, "-c", code], env=words, capture_output=True, text=True)
    assert "cannot use the runtime directory" in refused.stderr
    words["RUNTIME_DIRECTORY"] = str(tmp_path)
    assert subprocess.run([sys.executable, "-c", code], env=words, check=False).returncode == 0


def test_capabilities_of_this_process_are_read() -> None:
    assert Host().uid == os.geteuid()
    assert isinstance(has_capability(Host(), "net_raw"), bool)
