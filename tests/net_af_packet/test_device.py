# SPDX-License-Identifier: BSD-3-Clause
"""The control plane over the model: devargs, settings, link, removal, and news from the kernel."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from typing import Any

import pytest
from net_af_packet.conftest import Model
from net_af_packet.test_rx import frame

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, HostError
from pollmode.ethdev import Event, Link, Port, PortConfig, Ports, RxOffload
from pollmode.mbuf import create_pool
from pollmode.net_af_packet.sockets import Geometry
from pollmode.net_af_packet.watch import events


@pytest.mark.parametrize(
    ("devargs", "told"),
    [
        ("", "argument 'iface' is needed; write net_af_packet0,iface=..."),
        ("iface=", "'iface' has no value"),
        ("iface=a234567890123456", "it has 16 bytes, at most 15 fit"),
        ("iface=lo,qpairs=0", "qpairs=0 is not valid: it must be from 1 to 1024"),
        ("iface=lo,blocksz=5000", "blocksz=5000 is not a multiple of the page size, 4096"),
        ("iface=lo,blocksz=0", "blocksz=0 is not valid"),
        ("iface=lo,framesz=2000,blocksz=-1", "blocksz=-1 is not valid"),
        ("iface=lo,framesz=1000", "framesz=1000 is not a multiple of 16"),
        ("iface=lo,framesz=8192", "framesz=8192 exceeds blocksz=4096"),
        ("iface=lo,framesz=128", "framesz=128 is not valid: it must be from 256"),
        ("iface=lo,framecnt=511", "framecnt=511 is not a multiple of 2, the frames of a block"),
        ("iface=lo,framecnt=0", "framecnt=0 is not valid"),
        ("iface=lo,framecnt=4194304", "a ring of 8589934592 bytes; at most 1073741824"),
        ("iface=lo,qdisc_bypass=2", "qdisc_bypass=2 is not valid: it must be 0 or 1"),
        ("iface=lo,fanout_mode=hush", r"one of hash, lb, cpu, rollover, rnd, qm \(did you mean 'hash'\?\)"),
        ("iface=lo,frames=4", "unknown argument 'frames'"),
    ],
)
def test_devargs_that_are_wrong_are_named(devargs: str, told: str, environment: Environment, ports: Ports) -> None:
    with pytest.raises(ConfigError, match=told):
        VdevBus(environment, ports).attach(f"net_af_packet0,{devargs}")
    assert len(ports) == 0


def test_a_frame_lies_within_its_block() -> None:
    geometry = Geometry(4096, 1536, 6)
    assert (geometry.frames_per_block, geometry.blocks, geometry.size) == (2, 3, 12288)
    assert geometry.addresses(1000).tolist() == [1000, 2536, 5096, 6632, 9192, 10728]


def test_the_device_tells_of_the_interface(model: Model) -> None:
    port = model(pairs=2).port
    info = port.info()
    assert (info.max_rx_queues, info.max_tx_queues, info.if_index) == (2, 2, 7)
    assert (info.max_rx_pktlen, info.max_mtu) == (1982, 1964)
    assert info.private_info == {"interface": "model0"}
    assert port.mac == bytes.fromhex("020000000007")
    assert str(port.link()) == "Link up at 10 Gbps FDX Fixed"


def test_settings_reach_the_interface(model: Model) -> None:
    port, device = (made := model()).port, made.kernel.device
    port.set_promiscuous(True)
    port.set_allmulticast(True)
    assert device.modes == {"promiscuous", "all multicast"}
    port.set_promiscuous(False)
    assert device.modes == {"all multicast"}
    port.set_mac(bytes.fromhex("020000000099"))
    assert device.address == bytes.fromhex("020000000099")
    first, second = bytes.fromhex("0200000000aa"), bytes.fromhex("0200000000bb")
    port.add_mac(first)
    port.add_mac(second)
    port.remove_mac(first)
    assert device.further == {second}
    port.set_link(False)
    assert not device.is_up
    assert not port.link().up


def test_configuring_raises_the_mtu_and_never_lowers_it(model: Model) -> None:
    made = model(frame_size=16384, rx_offloads=RxOffload.SCATTER)
    assert made.kernel.device.size == 1500
    made.port.stop()
    made.port.configure(1, 1, PortConfig(mtu=9000, rx_offloads=RxOffload.SCATTER))
    assert made.kernel.device.size == 9000
    made.port.configure(1, 1, PortConfig(mtu=1500, rx_offloads=RxOffload.SCATTER))
    assert made.kernel.device.size == 9000
    with pytest.raises(ConfigError, match="MTU 16384 is not within 46 to 16300"):
        made.port.set_mtu(16384)


def test_mbufs_that_are_too_small_for_the_interface_need_scatter(model: Model, environment: Environment) -> None:
    made = model(frame_size=16384)
    made.kernel.device.size = 4000
    made.port.stop()
    made.port.configure(1, 1)
    with pytest.raises(ConfigError, match=r"model0 have up to 4018 bytes, an mbuf of pool pool0 holds 2048; .*SCATTER"):
        made.port.setup_rx_queue(0, 0, made.pool)
    large = create_pool(environment.memory, "large", 16, data_room=4018 + 128)
    made.port.setup_rx_queue(0, 0, large)


def test_a_change_of_the_link_is_an_event_once(model: Model) -> None:
    made = model()
    told: list[Any] = []
    made.port.on(Event.INTR_LSC, lambda _port, _event, detail: told.append(detail))
    made.kernel.changed()
    assert told == []
    made.kernel.device.is_up = False
    made.kernel.changed()
    made.kernel.changed()
    assert told == [Link(up=False, speed=0)]
    made.kernel.device.is_up = True
    made.kernel.changed()
    assert told[1:] == [Link(up=True, speed=10000)]


def test_an_interface_that_vanishes_is_an_event_and_the_port_falls_silent(model: Model) -> None:
    made = model()
    told: list[Event] = []
    made.port.on(None, lambda _port, event, _detail: told.append(event))
    made.rings.deliver(frame(60))
    made.kernel.gone()
    made.kernel.gone()
    assert told == [Event.INTR_LSC, Event.INTR_RMV]
    assert not made.port.link().up
    assert made.receive() == []
    assert made.send(frame(60)) == 0
    assert made.port.stats().ipackets == 0
    made.port.stop()
    with pytest.raises(HostError, match="interface model0 is gone; close the port"):
        made.port.start()
    made.port.close()
    assert made.kernel.device.closed


def test_closing_gives_everything_back(model: Model, environment: Environment, ports: Ports) -> None:
    before = {zone.name for zone in environment.memory.zones()}
    made = model(pairs=4)
    port: Port = made.port
    rings = made.kernel.opened
    port.stop()
    assert all(each.closed for each in rings)
    ports.remove(port)
    assert {zone.name for zone in environment.memory.zones()} - before == {
        zone.name for zone in environment.memory.zones() if zone.name.startswith(("MP_", "RG_", "pool"))
    } - before
    assert made.kernel.device.closed


def test_counters_survive_a_stop_and_a_reset_sets_them_to_zero(model: Model) -> None:
    made = model()
    made.rings.deliver(frame(60))
    made.receive()
    made.port.stop()
    made.port.start()
    made.rings.deliver(frame(61))
    made.receive()
    assert (made.port.stats().ipackets, made.port.stats().ibytes) == (2, 121)
    made.port.reset_stats()
    assert made.port.stats().ipackets == 0


def message(kind: int, index: int, family: int = socket.AF_UNSPEC, length: int | None = None) -> bytes:
    body = struct.pack("=BxHiII", family, 1, index, 0, 0)
    return struct.pack("=IHHII", 16 + len(body) if length is None else length, kind, 0, 0, 0) + body


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (message(16, 7), [False]),
        (message(17, 7), [True]),
        (message(16, 8), []),
        (message(17, 7, socket.AF_BRIDGE), []),
        (message(16, 7) + message(17, 7), [False, True]),
        (message(20, 7) + message(17, 7), [True]),
        (message(17, 7)[:-1], []),
        (message(17, 7, length=15) + message(17, 7), []),
        (message(17, 7, length=0), []),
        (message(17, 7, length=0xFFFFFFFF), []),
        (message(17, 7, length=20), []),
    ],
)
def test_netlink_messages_are_read_as_far_as_they_are_sound(data: bytes, expected: list[bool]) -> None:
    assert list(events(data, 7)) == expected


def test_without_the_capability_the_way_to_it_is_told(environment: Environment, ports: Ports) -> None:
    bus = VdevBus(environment, ports)
    told: list[str] = []

    def attach() -> None:
        drop_capabilities()
        try:
            bus.attach("net_af_packet0,iface=lo")
        except HostError as error:
            told.append(str(error))

    without = threading.Thread(target=attach)
    without.start()
    without.join()
    (line,) = told
    assert "net_af_packet0: a packet socket needs the capability CAP_NET_RAW; run as root, or: setcap" in line
    assert len(ports) == 0


def drop_capabilities() -> None:
    """Take all capabilities from the calling thread alone (capset(2))."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) == 0
