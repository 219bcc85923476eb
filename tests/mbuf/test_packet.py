# SPDX-License-Identifier: BSD-3-Clause
"""Packets and bursts from the interpreter: bytes in place, and a clear error instead of a stray access."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.mbuf_verbs import assert_all_home

from pollmode.eal.errors import ConfigError, InternalError
from pollmode.eal.memory import Memory, private
from pollmode.mbuf import INDIRECT, RX_VLAN, Burst, Mempool, Packet, create_pool, mempool


def test_bytes_are_in_place_both_ways(mbufs: Mempool) -> None:
    packet = Packet.alloc(mbufs, b"hello")
    view = packet.data
    view[0:1] = b"J"
    assert bytes(packet) == b"Jello"
    assert len(packet) == packet.pkt_len == packet.data_len == 5
    packet.append(b"!")
    assert bytes(packet.data) == b"Jello!"
    assert not view.readonly
    packet.free()


def test_fields_are_read_and_written(mbufs: Mempool) -> None:
    packet = Packet.alloc(mbufs)
    packet.port, packet.ol_flags, packet.vlan_tci, packet.packet_type = 3, RX_VLAN, 100, 0x91
    again = Packet(packet.address)
    assert (again.port, again.ol_flags, again.vlan_tci, again.packet_type) == (3, RX_VLAN, 100, 0x91)
    assert (packet.headroom, packet.tailroom, packet.refcnt, packet.nb_segs, packet.buf_len) == (128, 256, 1, 1, 384)
    with pytest.raises(ConfigError, match="vlan_tci = 65536 does not fit"):
        packet.vlan_tci = 65536
    assert repr(packet) == "<Packet 0 bytes in 1 segments, port 3>"
    packet.reset()
    assert (packet.port, packet.ol_flags) == (0xFFFF, 0)
    packet.free()
    assert repr(packet) == "<Packet freed>"


def test_both_ends_within_their_room(mbufs: Mempool) -> None:
    packet = Packet.alloc(mbufs, b"body")
    packet.prepend(b"head ")
    packet.append(b" tail")
    assert bytes(packet) == b"head body tail"
    packet.adj(5)
    packet.trim(5)
    assert bytes(packet) == b"body"
    for use, told in (
        (lambda: packet.append(bytes(253)), "253 bytes don't fit: the tailroom is 252 bytes"),
        (lambda: packet.prepend(bytes(129)), "the headroom is 128 bytes"),
        (lambda: packet.adj(5), "the first segment is 4 bytes"),
        (lambda: packet.trim(5), "the last segment is 4 bytes"),
        (lambda: packet.adj(-1), "-1 bytes don't fit"),
    ):
        with pytest.raises(ConfigError, match=told):
            use()
    assert bytes(packet) == b"body"
    packet.free()


def test_clone_copy_chain_linearize(mbufs: Mempool, others: Mempool) -> None:
    packet = Packet.alloc(mbufs, b"one")
    tail = Packet.alloc(mbufs, b"two")
    packet.chain(tail)
    with pytest.raises(ConfigError, match="was chained to another packet"):
        tail.free()
    clone = packet.clone(others)
    copy = packet.copy(offset=1, length=4)
    assert (bytes(packet), bytes(clone), bytes(copy)) == (b"onetwo", b"onetwo", b"netw")
    assert clone.ol_flags & INDIRECT
    with pytest.raises(ConfigError, match="or it is shared"):
        packet.linearize()
    clone.free()
    packet.linearize()
    assert packet.nb_segs == 1
    assert bytes(packet.data) == b"onetwo"
    packet.check()
    assert "pkt_len=6" in packet.dump()
    with pytest.raises(ConfigError, match="can't be chained to itself"):
        packet.chain(packet)
    with pytest.raises(ConfigError, match="offset 7 and length"):
        packet.copy(offset=7)
    packet.free()
    copy.free()


@pytest.mark.parametrize(
    "use",
    [
        lambda packet: packet.data,
        lambda packet: packet.pkt_len,
        lambda packet: packet.segments,
        lambda packet: packet.append(b""),
        lambda packet: packet.clone(),
        lambda packet: packet.free(),
        lambda packet: packet.dump(),
        lambda packet: len(packet),
        lambda packet: Burst.of([packet]),
    ],
)
def test_a_freed_packet_refuses_everything(mbufs: Mempool, use: Callable[[Packet], object]) -> None:
    packet = Packet.alloc(mbufs, b"x")
    packet.free()
    with pytest.raises(ConfigError, match=r"this packet \(mbuf 0x[0-9a-f]+\) was freed"):
        use(packet)


def test_a_packet_whose_memory_was_closed_refuses() -> None:
    memory = private(1 << 20)
    packet = Packet.alloc(create_pool(memory, "p", 4))
    memory.close()
    with pytest.raises(ConfigError, match="is not the address of an mbuf: no live mbuf pool has one there"):
        packet.data  # noqa: B018  # the access is what is refused


def test_what_is_no_mbuf_is_no_packet(memory: Memory, mbufs: Mempool) -> None:
    plain = mempool.create(memory, "plain", 4, element_size=4096)
    for address in (0, 1, next(mbufs.walk()) + 8, next(plain.walk())):
        with pytest.raises(ConfigError, match="is not the address of an mbuf"):
            Packet(address)
        with pytest.raises(ConfigError, match="is not the address of an mbuf"):
            Burst.of([address])
    for use in (lambda: Packet.alloc(plain), lambda: Burst().alloc(plain, 1)):
        with pytest.raises(ConfigError, match="mempool plain is not a live pool of mbufs"):
            use()


def test_an_empty_pool_and_a_small_data_room_are_told(memory: Memory) -> None:
    pool = create_pool(memory, "small", 2, data_room=128 + 10, cache_size=0)
    held = [Packet.alloc(pool, b"0123456789")]
    with pytest.raises(ConfigError, match="11 bytes don't fit: the tailroom is 10 bytes"):
        Packet.alloc(pool, b"0123456789a")
    held.append(Packet.alloc(pool))
    with pytest.raises(ConfigError, match="mbuf pool small is empty"):
        Packet.alloc(pool)
    with pytest.raises(ConfigError, match="mbuf pool small has too few mbufs"):
        held[0].clone()
    with pytest.raises(ConfigError, match="mbuf pool small has fewer than 1 mbufs left"):
        Burst().alloc(pool, 1)
    for packet in held:
        packet.free()
    assert_all_home(pool)


def test_a_burst_has_packets_and_columns(mbufs: Mempool, others: Mempool) -> None:
    burst = Burst(4)
    assert burst.pkt_len.tolist() == []
    burst.alloc(mbufs, 2)
    burst.append(Packet.alloc(others, b"abc"))
    burst[0].append(b"hello")
    burst[-1].port = 5
    assert burst.pkt_len.tolist() == [5, 0, 3]
    assert burst.pkt_len.dtype == np.uint32
    assert burst.port.tolist() == [0xFFFF, 0xFFFF, 5]
    assert burst.column("refcnt").tolist() == [1, 1, 1]
    assert (burst.ol_flags == 0).all()
    assert (burst.packet_type == 0).all()
    assert [bytes(packet) for packet in burst] == [b"hello", b"", b"abc"]
    assert repr(burst) == "<Burst of 3 packets, room for 4>"
    with pytest.raises(IndexError, match="packet 3 of a burst of 3"):
        burst[3]
    with pytest.raises(ConfigError, match="an mbuf has no field 'length'"):
        burst.column("length")
    burst.free()
    assert len(burst) == 0


def test_a_burst_refuses_what_it_has_and_what_it_has_no_room_for(mbufs: Mempool) -> None:
    burst = Burst(2)
    packet = Packet.alloc(mbufs)
    address = packet.address
    burst.append(packet)
    with pytest.raises(ConfigError, match="was moved into a burst"):
        burst.append(packet)
    with pytest.raises(ConfigError, match=rf"mbuf {address:#x} is in this burst already"):
        burst.append(address)
    burst.alloc(mbufs, 1)
    extra = Packet.alloc(mbufs)
    with pytest.raises(ConfigError, match="the burst is full: it has room for 2 packets"):
        burst.append(extra)
    with pytest.raises(ConfigError, match="1 packets don't fit: the burst has room for 0 more"):
        burst.alloc(mbufs, 1)
    with pytest.raises(ConfigError, match="a burst of 0 packets can't be made"):
        Burst(0)
    extra.free()
    burst.free()


def test_a_packet_of_a_burst_is_gone_when_the_burst_loses_it(mbufs: Mempool) -> None:
    burst = Burst(8)
    burst.alloc(mbufs, 4)
    first, second, third, fourth = burst
    taken = burst.take(0)
    assert taken.address == burst_free(taken)
    burst.drop(1)
    third.free()
    assert len(burst) == 1
    for packet in (first, second):
        with pytest.raises(ConfigError, match="was sent, freed or taken out of its burst"):
            packet.data  # noqa: B018  # the access is what is refused
    with pytest.raises(ConfigError, match="was freed"):
        third.free()
    assert fourth.pkt_len == 0
    burst.free()
    with pytest.raises(ConfigError, match="was sent, freed or taken out"):
        fourth.data  # noqa: B018  # the access is what is refused
    mbufs.put([second._address])  # what drop(1) said was sent


def burst_free(packet: Packet) -> int:
    """Free a packet that was taken out of a burst; its address."""
    address = packet.address
    packet.free()
    return address


def test_a_burst_that_holds_an_mbuf_twice_frees_nothing(mbufs: Mempool) -> None:
    burst = Burst(4)
    burst.alloc(mbufs, 2)
    array = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_int64 * 4).from_address(burst.address))
    second = int(array[1])
    array[1] = array[0]
    with pytest.raises(ConfigError, match="the burst holds an mbuf twice: nothing was freed"):
        burst.free()
    array[1] = 0x1000
    with pytest.raises(ConfigError, match="0x1000 is not the address of an mbuf"):
        burst.free()
    array[1] = second
    burst.free()


@pytest.mark.parametrize("capacity", [1, 7, 32, 100])
def test_the_array_stands_on_a_cache_line(capacity: int) -> None:
    bursts = [Burst(capacity) for _ in range(4)]
    assert [burst.address % 64 for burst in bursts] == [0] * 4
    assert [burst.capacity for burst in bursts] == [capacity] * 4


def test_ports_fill_and_drop(mbufs: Mempool) -> None:
    source, burst = Burst(4), Burst(4)
    source.alloc(mbufs, 3)
    array = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_int64 * 4).from_address(burst.address))
    array[:3] = source.addresses
    source.drop(3)
    burst.fill(3)
    assert len(source) == 0
    assert burst.addresses.tolist() == array[:3].tolist()
    for use, told in (
        (lambda: burst.fill(5), "a burst with room for 4 packets can't hold 5"),
        (lambda: burst.drop(4), "4 packets can't have been taken out of 3"),
        (lambda: burst.remove(1), "mbuf 0x1 is not in this burst"),
    ):
        with pytest.raises(ConfigError, match=told):
            use()
    burst.free()


def test_a_broken_packet_says_what_is_wrong(mbufs: Mempool) -> None:
    packet = Packet.alloc(mbufs, b"abc")
    packet.record["pkt_len"] = 4
    with pytest.raises(InternalError, match="don't add up to pkt_len"):
        packet.check()
    packet.record["pkt_len"] = 3
    packet.check()
    packet.record["refcnt"] = 2
    with pytest.raises(ConfigError, match="only a packet of one segment with one owner can be reset"):
        packet.reset()
    packet.record["refcnt"] = 1
    packet.free()


class PacketMachine(RuleBasedStateMachine):
    """Packets of two pools beside the bytes they must show."""

    @initialize(private_size=st.sampled_from([0, 8]))
    def make(self, private_size: int) -> None:
        self.memory = private(2 << 20)
        self.pools = [
            create_pool(self.memory, "a", 40, cache_size=8, data_room=128 + 64),
            create_pool(self.memory, "b", 40, cache_size=0, data_room=128 + 32, private_size=private_size),
        ]
        self.packets: list[tuple[Packet, bytes]] = []

    def pick(self, index: int) -> tuple[Packet, bytes]:
        return self.packets.pop(index % len(self.packets))

    def room_left(self) -> bool:
        return bool(self.packets) and all(pool.available() > 12 for pool in self.pools)

    @rule(data=st.binary(max_size=32), which=st.integers(0, 1))
    @precondition(lambda self: all(pool.available() > 12 for pool in self.pools))
    def alloc(self, data: bytes, which: int) -> None:
        self.packets.append((Packet.alloc(self.pools[which], data), data))

    @rule(index=st.integers(0, 99), which=st.integers(0, 1), whole=st.booleans())
    @precondition(lambda self: self.room_left() and all(packet.nb_segs < 6 for packet, _ in self.packets))
    def derive(self, index: int, which: int, whole: bool) -> None:
        packet, data = self.packets[index % len(self.packets)]
        made = packet.clone(self.pools[which]) if whole else packet.copy(self.pools[which], 0, 40)
        self.packets.append((made, data if whole else data[:40]))

    @rule(index=st.integers(0, 99), other=st.integers(0, 99))
    @precondition(lambda self: len(self.packets) > 1 and all(packet.nb_segs < 3 for packet, _ in self.packets))
    def chain(self, index: int, other: int) -> None:
        (head, data), (tail, more) = self.pick(index), self.pick(other)
        head.chain(tail)
        self.packets.append((head, data + more))

    @rule(index=st.integers(0, 99), n=st.integers(0, 9), front=st.booleans())
    @precondition(lambda self: bool(self.packets))
    def shorten(self, index: int, n: int, front: bool) -> None:
        packet, data = self.pick(index)
        n = min(n, len(packet.segments[0 if front else -1]))
        if front:
            packet.adj(n)
        else:
            packet.trim(n)
        self.packets.append((packet, data[n:] if front else data[: len(data) - n]))

    @rule(index=st.integers(0, 99), more=st.binary(max_size=9), front=st.booleans())
    @precondition(lambda self: bool(self.packets))
    def lengthen(self, index: int, more: bytes, front: bool) -> None:
        packet, data = self.pick(index)
        alone = packet.nb_segs == 1 and packet.refcnt == 1 and not packet.ol_flags & INDIRECT
        if alone and len(more) <= (packet.headroom if front else packet.tailroom):
            if front:
                packet.prepend(more)
            else:
                packet.append(more)
            data = more + data if front else data + more
        self.packets.append((packet, data))

    @rule(index=st.integers(0, 99))
    @precondition(lambda self: bool(self.packets))
    def free(self, index: int) -> None:
        self.pick(index)[0].free()

    @rule(n=st.integers(0, 8))
    def free_as_burst(self, n: int) -> None:
        leaving, self.packets = self.packets[:n], self.packets[n:]
        Burst.of(packet for packet, _ in leaving).free()

    @invariant()
    def packets_show_their_bytes(self) -> None:
        for packet, data in getattr(self, "packets", []):
            assert bytes(packet) == data
            packet.check()
        for pool in getattr(self, "pools", []):
            pool.audit()

    def teardown(self) -> None:
        if hasattr(self, "packets"):
            for packet, _ in self.packets:
                packet.free()
            for pool in self.pools:
                assert_all_home(pool)
            self.memory.close()


TestPacketMachine = PacketMachine.TestCase
TestPacketMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
