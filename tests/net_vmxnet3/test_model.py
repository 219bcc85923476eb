# SPDX-License-Identifier: BSD-3-Clause
"""The model of the device against hostile drivers, and what it counts: it is shipped, so it trusts nobody either."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from net_vmxnet3.rigs import Rig, frame

from pollmode.eal.memory import Memory
from pollmode.net_vmxnet3 import layout as at
from pollmode.net_vmxnet3.shared import Shared
from pollmode.net_vmxnet3.testing import Model
from pollmode.net_vmxnet3.testing_frames import parse, segments

Rigs = Callable[..., Rig]


@pytest.fixture
def model(memory: Memory) -> Iterator[Model]:
    made = Model(memory, revision=3)
    made.device.bar(1).write32(at.VRRS, 1 << 2)
    yield made
    made.close()


@pytest.fixture
def shared(memory: Memory, model: Model) -> Iterator[Shared]:
    """A shared area that the model accepts, with one queue each way."""
    area = Shared(memory, "hostile", 1, 1)
    zone = memory.reserve("hostile rings", 1 << 16, 512)
    area.set_features(0, 1500, 0)
    tx, rx = area.tx_desc(0), area.rx_desc(0)
    tx["ring_pa"] = tx["comp_pa"] = rx["comp_pa"] = zone.iova
    tx["ring_size"] = tx["comp_size"] = 512
    rx["ring_pa"][:] = [zone.iova, zone.iova]
    rx["ring_size"][:] = [128, 128]
    rx["comp_size"] = 256
    yield area
    model.registers.deactivate()
    area.close()
    memory.free(zone)


def activate(model: Model, address: int) -> int:
    bar = model.device.bar(1)
    bar.write32(at.DSAL, address & 0xFFFFFFFF)
    bar.write32(at.DSAH, address >> 32)
    bar.write32(at.CMD, at.CMD_ACTIVATE)
    return bar.read32(at.CMD)


def test_a_good_configuration_is_taken(model: Model, shared: Shared) -> None:
    assert activate(model, shared.iova) == 0
    assert model.active


@pytest.mark.parametrize("address", [0, 1 << 63, 0xFFFFFFFFFFFFFFF8])
def test_a_shared_area_outside_the_memory(model: Model, address: int) -> None:
    assert activate(model, address) != 0
    assert "is not in memory" in model.registers.why


@pytest.mark.parametrize("size", [0, 31, 33, 4128, 0xFFFFFFFF, 0x10000000])
def test_cve_2021_20203_ring_sizes(model: Model, shared: Shared, size: int) -> None:
    tx = shared.tx_desc(0)
    tx["ring_size"] = size
    assert activate(model, shared.iova) != 0
    tx["ring_size"], tx["comp_size"] = 512, size if size != 4128 else 8224  # completions may be twice as many
    assert activate(model, shared.iova) != 0
    tx["comp_size"] = 512
    shared.rx_desc(0)["ring_size"][1] = size
    assert activate(model, shared.iova) != 0
    assert not model.active


@pytest.mark.parametrize("queues", [0, 9, 255])
def test_queue_counts(model: Model, shared: Shared, queues: int) -> None:
    shared.record["misc"]["tx_queues"] = queues
    assert activate(model, shared.iova) != 0


def test_an_interrupt_that_is_not_there(model: Model, shared: Shared) -> None:
    shared.tx_desc(0)["interrupt"] = 25
    assert activate(model, shared.iova) != 0
    assert "interrupt 25 of 2" in model.registers.why


def test_cve_2016_6833_nothing_is_written_before_it_is_active(model: Model) -> None:
    bar = model.device.bar(1)
    for command in (*range(at.FIRST_SET, at.FIRST_SET + 0x20), *range(at.FIRST_GET, at.FIRST_GET + 0x20)):
        if command not in (at.CMD_ACTIVATE, at.CMD_RESET):
            bar.write32(at.CMD, command)
            bar.read32(at.CMD)
    assert model.collect() == []
    assert model.deliver(frame()) is None


def test_cve_2016_6834_a_length_of_zero_is_16384_and_no_endless_loop(rig: Rig) -> None:
    ring, queue = rig.device.queues("tx")[0].rings[0], rig.model.record("tx", 0)
    words = np.frombuffer((np.ctypeslib.ctypes.c_char * (16 * 512)).from_address(ring.address), np.int64)
    for index in range(511):
        words[2 * index] = ring.iova
        words[2 * index + 1] = 1 << at.TXD_GEN.shift  # never an end
    rig.model.device.bar(0).write32(at.TXPROD, 511)
    assert rig.model.collect() == []
    assert int(queue["error"]) == at.ERR_BIG_PKT


@pytest.mark.parametrize("header", [0x40, 0x44, 0x4F])
def test_cve_2016_6835_ip_header_lengths(header: int) -> None:
    data = bytearray(frame(60))
    data[12:14] = b"\x08\x00"
    data[14] = header
    data[16:18] = (46).to_bytes(2, "big")
    assert parse(bytes(data)).version == 0 or header == 0x4F
    assert parse(bytes(data[:40])).version == 0


def test_cve_2016_6888_offloads_that_reach_beyond_the_packet() -> None:
    for mode, headers, place in ((at.OM_CSUM, 60, 50), (at.OM_CSUM, 10, 63), (at.OM_TSO, 64, 10), (at.OM_TSO, 54, 0)):
        word = at.TXD_OM.put(0, mode) | at.TXD_HLEN.put(0, headers) | at.TXD_MSSCOF.put(0, place)
        with pytest.raises(ValueError, match=r"a checksum at|a segmentation into"):
            segments(frame(64), word)


def test_buffers_outside_the_memory_stop_the_queue(rig: Rig) -> None:
    ring = rig.device.queues("rx")[0].rings[0]
    np.ctypeslib.ctypes.c_int64.from_address(ring.address).value = 1 << 40
    assert rig.model.deliver(frame()) is None
    assert int(rig.model.record("rx", 0)["error"]) == at.ERR_TXD_INVALID
    assert "Rx queue 0 is broken: the device stopped the queue" in rig.broken[0]
    rig.heal()


def test_floods_and_drains_go_as_fast_as_buffers_allow(rig: Rig) -> None:
    assert rig.model.flood(frame(), 1000) == 127
    assert len(rig.receive(200)) == 127
    rig.send(*(rig.packet(frame()) for _ in range(100)))
    assert rig.model.drain() == 100


def test_a_wire_between_two_devices(make_rig: Rigs) -> None:
    one, two = make_rig(revision=1), make_rig(revision=3)
    one.send(*(one.packet(frame(number=number)) for number in range(20)))
    assert one.model.forward(0, two.model, 0) == 20
    assert two.receive() == [frame(number=number) for number in range(20)]
