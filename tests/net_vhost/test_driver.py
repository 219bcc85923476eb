# SPDX-License-Identifier: BSD-3-Clause
"""The words of --vdev net_vhost0,...: each is taken, or refused in one line that says what is allowed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, HostError, PollmodeError, UnsupportedError
from pollmode.ethdev import Ports
from pollmode.net_vhost import driver
from pollmode.net_vhost.driver import NOT_YET
from pollmode.vhost.frontend import Frontend
from pollmode.vhost.messages import Protocol
from pollmode.vhost.testing import EVERY_PROTOCOL_FEATURE
from pollmode.vhost.virtqueue import has


def attach(environment: Environment, text: str) -> None:
    ports = Ports(environment)
    try:
        VdevBus(environment, ports).attach(text)
    finally:
        ports.close()


@pytest.mark.parametrize(
    "words",
    ["", ",queues=128", ",client=1", ",client=0", ",linear-buffer=1", ",legacy-ol-flags=1", ",tso=0,iommu-support=0"],
)
@pytest.mark.parametrize("name", ["net_vhost0", "eth_vhost3"])
def test_arguments_are_taken(environment: Environment, tmp_path: Path, name: str, words: str) -> None:
    attach(environment, f"{name},iface={tmp_path}/sock{words}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "argument 'iface' is needed"),
        (",iface=", "argument 'iface' has no value"),
        (",iface={tmp}/s,queues=0", "it must be from 1 to 128"),
        (",iface={tmp}/s,queues=129", "it must be from 1 to 128"),
        (",iface={tmp}/s,queues=4294967297", "it must be from 1 to 128"),
        (",iface={tmp}/s,queues=two", "it must be an integer"),
        (",iface={tmp}/s,client=2", "it must be 0 or 1"),
        (",iface={tmp}/s,client=yes", "it must be 0 or 1"),
        (",iface={tmp}/s,queue=2", "did you mean 'queues'"),
        (",iface={tmp}/s,queues=2,queues=2", "is given twice"),
        (",iface={tmp}", "is a directory"),
        (",iface={tmp}/none/s", "there is no directory"),
        (",iface={tmp}/" + "s" * 200, "at most 107"),
    ],
)
@pytest.mark.parametrize("mode", ["", ",client=1"])
def test_wrong_arguments_are_refused_in_one_line(
    environment: Environment, tmp_path: Path, words: str, message: str, mode: str
) -> None:
    """CVE-2021-3839 is a number of queues nobody checked."""
    words = words.format(tmp=tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        attach(environment, f"net_vhost0{words}" + (mode if "client" not in words else ""))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("switch", NOT_YET)
def test_what_is_not_supported_yet_says_so(environment: Environment, tmp_path: Path, switch: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{switch}=1 is not supported yet"):
        attach(environment, f"net_vhost0,iface={tmp_path}/s,{switch}=1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("asked", [False, True])
def test_post_copy_is_offered_when_asked_for(environment: Environment, tmp_path: Path, asked: bool) -> None:
    ports = Ports(environment)
    bus = VdevBus(environment, ports)
    try:
        port = bus.attach(f"net_vhost0,iface={tmp_path}/s,postcopy-support={int(asked)}")
    except HostError as error:
        assert asked
        pytest.skip(str(error))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{tmp_path}/s")
        front = Frontend(sock)
        front.negotiate(EVERY_PROTOCOL_FEATURE)
        assert has(front.protocol_features, Protocol.PAGEFAULT) is asked
        assert has(front.protocol_features, Protocol.CONFIGURE_MEM_SLOTS) is not asked
        front.close()
    bus.detach(port)
    ports.close()


def test_post_copy_needs_a_kernel_that_can(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise HostError("the kernel gives no userfaultfd", mend="run as root")

    monkeypatch.setattr(driver, "Userfault", refuse)
    with pytest.raises(HostError, match=r"net_vhost0: argument postcopy-support=1: .* no userfaultfd; run as root"):
        attach(environment, f"net_vhost0,iface={tmp_path}/s,postcopy-support=1")
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_socket_stays(environment: Environment, tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("data")
    with pytest.raises(PollmodeError, match="no socket"):
        attach(environment, f"net_vhost0,iface={file}")
    assert file.read_text() == "data"
