# SPDX-License-Identifier: BSD-3-Clause
"""A stock QEMU as the host of PCI devices: registers, memory, doorbells, interrupts, links, and its end."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bus_pci.wire import MAC, RX_DOORBELL, RX_VECTOR, TX_DOORBELL, TX_VECTOR, VMXNET3, Wire
from support.qemu import require_qemu

from pollmode.bus_pci import Interrupt, PciDevice, PciId, ring_doorbell
from pollmode.bus_pci.qemu import QemuHost, QemuNic
from pollmode.eal.errors import ConfigError, HostError, UnsupportedError
from pollmode.eal.jit import compiled
from pollmode.eal.memory import Memory
from pollmode.eal.options import EalOptions

pytestmark = pytest.mark.peer
PATIENCE = 60.0
FRAME = b"\xff" * 6 + MAC + b"\x88\xb5" + bytes(range(100))

Start = Callable[..., QemuHost]


@compiled
def ring(doorbell: int, value: int) -> int:
    ring_doorbell(doorbell, value)
    return 0


@pytest.fixture
def memory() -> Iterator[Memory]:
    with Memory.create(EalOptions(no_huge=True, memory_mb=64, pci_hosts=("qemu:",))) as made:
        yield made


@pytest.fixture
def start(memory: Memory) -> Iterator[Start]:
    require_qemu()
    with contextlib.ExitStack() as stack:

        def started(*texts: str) -> QemuHost:
            host = QemuHost([QemuNic.parse(text) for text in texts], memory)
            stack.callback(host.close)
            return host

        yield started


@pytest.fixture
def peer() -> Iterator[tuple[socket.socket, int]]:
    """Our end of a wire, and the descriptor of QEMU's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.settimeout(PATIENCE)
    with ours, theirs:
        yield ours, theirs.fileno()


def opened(host: QemuHost, number: int = 0) -> PciDevice:
    device = host.open(host.scan()[number])
    device.set_master(True)
    return device


def wait(interrupt: Interrupt) -> int:
    assert select.select([interrupt.fd], [], [], PATIENCE)[0], "the interrupt does not come"
    return interrupt.acknowledge()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_devices_are_found_in_the_order_of_the_command_line(start: Start) -> None:
    found = start(VMXNET3, "device=e1000", "device=virtio-net-pci,disable-legacy=on").scan()
    assert [str(one.address) for one in found] == ["0000:00:01.0", "0000:00:02.0", "0000:00:03.0"]
    assert [str(one.id) for one in found] == ["15ad:07b0", "8086:100e", "1af4:1041"]
    assert found[0].id == PciId(0x15AD, 0x07B0, 0x15AD, 0x07B0, 0x020000)
    assert (found[0].told, found[0].why_not) == ("QEMU's vmxnet3", "")


def test_bars_have_their_sizes_and_registers_answer(start: Start) -> None:
    device = opened(start(VMXNET3))
    assert {index: bar.size for index, bar in device.bars.items()} == {0: 0x1000, 1: 0x1000, 2: 0x2000}
    assert {bar.mapped for bar in device.bars.values()} == {0}
    assert device.bar(1).read32(0) == 1, "the revision it offers"
    assert device.bar(1).read32(0x28) == int.from_bytes(MAC[:4], "little")
    assert not device.gone
    device.close()


def test_ports_are_registers_too(start: Start) -> None:
    device = opened(start("device=virtio-net-pci,mac=52:54:00:11:22:33"))
    ports = device.bar(0)
    assert ports.port
    device.bar(0).write8(0x12, 1)  # virtio 1.2, 4.1.4.8: device status
    assert (ports.read8(0x12), ports.read16(0x12) & 0xFF) == (1, 1)
    ring(device.doorbell(0, 0x12, 1), 3)
    assert ports.read8(0x12) == 3
    device.close()


def test_a_frame_leaves_by_a_doorbell_from_compiled_code(start: Start, peer: tuple[socket.socket, int]) -> None:
    device = opened(start(f"{VMXNET3},netdev=fd:{peer[1]}"))
    interrupts = device.interrupts(3)
    wire = Wire(device)
    ring(device.doorbell(0, TX_DOORBELL), wire.fill(FRAME))
    assert peer[0].recv(2048) == FRAME
    assert wait(interrupts[TX_VECTOR]) == 1
    assert not select.select([interrupts[RX_VECTOR].fd], [], [], 0)[0]
    wire.close()
    device.close()


def test_a_frame_comes_into_our_memory_and_raises_its_vector(start: Start, peer: tuple[socket.socket, int]) -> None:
    device = opened(start(f"{VMXNET3},netdev=fd:{peer[1]}"))
    interrupts = device.interrupts(3)
    wire = Wire(device)
    ring(device.doorbell(0, RX_DOORBELL), wire.post())
    peer[0].send(FRAME)
    assert wait(interrupts[RX_VECTOR]) == 1
    assert wire.received() == FRAME
    wire.close()
    device.close()


def test_a_masked_vector_waits(start: Start, peer: tuple[socket.socket, int]) -> None:
    device = opened(start(f"{VMXNET3},netdev=fd:{peer[1]}"))
    sent = device.interrupts(3)[TX_VECTOR]
    sent.mask()
    wire = Wire(device)
    ring(device.doorbell(0, TX_DOORBELL), wire.fill(FRAME))
    assert peer[0].recv(2048) == FRAME
    assert device.bar(1).read32(0) == 1, "QEMU is past the frame"
    assert not select.select([sent.fd], [], [], 0)[0]
    sent.unmask()
    assert wait(sent) == 1
    wire.close()
    device.close()


def test_interrupts_are_set_up_again_and_taken_away(start: Start) -> None:
    device = opened(start(VMXNET3))
    for count in (25, 1, 0, 3):
        assert len(device.interrupts(count)) == count
    with pytest.raises(UnsupportedError, match="can have 25 interrupts"):
        device.interrupts(26)
    device.close()


def test_two_devices_on_a_hub_hear_each_other(start: Start) -> None:
    host = start(f"{VMXNET3},netdev=hub:0", "device=vmxnet3,netdev=hub:0")
    sender, receiver = opened(host, 0), opened(host, 1)
    came = receiver.interrupts(3)[RX_VECTOR]
    one, other = Wire(sender), Wire(receiver)
    ring(receiver.doorbell(0, RX_DOORBELL), other.post())
    ring(sender.doorbell(0, TX_DOORBELL), one.fill(FRAME))
    assert wait(came) == 1
    assert other.received() == FRAME
    for wire in (one, other):
        wire.close()


@pytest.mark.parametrize("listens", [False, True], ids=["stream", "listen"])
def test_peers_on_stream_sockets(start: Start, tmp_path: Path, listens: bool) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as ours:
        if listens:
            device = opened(start(f"{VMXNET3},netdev=listen:{path}"))
            ours.connect(path)
            other = ours
        else:
            ours.bind(path)
            ours.listen()
            device = opened(start(f"{VMXNET3},netdev=stream:{path}"))
            other = ours.accept()[0]
        with other:
            other.settimeout(PATIENCE)
            came = device.interrupts(3)[RX_VECTOR]
            wire = Wire(device)
            ring(device.doorbell(0, RX_DOORBELL), wire.post())
            other.sendall(len(FRAME).to_bytes(4, "big") + FRAME)
            wait(came)  # only then has QEMU taken note of the connection, and drops nothing
            assert wire.received() == FRAME
            ring(device.doorbell(0, TX_DOORBELL), wire.fill(FRAME))
            assert other.recv(4, socket.MSG_WAITALL) == len(FRAME).to_bytes(4, "big")
            assert other.recv(len(FRAME), socket.MSG_WAITALL) == FRAME


def test_peers_on_datagram_sockets_in_the_file_system(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(str(tmp_path / "peer"))
        ours.settimeout(PATIENCE)
        device = opened(start(f"{VMXNET3},netdev=dgram:{tmp_path / 'ours'}:{tmp_path / 'peer'}"))
        wire = Wire(device)
        ring(device.doorbell(0, TX_DOORBELL), wire.fill(FRAME))
        assert ours.recv(2048) == FRAME


def test_the_link_is_set_through_the_control_channel(start: Start, peer: tuple[socket.socket, int]) -> None:
    host = start(f"{VMXNET3},netdev=fd:{peer[1]}")
    device = opened(host)
    event = device.interrupts(3)[2]
    wire = Wire(device)
    host.control("set_link", name="net0", up=False)
    wait(event)
    device.bar(1).write32(0x20, 0xF00D0002)  # GET_LINK
    assert device.bar(1).read32(0x20) & 1 == 0
    with pytest.raises(ConfigError, match="QEMU refuses set_link: Device 'net9' not found"):
        host.control("set_link", name="net9", up=False)
    wire.close()


def test_a_killed_qemu_is_a_removal(start: Start) -> None:
    host = start(VMXNET3, "device=e1000")
    device, other = opened(host, 0), opened(host, 1)
    device.interrupts(2)
    doorbell = device.doorbell(0, TX_DOORBELL)
    told: list[str] = []
    device.on_removed(lambda: told.append("device"))
    other.on_removed(lambda: told.append("other"))
    host.channel.kill()
    until(lambda: told == ["device", "other"])
    assert (device.bar(1).read32(0), device.config_read(0, 2), device.gone) == (0xFFFFFFFF, 0xFFFF, True)
    ring(doorbell, 1)
    device.bar(1).write32(0, 1)
    assert device.reset() is False
    device.close()
    assert host.scan() == []
    with pytest.raises(HostError, match="QEMU does not answer query-status"):
        host.control("query-status")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("device=vmxnet33", "'vmxnet33' is not a valid device model name"),
        ("device=vmxnet3,macc=1", "Property 'vmxnet3.macc' not found"),
        ("device=vmxnet3,mac=no", "mac"),
        ("device=vmxnet3,netdev=[bogus,x=1]", "bogus"),
        ("device=vmxnet3,netdev=fd:999", "netdev=fd:999: this process has no such descriptor open"),
    ],
)
def test_what_qemu_does_not_take_is_told_in_its_words(start: Start, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        start(text)
    assert "\n" not in str(raised.value)


def descriptors() -> list[str]:
    """Return what this process has open, without the pipes and sockets of others' numbers."""
    gc.collect()  # what earlier tests left goes now, not in between
    return sorted(
        re.sub(r"\d+", "", os.readlink(f"/proc/self/fd/{fd}"))
        for fd in map(int, os.listdir("/proc/self/fd"))
        if os.path.lexists(f"/proc/self/fd/{fd}")
    )


def test_nothing_is_left_when_it_ends(memory: Memory, start: Start) -> None:
    before = descriptors()
    zones = len(memory.zones())
    host = start(VMXNET3)
    device = opened(host)
    device.interrupts(25)
    device.doorbell(0, TX_DOORBELL)
    process = host.channel.process
    device.close()
    host.close()
    host.close()
    assert process is not None
    assert process.returncode is not None
    assert descriptors() == before
    assert len(memory.zones()) == zones


def test_a_signal_from_the_terminal_is_not_for_qemu(start: Start) -> None:
    process = start(VMXNET3).channel.process
    assert process is not None
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)


PROGRAM = """
import os, sys, time
from pollmode.bus_pci.qemu import QemuHost, QemuNic
from pollmode.eal.memory import Memory
from pollmode.eal.options import EalOptions
memory = Memory.create(EalOptions(no_huge=True, memory_mb=64, pci_hosts=("qemu:",)))
host = QemuHost([QemuNic("vmxnet3")], memory)
print(host.channel.process.pid, flush=True)
time.sleep(600)
"""


def test_qemu_ends_with_a_process_that_is_killed() -> None:
    require_qemu()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        handle = os.pidfd_open(pid)
        program.kill()
    assert select.select([handle], [], [], PATIENCE)[0], "QEMU outlives the process that started it"
    os.close(handle)
