# SPDX-License-Identifier: BSD-3-Clause
"""Words from the user: every devarg right, wrong, unknown, twice, missing; socket paths that can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

from pollmode.bus_vdev import VdevBus
from pollmode.eal import devargs
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, HostError, PollmodeError, UnsupportedError
from pollmode.ethdev import Ports
from pollmode.net_virtio import DRIVER


def read(text: str) -> dict[str, object]:
    return DRIVER.parameters.read(devargs.parse(f"net_virtio_user0,{text}"))


def test_the_driver_has_dpdks_names() -> None:
    assert DRIVER.name == "net_virtio_user"
    assert DRIVER.aliases == ("virtio_user",)


def test_defaults_are_dpdks_where_they_are_supported() -> None:
    assert read("path=/tmp/s") == {
        "path": "/tmp/s", "mac": None, "queues": 1, "queue_size": 256, "server": False, "mrg_rxbuf": True,
        "speed": None, "cq": False, "in_order": False, "packed_vq": False, "vectorized": False, "iface": None,
    }  # fmt: skip


def test_every_argument_is_read() -> None:
    found = read("path=/s,mac=02:11:22:33:44:55,queues=4,queue_size=1024,server=1,mrg_rxbuf=0,speed=40000")
    assert found["mac"] == bytes.fromhex("021122334455")
    assert (found["queues"], found["queue_size"], found["server"], found["mrg_rxbuf"]) == (4, 1024, True, False)
    assert found["speed"] == 40000


@pytest.mark.parametrize("switch", ["cq", "in_order", "packed_vq", "vectorized"])
def test_what_dpdk_has_and_we_not_yet_may_be_off_and_not_on(switch: str) -> None:
    assert read(f"path=/s,{switch}=0")[switch] is False
    with pytest.raises(UnsupportedError, match=f"{switch}=1 is not supported yet"):
        read(f"path=/s,{switch}=1")


def test_an_interface_belongs_to_another_back_end() -> None:
    with pytest.raises(UnsupportedError, match="'iface' is not supported yet"):
        read("path=/s,iface=tap0")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("queues=1", "'path' is needed"),
        ("path=", "'path' has no value"),
        ("path=/s,queue=2", "unknown argument 'queue' (did you mean 'queues'?)"),
        ("path=/s,queues=2,queues=3", "'queues' is given twice"),
        ("path=/s,queues=0", "it must be from 1 to 128"),
        ("path=/s,queues=129", "it must be from 1 to 128"),
        ("path=/s,queues=two", "it must be an integer from 1 to 128"),
        ("path=/s,queue_size=100", "a power of two"),
        ("path=/s,queue_size=65536", "from 32 to 32768"),
        ("path=/s,server=yes", "it must be 0 or 1"),
        ("path=/s,mrg_rxbuf=2", "it must be 0 or 1"),
        ("path=/s,mac=1:2:3", "mac=1:2:3 is not valid"),
        ("path=/s,mac=01:00:5e:00:00:01", "of one station"),
        ("path=/s,mac=00:00:00:00:00:00", "of one station"),
        ("path=/s,speed=1000", "it must be one of 10000, 20000"),
        ("path=/s,speed=fast", "it must be one of 10000, 20000"),
        ("path=/" + "s" * 107, "it has 108 bytes, at most 107 fit"),
    ],
)
def test_a_wrong_argument_is_refused_with_a_way_out(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def attach(environment: Environment, text: str) -> None:
    ports = Ports(environment)
    try:
        VdevBus(environment, ports).attach(f"net_virtio_user0,{text}")
    finally:
        ports.close()


@pytest.mark.parametrize("server", [0, 1])
def test_a_path_that_is_a_directory_or_a_file(environment: Environment, tmp_path: Path, server: int) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(PollmodeError, match="socket path"):
            attach(environment, f"path={path},server={server}")


def test_nobody_at_the_path_says_what_to_do(environment: Environment, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="start the peer first, or use server=1"):
        attach(environment, f"path={tmp_path}/none")
    assert list(tmp_path.iterdir()) == []


def test_a_path_in_a_directory_that_is_not_there(environment: Environment, tmp_path: Path) -> None:
    for server in (0, 1):
        with pytest.raises(ConfigError, match="there is no directory"):
            attach(environment, f"path={tmp_path}/no/where,server={server}")


def test_a_path_somebody_else_listens_at(environment: Environment, tmp_path: Path) -> None:
    ports = Ports(environment)
    bus = VdevBus(environment, ports)
    first = bus.attach(f"net_virtio_user0,path={tmp_path}/s,server=1")
    with pytest.raises(ConfigError, match="is in use by this process itself"):
        bus.attach(f"net_virtio_user1,path={tmp_path}/s,server=1")
    bus.detach(first)
    ports.close()
    assert list(tmp_path.iterdir()) == []
