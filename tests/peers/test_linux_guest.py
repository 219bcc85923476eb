# SPDX-License-Identifier: BSD-3-Clause
"""Our testpmd with net_vhost serves the NICs of a Linux guest: somebody else's front end, and the kernel's driver.

One guest whose six NICs differ in what they negotiate, wired in pairs through `io`; then guests that reset, end and
return, and a testpmd that does.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.guest import PATIENCE, Guest, Nic, require_guest, write_initramfs
from support.program import Program

from pollmode.vhost.virtqueue import (
    VIRTIO_F_VERSION_1,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_RING_F_EVENT_IDX,
    VIRTIO_RING_F_INDIRECT_DESC,
)

TESTPMD = str(Path(sys.executable).parent / "testpmd")
pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]  # an emulated CPU on a busy machine

_serial = itertools.count()

NICS = {
    "everything": "",
    "not-mergeable": "mrg_rxbuf=off",
    "no-indirect-tables": "indirect_desc=off",
    "no-event-index": "event_idx=off",
    "rings-of-1024": "rx_queue_size=1024,tx_queue_size=1024",
    "legacy": "disable-modern=on,disable-legacy=off,mrg_rxbuf=off",
}
"""What each NIC of the wired guest is told; 0 and 1, 2 and 3, 4 and 5 are the ends of a wire."""

LACKS = {
    VIRTIO_NET_F_MRG_RXBUF: {"not-mergeable", "legacy"},
    VIRTIO_RING_F_INDIRECT_DESC: {"no-indirect-tables"},
    VIRTIO_RING_F_EVENT_IDX: {"no-event-index"},
    VIRTIO_F_VERSION_1: {"legacy"},
}
"""By feature bit, the NICs that must not have it; all others must."""


def start_testpmd(*vdevs: str, app: list[str]) -> Program:
    """Start our testpmd with these ports and wait until it forwards."""
    prefix = f"guest{os.getpid()}x{next(_serial)}"
    eal = ["--no-huge", "--in-memory", "--no-pci", "-m", "128", "--lcores", "0@0,1@1", "--file-prefix", prefix]
    eal += [word for vdev in vdevs for word in ("--vdev", vdev)]
    options = ["--total-num-mbufs=8192", "--disable-link-check", "--stats-period=1", *app]
    program = Program([TESTPMD, *eal, "--", *options])
    try:
        program.wait_for("NIC statistics for port 0", seconds=PATIENCE)
    except AssertionError:
        program.close()
        raise
    return program


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guests' file system."""
    require_guest()
    return write_initramfs(tmp_path_factory.mktemp("guest"))


# --- one guest, six NICs, three wires ---------------------------------------------------------------------------------


class Wires:
    """A guest whose NICs each have a network of their own, and the testpmd that joins them in pairs."""

    def __init__(self, initramfs: Path, folder: Path) -> None:
        paths = [str(folder / str(number)) for number in range(len(NICS))]
        vdevs = [f"net_vhost{number},iface={path}" for number, path in enumerate(paths)]
        jumbo = ["--max-pkt-len=9200", "--enable-scatter", "--tx-offloads=0x8000"]
        self.testpmd = start_testpmd(*vdevs, app=[*jumbo, "--display-xstats=tx_q0_dropped_packets"])
        nics = [Nic(path, options=options) for path, options in zip(paths, NICS.values(), strict=True)]
        self.guest = Guest(initramfs, *nics)

    def set_up(self) -> None:
        """Wait for the guest; give each NIC a network, an address, and the time to be heard."""
        self.guest.wait_for_boot()
        self.features = self.guest.run("cat /sys/class/net/eth*/device/features").split()
        for nic in range(len(NICS)):
            self.guest.isolate(nic)
            self.run(nic, f"ip addr add {self.address(nic)}/24 dev eth{nic} && ip link set eth{nic} up")
            self.run(nic, "httpd -p 80 -h /tmp")
        for nic in range(len(NICS)):
            self.run(nic, f"until ping -c 1 -W 1 {self.address(nic ^ 1)}; do :; done")
        self.guest.run("dd if=/dev/urandom of=/tmp/data bs=64k count=32")

    @staticmethod
    def address(nic: int) -> str:
        return f"10.0.{nic // 2}.{nic % 2 + 1}"

    def run(self, nic: int, command: str) -> str:
        """Run a line of shell in the network of a NIC."""
        return self.guest.run(self.guest.within(nic, command))

    def close(self) -> None:
        self.guest.close()
        self.testpmd.close()


@pytest.fixture(scope="module")
def wires(initramfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    made = Wires(initramfs, tmp_path_factory.mktemp("v"))
    try:
        made.set_up()
        yield made
        made.guest.kill()
        assert made.testpmd.interrupt() == 0, made.testpmd.log()
    finally:
        made.close()


@pytest.mark.parametrize("name", NICS)
def test_guest_negotiates_what_its_nic_offers(wires: Wires, name: str) -> None:
    features = wires.features[list(NICS).index(name)]
    assert {bit: features[bit] == "1" for bit in LACKS} == {bit: name not in without for bit, without in LACKS.items()}


@pytest.mark.parametrize("name", NICS)
def test_tcp_stream_arrives_unchanged(wires: Wires, name: str) -> None:
    nic = list(NICS).index(name)
    get = f"printf 'GET /data HTTP/1.0\\r\\n\\r\\n' | nc {wires.address(nic ^ 1)} 80"
    wires.run(nic, f"{get} | tail -c $(stat -c %s /tmp/data) | cmp - /tmp/data")


def test_frames_of_9000_bytes_pass_between_mergeable_nics(wires: Wires) -> None:
    for nic in (2, 3):
        wires.run(nic, f"ip link set eth{nic} mtu 9000")
    for nic in (2, 3):
        wires.run(nic, f"ping -c 5 -A -s 8972 {wires.address(nic ^ 1)} | grep '5 packets received'")


def test_frame_no_buffer_of_the_guest_can_hold_is_dropped_and_counted(wires: Wires) -> None:
    wires.run(0, "ip link set eth0 mtu 9000")
    status, said = wires.guest.ask(wires.guest.within(0, f"ping -c 2 -i 0.1 -W 1 -s 8972 {wires.address(1)}"))
    assert (status, " 0 packets received" in said) == (1, True), said
    wires.testpmd.wait_for(r"statistics for port 1 ((?!statistics for).)*tx_q0_dropped_packets +[1-9]")
    wires.run(0, f"ping -c 5 -A -s 1472 {wires.address(1)} | grep '5 packets received'")


# --- ends that end and return -----------------------------------------------------------------------------------------

ECHO = "10.0.0.2"  # anybody: `icmpecho` answers for every address


class Echo:
    """A guest with one NIC of two queue pairs, and our testpmd that answers its pings; both can be started again."""

    def __init__(self, initramfs: Path, path: str, *, qemu_listens: bool) -> None:
        self._initramfs = initramfs
        self._nic = Nic(path, queues=2, server=qemu_listens)
        self._vdev = f"net_vhost0,iface={path},queues=2,client={int(qemu_listens)}"
        self._started: list[Program] = []

    def testpmd(self) -> Program:
        """Start our testpmd."""
        counters = "rx_q0_good_packets,rx_q1_good_packets"
        app = ["--forward-mode=icmpecho", "--rxq=2", "--txq=2", f"--display-xstats={counters}"]
        self._started.append(start_testpmd(self._vdev, app=app))
        return self._started[-1]

    def guest(self) -> Guest:
        """Boot a guest that can be pinged."""
        made = Guest(self._initramfs, self._nic, cpus=2)
        self._started.append(made)
        made.wait_for_boot()
        answers(made)
        return made

    def close(self) -> None:
        for program in reversed(self._started):
            program.close()


@pytest.fixture
def echo(initramfs: Path, socket_path: str) -> Iterator[Callable[..., Echo]]:
    made: list[Echo] = []

    def make(*, qemu_listens: bool) -> Echo:
        made.append(Echo(initramfs, socket_path, qemu_listens=qemu_listens))
        return made[-1]

    yield make
    for each in made:
        each.close()


def answers(guest: Guest) -> None:
    """Give the guest its address and wait until its pings are answered on both queues: each CPU sends on its own."""
    guest.run("ip addr add 10.0.0.1/24 dev eth0 2>/dev/null; ip link set eth0 up")
    for cpu in (1, 2):
        guest.run(f"until taskset {cpu} ping -c 1 -W 1 {ECHO}; do :; done")
        guest.run(f"taskset {cpu} ping -c 10 -A {ECHO} | grep '10 packets received'")


def counted(testpmd: Program) -> None:
    """Wait until our testpmd has received on both queues."""
    testpmd.wait_for(r"rx_q0_good_packets +[1-9]\d* +\d+\s+rx_q1_good_packets +[1-9]")


def test_guest_changes_its_queues_reloads_its_driver_and_reboots(echo: Callable[..., Echo]) -> None:
    ends = echo(qemu_listens=False)
    testpmd = ends.testpmd()
    guest = ends.guest()
    counted(testpmd)
    for queues in (1, 2):
        guest.run(f"ethtool -L eth0 combined {queues}")
        answers(guest)
    guest.run("rmmod virtio_net && insmod /modules/virtio_net.ko")
    answers(guest)
    guest.reboot()
    answers(guest)
    assert testpmd.interrupt() == 0, testpmd.log()
    assert "sent away" not in testpmd.log()


@pytest.mark.parametrize("qemu_listens", [False, True], ids=["qemu-connects", "qemu-listens"])
def test_either_end_dies_and_returns(echo: Callable[..., Echo], qemu_listens: bool) -> None:
    ends = echo(qemu_listens=qemu_listens)
    testpmd = ends.testpmd()
    guest = ends.guest()
    testpmd.kill()
    testpmd = ends.testpmd()
    answers(guest)
    counted(testpmd)
    guest.kill()
    ends.guest()
    assert testpmd.interrupt() == 0, testpmd.log()
    assert "sent away" not in testpmd.log()
