# SPDX-License-Identifier: BSD-3-Clause
"""Which frames pass: addresses, groups, promiscuous and all-multicast mode, VLAN ids; while it runs and stopped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net_vmxnet3.rigs import BROADCAST, GROUP, MAC, OTHER, Rig, frame, ip_frame

from pollmode.eal.errors import ConfigError, HostError
from pollmode.ethdev import PortConfig, RxOffload
from pollmode.net_vmxnet3.layout import MAX_MULTICAST

Rigs = Callable[..., Rig]
SECOND = bytes.fromhex("01005e000002")
FILTER = PortConfig(rx_offloads=RxOffload.VLAN_FILTER)


def passing(rig: Rig) -> set[bytes]:
    """Return the addresses whose frames the port receives."""
    tried = [MAC, OTHER, BROADCAST, GROUP, SECOND]
    for to in tried:
        rig.model.deliver(frame(to=to))
    return {data[:6] for data in rig.receive()}


def vlans(rig: Rig, *tried: int) -> list[int | None]:
    """Return which of these VLAN ids pass, None for frames without a tag."""
    got: list[int | None] = []
    for vlan in (None, *tried):
        rig.model.deliver(ip_frame(vlan=vlan))
        got += [vlan for _ in rig.receive()]
    return got


def test_own_address_and_broadcast_pass_at_first(rig: Rig) -> None:
    assert passing(rig) == {MAC, BROADCAST}


def test_promiscuous_mode_lets_all_pass_and_ends(rig: Rig) -> None:
    rig.port.set_promiscuous(True)
    assert passing(rig) == {MAC, OTHER, BROADCAST, GROUP, SECOND}
    rig.port.set_promiscuous(False)
    assert passing(rig) == {MAC, BROADCAST}


def test_all_multicast_mode_lets_groups_pass_and_ends(rig: Rig) -> None:
    rig.port.set_allmulticast(True)
    assert passing(rig) == {MAC, BROADCAST, GROUP, SECOND}
    rig.port.set_allmulticast(False)
    assert passing(rig) == {MAC, BROADCAST}


def test_the_multicast_table_lets_its_groups_pass(rig: Rig) -> None:
    rig.port.set_multicast([GROUP])
    assert passing(rig) == {MAC, BROADCAST, GROUP}
    rig.port.set_multicast([SECOND, GROUP])
    assert passing(rig) == {MAC, BROADCAST, GROUP, SECOND}
    rig.port.set_multicast([])
    assert passing(rig) == {MAC, BROADCAST}


def test_more_groups_than_the_table_has_are_refused(rig: Rig) -> None:
    groups = [b"\x01\x00\x5e" + number.to_bytes(3, "big") for number in range(MAX_MULTICAST + 1)]
    with pytest.raises(ConfigError, match="10923 multicast addresses, the device's table has 10922"):
        rig.port.set_multicast(groups)
    rig.port.set_multicast(groups[:-1])
    assert len(rig.model.registers.multicast) == MAX_MULTICAST


def test_a_table_without_memory_changes_nothing(rig: Rig) -> None:
    rig.port.set_multicast([GROUP])
    memory = rig.environment.memory
    taken = []
    size = 1 << 30
    while size >= 64:
        try:
            taken.append(memory.reserve(f"taken{len(taken)}", size))
        except HostError:
            size //= 2
    with pytest.raises(HostError, match="used up"):
        rig.port.set_multicast([GROUP, SECOND])
    for zone in taken:
        memory.free(zone)
    assert passing(rig) == {MAC, BROADCAST, GROUP}
    rig.port.stop()
    rig.port.start()
    assert passing(rig) == {MAC, BROADCAST, GROUP}


def test_another_address_is_received_and_kept(rig: Rig) -> None:
    rig.port.set_mac(OTHER)
    assert passing(rig) == {OTHER, BROADCAST}
    rig.port.stop()
    rig.port.start()
    assert passing(rig) == {OTHER, BROADCAST}
    assert rig.model.mac == OTHER


def test_the_vlan_table_lets_its_ids_pass(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=FILTER)
    assert vlans(rig, 1, 100, 4095) == [None]
    rig.port.set_vlan_filter(100, True)
    rig.port.set_vlan_filter(4095, True)
    assert vlans(rig, 1, 100, 4095) == [None, 100, 4095]
    rig.port.set_vlan_filter(100, False)
    rig.port.set_vlan_filter(0, False)
    assert vlans(rig, 1, 100, 4095) == [None, 4095]


def test_without_the_filter_every_vlan_passes_until_it_is_switched_on(rig: Rig) -> None:
    assert vlans(rig, 1, 4095) == [None, 1, 4095]
    rig.port.set_vlan_offload(RxOffload.VLAN_FILTER, True)
    assert vlans(rig, 1, 4095) == [None]
    rig.port.set_vlan_filter(1, True)
    assert vlans(rig, 1, 4095) == [None, 1]
    rig.port.set_vlan_offload(RxOffload.VLAN_FILTER, False)
    assert vlans(rig, 1, 4095) == [None, 1, 4095]


def test_promiscuous_mode_lets_every_vlan_pass_and_gives_the_table_back(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=FILTER)
    rig.port.set_vlan_filter(7, True)
    rig.port.set_promiscuous(True)
    assert vlans(rig, 7, 8) == [None, 7, 8]
    rig.port.set_promiscuous(False)
    assert vlans(rig, 7, 8) == [None, 7]


def test_everything_set_on_a_stopped_port_holds_when_it_starts(make_rig: Rigs) -> None:
    rig = make_rig(revision=3, config=FILTER, start=False)
    rig.port.set_vlan_filter(9, True)
    rig.port.set_multicast([GROUP])
    rig.port.set_allmulticast(False)
    rig.port.start()
    assert vlans(rig, 9, 10) == [None, 9]
    assert passing(rig) == {MAC, BROADCAST, GROUP}
    rig.port.stop()
    rig.configure(1, 1, FILTER)
    rig.port.start()
    assert passing(rig) == {MAC, BROADCAST, GROUP}
    assert vlans(rig, 9, 10) == [None, 9]
