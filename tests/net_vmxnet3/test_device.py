# SPDX-License-Identifier: BSD-3-Clause
"""The life of a port: revisions, limits, start, stop, refusals, link, statistics, reset, removal."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from net_vmxnet3.rigs import MAC, Rig, frame

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, DeviceFault, HostError, UnsupportedError
from pollmode.ethdev import Event, Link, Port, PortConfig, RxOffload, State
from pollmode.mbuf import Burst, create_pool
from pollmode.net_vmxnet3 import layout as at
from pollmode.net_vmxnet3.device import Vmxnet3
from pollmode.net_vmxnet3.testing import Model

Rigs = Callable[..., Rig]
PATIENCE = 30


def works(rig: Rig) -> None:
    """Check that packets pass both ways."""
    assert rig.model.deliver(frame()) is not None
    assert rig.receive() == [frame()]
    assert rig.send(rig.packet(frame(200))) == 1
    assert [sent.frame for sent in rig.model.collect()] == [frame(200)]


@pytest.mark.parametrize("revision", range(1, 8))
def test_the_highest_revision_in_common_is_chosen(make_rig: Rigs, revision: int) -> None:
    rig = make_rig(revision=revision)
    assert rig.model.registers.revision == revision
    info = rig.port.info()
    assert info.firmware_version == f"v{revision}"
    assert (info.max_rx_queues, info.max_tx_queues) == ((32, 32) if revision >= 6 else (16, 8))
    assert info.max_mtu == (9190 if revision >= 6 else 9000)
    assert rig.port.mac == MAC
    works(rig)


def test_a_device_without_a_revision_in_common_is_refused(environment: Environment) -> None:
    model = Model(environment.memory, revision=0)
    with pytest.raises(UnsupportedError, match="the device offers revisions 0x0, we know 1 to 7"):
        Vmxnet3("vmx", model.device, environment)
    model.close()


@pytest.mark.parametrize(("revision", "rx", "tx"), [(1, 16, 8), (6, 32, 32), (7, 24, 24)])
def test_the_largest_queue_counts(make_rig: Rigs, revision: int, rx: int, tx: int) -> None:
    """DPDK d3a229dd49: more queues than a table of statistics had."""
    rig = make_rig(revision=revision, rx_queues=rx, tx_queues=tx, mbufs=(rx + 1) * 128 + 64)
    for queue in range(rx):
        assert rig.model.deliver(frame(number=queue), queue=queue) == queue
        assert rig.receive(queue=queue) == [frame(number=queue)]
    for queue in range(tx):
        assert rig.send(rig.packet(frame(number=queue)), queue=queue) == 1
        assert [sent.frame for sent in rig.model.collect(queue)] == [frame(number=queue)]
    stats = rig.port.stats()
    assert (stats.q_ipackets, stats.q_opackets) == ((1,) * rx, (1,) * tx)
    assert f"rx_q{rx - 1}_device_unicast_packets" in rig.port.xstats()


def test_queues_that_are_no_power_of_two_need_revision_6(make_rig: Rigs) -> None:
    rig = make_rig(revision=5, start=False)
    with pytest.raises(ConfigError, match="3 Rx queues; revision 5 takes a power of two"):
        rig.port.configure(3, 1)
    works(make_rig(revision=6, rx_queues=3))


def test_a_device_that_claims_any_number_of_queues_gets_those_it_can_have(make_rig: Rigs) -> None:
    rig = make_rig(revision=6, start=False, rx_queues=1)
    for told in (0, 0xFFFFFFFF, 0x0100):
        rig.model.refuse(at.CMD_GET_MAX_QUEUES_CONF, told)
        hw = type(rig.device._hw)("again", rig.model.device)
        assert 1 <= hw.max_rx_queues <= 32
        assert 1 <= hw.max_tx_queues <= 32


def test_rings_are_rounded_as_in_dpdk(make_rig: Rigs) -> None:
    odd = make_rig(revision=3, rx_descriptors=1000, tx_descriptors=1000, mbufs=2048)
    assert [queue.entries for queue in (*odd.device.queues("rx"), *odd.device.queues("tx"))] == [992, 992]
    power = make_rig(revision=7, rx_descriptors=1000, tx_descriptors=1000, mbufs=2048)
    assert [queue.entries for queue in (*power.device.queues("rx"), *power.device.queues("tx"))] == [512, 512]
    works(odd)
    works(power)


def test_the_largest_rings(make_rig: Rigs) -> None:
    works(make_rig(revision=7, rx_descriptors=4096, tx_descriptors=4096, mbufs=5000))


def test_a_jumbo_mtu_needs_scatter_or_large_mbufs(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, start=False)
    with pytest.raises(ConfigError, match=r"frames of an MTU of 9000 have up to 9022 bytes.*use the SCATTER offload"):
        rig.configure(1, 1, PortConfig(mtu=9000))
    rig.configure(1, 1, PortConfig(mtu=9000, rx_offloads=RxOffload.SCATTER))
    rig.port.start()
    assert rig.model.deliver(frame(9014)) == 0
    assert rig.receive() == [frame(9014)]
    with pytest.raises(ConfigError, match="takes another MTU only when it starts; stop the port first"):
        rig.port.set_mtu(1500)
    rig.port.stop()
    rig.port.set_mtu(1400)
    rig.port.start()
    assert rig.port.mtu == 1400
    with pytest.raises(ConfigError, match="MTU 9001 is not within 60 to 9000"):
        rig.port.set_mtu(9001)


def test_stop_and_start_again_many_times(make_rig: Rigs) -> None:
    rig = make_rig(revision=7, rx_queues=2, tx_queues=2)
    for _ in range(5):
        works(rig)
        rig.send(rig.packet(frame(300), b"unsent"))
        rig.model.deliver(frame(number=9))
        rig.port.stop()
        assert not rig.model.active
        assert rig.pool.in_use() == 0
        assert rig.port.link() == Link(False, 0)
        rig.port.start()


def test_a_device_that_refuses_to_be_activated_leaves_nothing_behind(make_rig: Rigs) -> None:
    rig = make_rig(revision=3, start=False)
    rig.model.refuse(at.CMD_ACTIVATE)
    for _ in range(2):
        with pytest.raises(DeviceFault, match="the device refuses to be activated: its answer is 0x1"):
            rig.port.start()
        assert rig.pool.in_use() == 0
    rig.model.registers.refused.clear()
    rig.port.start()
    works(rig)


def test_memory_that_ends_at_any_allocation_leaves_nothing_behind(
    make_rig: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2024-40923, CVE-2023-4387: what was not allocated is neither used nor freed."""
    rig = make_rig(revision=7, start=False)
    memory = rig.environment.memory
    reserve = memory.reserve
    failing = 0
    while True:
        left = failing

        def short(name: str, size: int, align: int = 64) -> object:
            nonlocal left
            if left == 0:
                raise HostError(f"no memory for {name}")
            left -= 1
            return reserve(name, size, align)

        monkeypatch.setattr(memory, "reserve", short)
        try:
            rig.configure(2, 2, PortConfig(rx_offloads=RxOffload.SCATTER))
            rig.port.start()
            break
        except HostError:
            failing += 1
            assert rig.pool.in_use() == 0
        finally:
            monkeypatch.setattr(memory, "reserve", reserve)
    assert failing >= 5
    works(rig)


@pytest.mark.parametrize("steps", range(5))
def test_closing_after_each_partial_configuration(environment: Environment, make_rig: Rigs, steps: int) -> None:
    """CVE-2023-4459, DPDK 439847c154."""
    rig = make_rig(revision=3, start=False)
    port, pool = rig.port, rig.pool
    port.configure(2, 2)
    calls: list[Callable[[], None]] = [
        lambda: port.setup_rx_queue(0, 128, pool),
        lambda: port.setup_tx_queue(1, 512),
        lambda: port.setup_rx_queue(1, 128, pool),
        lambda: port.setup_tx_queue(0, 512),
    ]
    for call in calls[:steps]:
        call()
    port.close()
    rig.device.release_rx_queue(0)
    rig.device.close()
    assert port.state is State.CLOSED


def test_closing_after_a_failed_configuration(make_rig: Rigs) -> None:
    """DPDK 439847c154."""
    rig = make_rig(revision=1, start=False)
    with pytest.raises(ConfigError):
        rig.port.configure(3, 1)
    with pytest.raises(ConfigError, match="the device needs a queue in each direction"):
        rig.port.configure(1, 0)
    rig.port.close()


def test_link_changes_are_events(rig: Rig) -> None:
    told: list[object] = []
    changed = threading.Semaphore(0)

    def listen(port: Port, event: Event, detail: object) -> None:
        told.append(detail)
        changed.release()

    rig.port.on(Event.INTR_LSC, listen)
    assert rig.port.link() == Link(True, 10000)
    rig.model.set_link(False)
    assert changed.acquire(timeout=PATIENCE)
    assert rig.port.link() == Link(False, 0)
    rig.model.registers.speed = 25000
    rig.model.set_link(True)
    assert changed.acquire(timeout=PATIENCE)
    assert told == [Link(False, 0), Link(True, 25000)]
    rig.port.stop()
    rig.model.set_link(False)
    rig.port.start()
    assert rig.port.link() == Link(False, 0)
    assert len(told) == 2


def test_a_link_that_says_nothing_of_its_speed_has_ten_gigabits(make_rig: Rigs) -> None:
    assert make_rig(revision=1, speed=0).port.link() == Link(True, 10000)


def test_statistics_go_on_over_stop_and_start(rig: Rig) -> None:
    rig.model.deliver(frame())
    rig.model.deliver(frame(), damaged=True)
    for _ in range(200):
        rig.model.deliver(frame())
    before = rig.port.stats()
    assert before.imissed > 0
    rig.port.stop()
    assert rig.port.stats().imissed == before.imissed
    rig.port.start()
    for _ in range(200):
        rig.model.deliver(frame())
    after = rig.port.stats()
    assert after.imissed == 2 * before.imissed - 2
    rig.port.reset_stats()
    assert (rig.port.stats().imissed, rig.port.stats().ipackets) == (0, 0)
    assert rig.port.xstats()["rx_q0_device_unicast_packets"] == 0
    rig.port.stop()
    rig.port.start()
    assert rig.port.stats().imissed == 0
    works(rig)
    assert (rig.port.stats().ipackets, rig.port.stats().opackets) == (1, 1)


def test_a_damaged_frame_is_dropped_and_counted_as_in_dpdk(rig: Rig) -> None:
    rig.model.deliver(frame(), damaged=True)
    rig.model.deliver(frame())
    assert rig.receive() == [frame()]
    xstats = rig.port.xstats()
    assert (xstats["rx_q0_drop_total"], xstats["rx_q0_drop_err"], xstats["rx_q0_drop_fcs"]) == (1, 1, 1)
    assert rig.port.stats().ierrors == 1
    assert rig.broken == []


def test_how_full_the_rings_are(rig: Rig) -> None:
    assert rig.port.rx_queue_count(0) == (0, 128)
    for number in range(7):
        rig.model.deliver(frame(number=number))
    assert rig.port.rx_queue_count(0) == (7, 128)
    rig.receive()
    rig.send(*(rig.packet(frame()) for _ in range(5)))
    assert rig.port.rx_queue_count(0) == (0, 128)
    assert rig.port.tx_queue_count(0) == (5, 512)
    rig.model.drain(2)
    assert rig.port.tx_queue_count(0) == (3, 512)


@pytest.mark.parametrize("direction", ["rx", "tx"])
def test_a_queue_the_device_stops_is_a_fault_and_reset_heals(make_rig: Rigs, direction: str) -> None:
    rig = make_rig(revision=3, rx_queues=2, tx_queues=2)
    works(rig)
    rig.model.stop_queue("rx" if direction == "rx" else "tx", 1, at.ERR_BIG_PKT)
    name = direction.capitalize()
    (fault,) = rig.device.faults() or rig.port.poll()
    assert str(fault).startswith(f"{name} queue 1 is broken: the device stopped the queue: too many descriptors")
    assert fault.word & 0xFFFFFFFF == at.ERR_BIG_PKT
    rig.heal()
    works(rig)


def test_a_device_that_goes_away_is_told_and_can_be_closed(rig: Rig) -> None:
    gone = threading.Event()
    rig.port.on(Event.INTR_RMV, lambda port, event, detail: gone.set())
    rig.model.deliver(frame())
    rig.model.device.unplug()
    assert gone.wait(PATIENCE)
    assert rig.receive() == []
    assert rig.send(rig.packet(frame())) == 0
    assert rig.port.link() == Link(False, 0)
    rig.port.stats()
    rig.port.stop()
    assert rig.pool.in_use() == 0
    with pytest.raises(UnsupportedError, match="the device is gone; detach the port"):
        rig.port.start()


def test_packets_of_a_pool_that_is_not_the_receiver_s(rig: Rig) -> None:
    other = create_pool(rig.environment.memory, "other", 600, cache_size=0)
    for _ in range(3):
        burst = Burst(32)
        burst.alloc(other, 32)
        for packet in burst:
            packet.append(frame(200))
        assert rig.port.tx(0, burst) == 32
        rig.model.drain()
    rig.port.stop()
    assert other.in_use() == 0
