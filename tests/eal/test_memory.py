# SPDX-License-Identifier: BSD-3-Clause
"""Zones of one shared region: names, zeroes, alignment, reuse, sharing by descriptor, shortage as an error."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pollmode.eal import memory as memory_module
from pollmode.eal.errors import ConfigError, HostError, InternalError
from pollmode.eal.memory import Memory, private
from pollmode.eal.memzone import Extents
from pollmode.eal.options import EalOptions, parse

MIB = 1 << 20
PAGE = mmap.PAGESIZE


def plain(**options: object) -> Memory:
    return Memory.create(EalOptions(no_huge=True, **options))  # type: ignore[arg-type]  # names are EalOptions' own


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def test_a_zone_is_zero_aligned_and_as_large_as_asked(memory: Memory) -> None:
    zone = memory.reserve("ring", 1000, align=4096)
    assert zone.address % 4096 == 0
    assert zone.size >= 1000
    assert not zone.array("u1", 1000).any()
    assert zone.iova == zone.address == memory.iova(zone.address)


def test_what_one_view_writes_another_reads(memory: Memory) -> None:
    zone = memory.reserve("words", 64)
    zone.array("<u4", 2, offset=8)[:] = (1, 2)
    assert zone.array("<u8", 1, offset=8)[0] == 1 | 2 << 32


@pytest.mark.parametrize(("count", "offset"), [(17, 0), (16, 8), (1, -8), (-1, 0)])
def test_a_view_past_the_zone_is_refused(memory: Memory, count: int, offset: int) -> None:
    zone = memory.reserve("small", 128)
    with pytest.raises(ValueError, match="not within 'small' of 128 bytes"):
        zone.array("u8", count, offset)


def test_freed_memory_is_zero_when_it_is_reserved_again(memory: Memory) -> None:
    first = memory.reserve("first", 3 * PAGE + 64)
    first.array("u1", first.size)[:] = 0xA5
    memory.free(first)
    second = memory.reserve("second", 3 * PAGE + 64)
    assert second.address == first.address
    assert not second.array("u1", second.size).any()


def test_freeing_gives_whole_pages_back_to_the_machine(memory: Memory) -> None:
    zone = memory.reserve("large", 8 * MIB)
    fd = memory.regions()[0].fd
    assert os.fstat(fd).st_blocks * 512 >= 8 * MIB
    memory.free(zone)
    assert os.fstat(fd).st_blocks * 512 < MIB


def test_neighbours_survive_when_a_zone_is_freed(memory: Memory) -> None:
    left, middle, right = (memory.reserve(name, 5000) for name in ("left", "middle", "right"))
    for zone in (left, right):
        zone.array("u1", zone.size)[:] = 0x5A
    memory.free(middle)
    assert (left.array("u1", left.size) == 0x5A).all()
    assert (right.array("u1", right.size) == 0x5A).all()


def test_a_name_is_taken_once_and_free_again_afterwards(memory: Memory) -> None:
    zone = memory.reserve("pool", 64)
    with pytest.raises(ConfigError, match="'pool' exists already"):
        memory.reserve("pool", 64)
    memory.free(zone)
    memory.reserve("pool", 64)


def test_a_zone_is_found_by_name_and_a_near_name_is_suggested(memory: Memory) -> None:
    zone = memory.reserve("mbuf_pool", 64)
    assert memory.lookup("mbuf_pool") is zone
    with pytest.raises(ConfigError, match=r"'mbuf_pol' \(did you mean 'mbuf_pool'\?\)"):
        memory.lookup("mbuf_pol")


def test_a_zone_is_freed_once(memory: Memory) -> None:
    zone = memory.reserve("once", 64)
    memory.free(zone)
    with pytest.raises(ConfigError, match="'once' is not reserved"):
        memory.free(zone)


@pytest.mark.parametrize(
    ("name", "size", "align"), [("", 64, 64), ("x", 0, 64), ("x", -1, 64), ("x", 64, 48), ("x", 64, 0)]
)
def test_requests_that_make_no_sense_are_refused(memory: Memory, name: str, size: int, align: int) -> None:
    with pytest.raises(ConfigError, match="cannot reserve"):
        memory.reserve(name, size, align)
    assert memory.zones() == []


def test_a_full_region_says_how_much_to_ask_for(memory: Memory) -> None:
    memory.reserve("half", 40 * MIB)
    with pytest.raises(HostError, match=r"64 MiB is used up: 'more' needs 30 MiB, .* 24 MiB; start with -m 94 or more"):
        memory.reserve("more", 30 * MIB)
    memory.reserve("fits", 24 * MIB)


def test_a_machine_without_memory_is_an_error_and_no_signal(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "available_memory", lambda: 3 * MIB)
    with pytest.raises(HostError, match=r"not enough memory for 'pool': it needs 8 MiB, 3 MiB are available; end"):
        memory.reserve("pool", 8 * MIB)
    monkeypatch.undo()
    assert memory.reserve("pool", 60 * MIB).size == 60 * MIB


def test_an_allocation_the_kernel_refuses_leaves_nothing_taken(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(HostError, match=r"not enough memory for 'pool', which needs 1 MiB: No space left"):
        memory.reserve("pool", MIB)
    monkeypatch.undo()
    assert memory.zones() == []
    assert memory.reserve("pool", 64 * MIB).size == 64 * MIB


def test_another_mapping_of_the_descriptor_sees_the_same_bytes(memory: Memory) -> None:
    zone = memory.reserve("shared", PAGE, PAGE)
    (region,) = memory.regions()
    with mmap.mmap(region.fd, region.size, offset=region.fd_offset) as peer:
        at = zone.address - region.address
        zone.array("u1", 4)[:] = (1, 2, 3, 4)
        assert peer[at : at + 4] == b"\1\2\3\4"
        peer[at] = 9
        assert zone.array("u1", 1)[0] == 9


def test_an_address_outside_has_no_iova(memory: Memory) -> None:
    (region,) = memory.regions()
    for outside in (region.address - 1, region.address + region.size):
        with pytest.raises(InternalError, match="is not in the memory"):
            memory.iova(outside)


def test_devices_of_another_machine_count_from_the_start_of_the_region(memory: Memory) -> None:
    memory.use_iova("offset")
    zone = memory.reserve("ring", 4096, 1 << 20)
    memory.reserve("another", 64)
    assert zone.iova == memory.iova(zone.address) == zone.address - memory.regions()[0].address
    with pytest.raises(HostError, match="use physical addresses need hugepages"):
        memory.use_iova("pa")
    assert memory.iova_mode == "offset"


def test_the_memory_of_a_pc_leaves_out_what_its_firmware_hides() -> None:
    with plain(memory_mb=64, pci_hosts=("qemu:device=vmxnet3",)) as memory:
        memory.use_iova("offset")
        assert memory.reserve("ring", 64).iova >= 1 << 20
    with plain(memory_mb=64, pci_hosts=("kernel",)) as memory:
        assert memory.zones() == []


class Device:
    """A device that is shown memory, in pieces it may refuse."""

    def __init__(self) -> None:
        self.sees: set[tuple[int, int]] = set()
        self.refuses = False

    def reserved(self, address: int, size: int) -> None:
        if self.refuses:
            raise HostError("no more memory for this device")
        self.sees.add((address, size))

    def freed(self, address: int, size: int) -> None:
        self.sees.remove((address, size))


def test_who_watches_sees_every_zone_come_and_go(memory: Memory) -> None:
    device = Device()
    early = memory.reserve("early", 4096)
    memory.watch(device)
    late = memory.reserve("late", 64)
    assert device.sees == {(early.address, 4096), (late.address, 64)}
    memory.free(early)
    assert device.sees == {(late.address, 64)}
    memory.unwatch(device)
    memory.free(late)
    assert device.sees == {(late.address, 64)}


def test_a_zone_that_one_device_cannot_have_is_not_reserved(memory: Memory) -> None:
    one, other = Device(), Device()
    memory.watch(one)
    memory.watch(other)
    other.refuses = True
    with pytest.raises(HostError, match="no more memory for this device"):
        memory.reserve("ring", 4096)
    assert (memory.zones(), one.sees) == ([], set())
    other.refuses = False
    assert memory.reserve("ring", 4096).address == memory.regions()[0].address


def test_pages_a_device_was_shown_stay_where_they_are_and_are_zero_again(memory: Memory) -> None:
    memory.watch(Device())
    fd = memory.regions()[0].fd
    zone = memory.reserve("ring", 8 * MIB)
    zone.array("u1", 8 * MIB)[:] = 0xA5
    memory.free(zone)
    assert os.fstat(fd).st_blocks * 512 >= 8 * MIB
    assert not memory.reserve("again", 8 * MIB).array("u1", 8 * MIB).any()


def test_a_closed_memory_is_closed_again_and_reserves_nothing() -> None:
    memory = private(MIB)
    memory.close()
    memory.close()
    with pytest.raises(ConfigError, match="closed"):
        memory.reserve("late", 64)


def test_idle_memory_costs_the_process_nothing() -> None:
    before = resident()
    with plain() as memory:
        assert memory.regions()[0].size >= 512 * MIB
        assert os.fstat(memory.regions()[0].fd).st_blocks * 512 < MIB
        assert resident() - before < 8 * MIB


def test_the_size_asked_for_is_the_size_mapped() -> None:
    with plain(memory_mb=96) as memory:
        assert memory.regions()[0].size == 96 * MIB


def test_more_than_the_machine_has_is_refused_at_the_start() -> None:
    with pytest.raises(HostError, match=r"-m asks for 16384 GiB and .* are available; ask for less with -m"):
        Memory.create(parse(["--no-huge", "-m", str(1 << 24)]))


def test_the_region_stands_where_base_virtaddr_says() -> None:
    with plain(base_virtaddr=0x2_3000_0000, memory_mb=16) as memory:
        assert memory.regions()[0].address == 0x2_3000_0000
        memory.reserve("x", 64).array("u8")[0] = 1


def test_a_base_address_in_use_is_an_error_with_a_way_out() -> None:
    with (
        plain(base_virtaddr=0x2_3000_0000, memory_mb=16),
        pytest.raises(HostError, match=r"--base-virtaddr 0x230000000: .* in use.*; choose another"),
    ):
        plain(base_virtaddr=0x2_3000_0000, memory_mb=16)


def test_a_base_address_the_kernel_refuses_is_an_error() -> None:
    with pytest.raises(HostError, match=r"--base-virtaddr 0x7fffff000000: .* cannot be mapped \("):
        plain(base_virtaddr=0x7FFF_FF00_0000, memory_mb=64)


def test_two_memories_of_a_process_stand_side_by_side() -> None:
    with plain(memory_mb=16) as one, plain(memory_mb=16) as other:
        assert one.regions()[0].address != other.regions()[0].address


def test_descriptors_and_mappings_are_gone_after_an_error() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError):
        plain(iova_mode="pa")
    with plain(base_virtaddr=0x2_3000_0000, memory_mb=16), pytest.raises(HostError):
        plain(base_virtaddr=0x2_3000_0000, memory_mb=16)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert "pollmode-rte" not in Path("/proc/self/maps").read_text()


def test_a_process_without_descriptors_left_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str, _flags: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(HostError, match=r"^cannot make ordinary memory: Too many open files$"):
        private()


def test_physical_addresses_of_pages_that_move_are_refused() -> None:
    with pytest.raises(HostError, match=r"--iova-mode pa\) need hugepages.*--iova-mode va"):
        plain(iova_mode="pa")


def test_what_was_taken_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with plain(memory_mb=16):
        pass
    told = capsys.readouterr().err
    assert told.count("memory") == 2  # "memory: up to 16 MiB of ordinary memory ..."
    assert "16 MiB of ordinary memory (--no-huge)" in told


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.sampled_from([64, 128, 4096]), st.sampled_from([0, 4096]), st.integers(0, 300))
def test_a_piece_within_a_page_does_not_cross_one(size: int, align: int, boundary: int, used: int) -> None:
    extents = Extents(1 << 16)
    extents.take(used * 64 + 64, 64)
    at = extents.take(size, align, boundary)
    assert at is None or at % align == 0
    if at is not None and size <= boundary:
        assert at // boundary == (at + size - 1) // boundary


class ExtentsMachine(RuleBasedStateMachine):
    """Pieces never overlap, and everything given back is one free part again."""

    def __init__(self) -> None:
        super().__init__()
        self.extents = Extents(1 << 14)
        self.taken: dict[int, int] = {}

    @rule(size=st.integers(1, 5000), align=st.sampled_from([1, 64, 1024]))
    def take(self, size: int, align: int) -> None:
        at = self.extents.take(size, align)
        if at is None:
            return
        assert at % align == 0
        assert at + size <= 1 << 14
        assert all(at + size <= other or other + length <= at for other, length in self.taken.items())
        self.taken[at] = size

    @rule(choice=st.integers(0, 100))
    def give(self, choice: int) -> None:
        if self.taken:
            at = sorted(self.taken)[choice % len(self.taken)]
            self.extents.give(at, self.taken.pop(at))

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.extents.free_bytes + sum(self.taken.values()) == 1 << 14
        if not self.taken:
            assert self.extents.largest == 1 << 14


test_extents = ExtentsMachine.TestCase


def test_records_in_a_zone_keep_their_fields(memory: Memory) -> None:
    point = np.dtype([("x", "<i8"), ("y", "<i8")])
    points = memory.reserve("points", 4 * point.itemsize).array(point, 4)
    points["y"] = range(4)
    assert memory.lookup("points").array("<i8", 8).tolist() == [0, 0, 0, 1, 0, 2, 0, 3]
