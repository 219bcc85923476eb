# SPDX-License-Identifier: BSD-3-Clause
"""A port, its pool and the model of its device; frames to send to it."""

from __future__ import annotations

import struct

from pollmode.eal.environment import Environment
from pollmode.ethdev import PortConfig, Ports, QueueConfig
from pollmode.mbuf import Burst, Mempool, Packet, create_pool
from pollmode.net_vmxnet3.device import Vmxnet3
from pollmode.net_vmxnet3.testing import Model
from pollmode.net_vmxnet3.testing_frames import checksum, pseudo

MAC = bytes.fromhex("005056000001")
OTHER = bytes.fromhex("020000000002")
BROADCAST = b"\xff" * 6
GROUP = bytes.fromhex("01005e000001")
TCP, UDP = 6, 17
RX_RING, TX_RING = 128, 512


def frame(size: int = 64, *, to: bytes = MAC, number: int = 0) -> bytes:
    """Return a frame of no known protocol whose bytes follow from `number` and their place."""
    return to + OTHER + b"\x88\xb5" + bytes((number * 31 + place * 7) & 0xFF for place in range(size - 14))


def ip_frame(
    protocol: int = UDP,
    *,
    version: int = 4,
    payload: bytes = b"x" * 40,
    vlan: int | None = None,
    to: bytes = MAC,
    ports: tuple[int, int] = (1000, 2000),
    good: bool = True,
    partial: bool = False,
    source: int = 1,
) -> bytes:
    """Return a frame with IP and UDP or TCP; `partial` leaves the pseudo header's sum in the checksum field."""
    if version == 4:
        addresses = bytes([10, 0, 0, source, 10, 0, 0, 2])
    else:
        addresses = bytes(15) + bytes([source]) + bytes(15) + bytes([2])
    if protocol == UDP:
        header, place = struct.pack(">HHHH", *ports, 8 + len(payload), 0), 6
    else:
        header, place = struct.pack(">HHIIBBHHH", *ports, 1, 0, 0x50, 0x18, 512, 0, 0), 16
    data = header + payload
    sums = pseudo(addresses, protocol, len(data))
    value = ~checksum(sums) & 0xFFFF if partial else checksum(sums + data)
    data = data[:place] + struct.pack(">H", value if good else value ^ 0x5555) + data[place + 2 :]
    if version == 4:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), 1, 0, 64, protocol, 0) + addresses
        ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    else:
        ip = struct.pack(">IHBB", 6 << 28, len(data), protocol, 64) + addresses
    tag = b"" if vlan is None else struct.pack(">HH", 0x8100, vlan)
    return to + OTHER + tag + (b"\x08\x00" if version == 4 else b"\x86\xdd") + ip + data


class Rig:
    """A started port of the driver, and the device at its other side."""

    def __init__(
        self,
        environment: Environment,
        ports: Ports,
        number: int = 0,
        *,
        revision: int = 7,
        rx_queues: int = 1,
        tx_queues: int = 1,
        config: PortConfig | None = None,
        data_room: int = 2048 + 128,
        mbufs: int = 1024,
        rx_descriptors: int = RX_RING,
        tx_descriptors: int = TX_RING,
        start: bool = True,
        queue_config: QueueConfig | None = None,
        **model: int,
    ) -> None:
        self.environment, self.ports = environment, ports
        self.pool: Mempool = create_pool(environment.memory, f"pool{number}", mbufs, cache_size=0, data_room=data_room)
        self.model = Model(environment.memory, revision=revision, **model)
        self.device = Vmxnet3(f"net_vmxnet3_{number}", self.model.device, environment)
        self.port = ports.add(self.device)
        self.sizes = rx_descriptors, tx_descriptors
        self.queue_config = queue_config
        self.configure(rx_queues, tx_queues, config)
        if start:
            self.port.start()

    def configure(self, rx_queues: int = 1, tx_queues: int = 1, config: PortConfig | None = None) -> None:
        """Configure the port and set up its queues."""
        self.port.configure(rx_queues, tx_queues, config)
        for queue in range(rx_queues):
            self.port.setup_rx_queue(queue, self.sizes[0], self.pool, self.queue_config)
        for queue in range(tx_queues):
            self.port.setup_tx_queue(queue, self.sizes[1], self.queue_config)

    def packets(self, n: int = 32, queue: int = 0) -> list[Packet]:
        """Receive, and return the packets, which are the caller's."""
        burst = Burst(n)
        self.port.rx(queue, burst)
        packets = [burst.take(0) for _ in range(len(burst))]
        for packet in packets:
            packet.check()
        return packets

    def receive(self, n: int = 32, queue: int = 0) -> list[bytes]:
        """Receive, free, and return the frames."""
        packets = self.packets(n, queue)
        frames = [bytes(packet) for packet in packets]
        for packet in packets:
            packet.free()
        return frames

    def packet(self, *segments: bytes, flags: int = 0, offload: int = 0, tag: int = 0) -> Packet:
        """Return a packet of these segments, with ol_flags, tx_offload and vlan_tci."""
        first = Packet.alloc(self.pool, segments[0])
        for data in segments[1:]:
            first.chain(Packet.alloc(self.pool, data))
        first.ol_flags, first.tx_offload, first.vlan_tci = flags, offload, tag
        return first

    def send(self, *packets: Packet, queue: int = 0) -> int:
        """Send packets; return how many are not the caller's any more. The others are freed."""
        burst = Burst.of(packets)
        sent = self.port.tx(queue, burst)
        burst.free()
        return sent

    @property
    def broken(self) -> list[str]:
        """What the port says of its broken queues."""
        return [str(fault) for fault in self.device.faults()]

    def heal(self) -> None:
        """Reset the port; every mbuf that is not posted again must be back."""
        self.port.poll()
        self.port.reset()
        assert self.broken == []
        posted = sum(queue.outstanding() for queue in self.device.queues("rx"))
        assert self.pool.in_use() == posted
