# SPDX-License-Identifier: BSD-3-Clause
"""net_pcap: what a file holds is received, what is sent is in a file, and nothing is lost without a name."""

from __future__ import annotations

import os
import resource
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.ethdev import Port, Ports
from pollmode.mbuf import Burst, Mempool, Packet, create_pool
from pollmode.net import pcap
from pollmode.net_pcap.layout import BUFFER_SIZE

Attach = Callable[..., Port]
PATIENCE = 60.0


def frame(number: int, size: int = 60) -> bytes:
    return bytes(12) + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(i & 0xFF for i in range(size - 18))


def capture(path: Path, packets: list[bytes]) -> Path:
    records = [struct.pack("<IIII", n, 0, len(packet), len(packet)) + packet for n, packet in enumerate(packets)]
    path.write_bytes(pcap.file_header() + b"".join(records))
    return path


def receive(port: Port, most: int = 1 << 20, queue: int = 0, burst_size: int = 32) -> list[bytes]:
    """Receive until nothing comes, at most so many bursts' worth."""
    packets: list[bytes] = []
    burst = Burst(burst_size)
    while len(packets) < most and port.rx(queue, burst):
        packets += [b"".join(bytes(segment) for segment in packet.segments) for packet in burst]
        burst.free()
    return packets


def send(port: Port, pool: Mempool, packets: list[bytes | list[bytes]], queue: int = 0) -> int:
    burst = Burst(len(packets))
    for packet in packets:
        parts = packet if isinstance(packet, list) else [packet]
        head = Packet.alloc(pool, parts[0])
        for part in parts[1:]:
            head.chain(Packet.alloc(pool, part))
        burst.append(head)
    taken = port.tx(queue, burst)
    burst.free()
    return taken


def contents(path: Path) -> list[bytes]:
    found = pcap.read(str(path))
    return [found[number] for number in range(len(found))]


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _no_mbuf_is_missing(pool: Mempool) -> Iterator[None]:
    yield
    assert pool.audit().available == pool.count


@pytest.mark.parametrize("burst", [1, 7, 32, 64])
def test_a_file_is_received_once_in_order(burst: int, attach: Attach, tmp_path: Path) -> None:
    packets = [frame(n, 60 + 13 * n) for n in range(100)]
    path = capture(tmp_path / "in.pcap", packets)
    port = attach(f"net_pcap0,rx_pcap={path}")
    assert receive(port, burst_size=burst) == packets
    assert receive(port) == []
    stats = port.stats()
    assert (stats.ipackets, stats.ibytes, stats.rx_nombuf) == (100, sum(map(len, packets)), 0)
    port.stop()
    port.start()
    assert receive(port) == packets, "started again, the file begins again"


def test_received_mbufs_have_clean_headers(attach: Attach, pool: Mempool, tmp_path: Path) -> None:
    for offset in range(24):  # ol_flags to hash_rss
        pool.column(np.dtype("u1"), 24 + offset)[:] = 0xA5
    attach("net_null0")
    port = attach(f"net_pcap0,rx_pcap={capture(tmp_path / 'in.pcap', [frame(1), frame(2)])}")
    burst = Burst(4)
    assert port.rx(0, burst) == 2
    expected = {"pkt_len": 60, "data_len": 60, "port": 1, "nb_segs": 1, "refcnt": 1, "ol_flags": 0, "vlan_tci": 0}
    for field, value in expected.items():
        assert burst.column(field).tolist() == [value] * 2, field
    burst.free()


def test_infinite_rx_goes_round(attach: Attach, tmp_path: Path) -> None:
    packets = [frame(n, 60 + n) for n in range(5)]
    port = attach(f"net_pcap0,rx_pcap={capture(tmp_path / 'in.pcap', packets)},infinite_rx=1")
    assert receive(port, most=96) == [packets[n % 5] for n in range(96)]
    assert port.xstats()["rx_q0_file_rounds"] == 19


def test_long_packets_are_chains(attach: Attach, tmp_path: Path) -> None:
    packets = [frame(1, 9000), frame(2, 2048), frame(3, 2049), frame(4, 60)]
    port = attach(f"net_pcap0,rx_pcap={capture(tmp_path / 'in.pcap', packets)}")
    burst = Burst(8)
    assert port.rx(0, burst) == 4
    assert burst.column("nb_segs").tolist() == [5, 1, 2, 1]
    for packet, expected in zip(burst, packets, strict=True):
        packet.check()
        assert b"".join(bytes(segment) for segment in packet.segments) == expected
    burst.free()


def test_packets_wait_for_mbufs(attach: Attach, environment: Environment, tmp_path: Path) -> None:
    small = create_pool(environment.memory, "small", 12, cache_size=0)
    packets = [frame(n, 60 if n % 3 else 5000) for n in range(9)]
    port = attach(f"net_pcap0,rx_pcap={capture(tmp_path / 'in.pcap', packets)}", mbufs=small)
    assert receive(port) == packets
    assert port.stats().rx_nombuf > 0
    assert small.available() == 12


def test_several_files_are_several_queues(attach: Attach, pool: Mempool, tmp_path: Path) -> None:
    ins = [capture(tmp_path / f"in{n}.pcap", [frame(n)] * (n + 1)) for n in range(3)]
    outs = [tmp_path / f"out{n}.pcap" for n in range(3)]
    devargs = [f"rx_pcap={path}" for path in ins] + [f"tx_pcap={path}" for path in outs]
    port = attach(f"net_pcap0,{','.join(devargs)}", queues=3)
    for queue in range(3):
        packets = receive(port, queue=queue)
        assert packets == [frame(queue)] * (queue + 1)
        assert send(port, pool, list(packets), queue=queue) == queue + 1
    port.stop()
    assert [contents(path) for path in outs] == [[frame(n)] * (n + 1) for n in range(3)]
    assert port.stats().q_ipackets == port.stats().q_opackets == (1, 2, 3)


def test_what_is_sent_is_in_the_file_with_its_time(attach: Attach, pool: Mempool, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    path.write_bytes(b"what was there before")
    port = attach(f"net_pcap0,tx_pcap={path}")
    assert receive(port) == []
    before = time.time_ns()
    whole = frame(2, 3000)
    assert send(port, pool, [frame(1), [whole[:7], whole[7:1500], whole[1500:]], frame(3, 1514)]) == 3
    after = time.time_ns()
    wait_until(lambda: path.stat().st_size == 24 + 3 * 16 + 60 + 3000 + 1514)
    assert contents(path) == [frame(1), whole, frame(3, 1514)]
    stamps = pcap.read(str(path)).packets["nanoseconds"]
    assert (before <= stamps).all()
    assert (stamps <= after).all()
    assert (port.stats().opackets, port.stats().obytes) == (3, 60 + 3000 + 1514)
    port.stop()
    port.start()
    assert send(port, pool, [frame(4)]) == 1
    port.stop()
    assert contents(path) == [frame(1), whole, frame(3, 1514), frame(4)], "started again, the file goes on"


def test_what_goes_round_the_memory_is_written_whole(attach: Attach, pool: Mempool, tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    port = attach(f"net_pcap0,tx_pcap={path}")
    sizes = [1514, 60, 1999, 700]
    sent: list[bytes] = []
    number = 0
    while sum(map(len, sent)) < 1.5 * BUFFER_SIZE:
        packets = [frame(number + n, sizes[(number + n) % 4]) for n in range(64)]
        taken = send(port, pool, list(packets))
        sent += packets[:taken]
        number += taken
    port.stop()
    assert contents(path) == sent
    assert port.stats().opackets == len(sent)


def test_without_a_file_to_send_into_everything_is_taken(attach: Attach, pool: Mempool, tmp_path: Path) -> None:
    port = attach(f"net_pcap0,rx_pcap={capture(tmp_path / 'in.pcap', [frame(1)])}")
    assert send(port, pool, [frame(1), [frame(2), frame(3)]]) == 2
    assert (port.stats().opackets, port.stats().obytes) == (2, 180)


def test_a_file_that_takes_no_more_is_an_error_once_and_counted(
    attach: Attach, pool: Mempool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.pcap"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    port = attach(f"net_pcap0,tx_pcap={path}")
    assert send(port, pool, [frame(0)]) == 1
    wait_until(lambda: path.stat().st_size == 24 + 76)
    # Python ignores SIGXFSZ, so that a write beyond the limit fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (24 + 10 * 76 + 30, before[1]))
    try:
        assert send(port, pool, [frame(n) for n in range(1, 33)]) == 32
        wait_until(lambda: port.stats().oerrors == 23)
        wait_until(lambda: send(port, pool, [frame(99)]) == 1 and port.xstats()["tx_q0_file_error_packets"] > 24)
        port.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(path) == [frame(n) for n in range(10)], "what is in the file is whole"
    stats = port.stats()
    assert (stats.opackets, stats.obytes) == (10, 600)
    told = capfd.readouterr().err
    assert told.count("out.pcap: File too large; what is sent from now on is dropped and counted") == 1


def test_a_disk_that_is_full_from_the_beginning_is_refused(attach: Attach) -> None:
    with pytest.raises(Exception, match="tx_pcap=/dev/full: No space left on device"):
        attach("net_pcap0,tx_pcap=/dev/full")


@pytest.mark.parametrize("key", ["iface=lo", "rx_iface=lo", "tx_iface=lo", "rx_iface_in=lo", "phy_mac=1"])
def test_interfaces_are_another_drivers(key: str, attach: Attach) -> None:
    with pytest.raises(UnsupportedError, match="not supported yet: use --vdev net_af_packet0,iface=NAME"):
        attach(f"net_pcap0,{key}")


@pytest.mark.parametrize(
    ("devargs", "told"),
    [
        ("", "neither rx_pcap nor tx_pcap; write net_pcap0,rx_pcap=FILE,tx_pcap=FILE"),
        ("rx_pcap=", "'rx_pcap' has no value"),
        ("rx_pcap={folder}/none", "none: No such file or directory"),
        ("rx_pcap={folder}", "Is a directory"),
        ("rx_pcap={folder}/junk", "junk: offset 0: 0x6b6e756a begins neither a pcap nor a pcapng file"),
        ("rx_pcap={folder}/cut", "cut: offset 100: packet 2 claims 60 bytes, and the file has 59 more"),
        ("tx_pcap={folder}", "tx_pcap={folder}: Is a directory"),
        ("tx_pcap={folder}/none/out", "No such file or directory"),
        ("tx_pcap={folder}/fifo", "tx_pcap={folder}/fifo"),
        ("rx_pcap={folder}/good,tx_pcap={folder}/good", "is another queue's file too; it would be overwritten"),
        ("tx_pcap={folder}/out,tx_pcap={folder}/./out", "is another queue's file too"),
        ("tx_pcap={folder}/out,infinite_rx=1", "infinite_rx=1 needs a file to receive: rx_pcap=FILE"),
        ("rx_pcap={folder}/empty,infinite_rx=1", "empty holds no packet, and infinite_rx=1 needs one"),
        ("rx_pcap={folder}/good,infinite_rx=2", "infinite_rx=2 is not valid: it must be 0 or 1"),
        ("rx_pcap={folder}/good,infinite_rx=1,infinite_rx=1", "'infinite_rx' is given twice"),
        (",".join(["rx_pcap={folder}/good"] * 17), "rx_pcap is given 17 times, at most 16"),
    ],
)
def test_what_is_wrong_is_named_and_leaves_nothing(
    devargs: str, told: str, attach: Attach, ports: Ports, tmp_path: Path
) -> None:
    capture(tmp_path / "good", [frame(1)])
    capture(tmp_path / "cut", [frame(1), frame(2)])
    os.truncate(tmp_path / "cut", (tmp_path / "cut").stat().st_size - 1)
    capture(tmp_path / "empty", [])
    (tmp_path / "junk").write_bytes(b"junk" * 20)
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError) as refused:
        attach(f"net_pcap0,{devargs.format(folder=tmp_path)}")
    assert told.format(folder=tmp_path) in str(refused.value)
    assert len(ports) == 0
    assert len(os.listdir("/proc/self/fd")) == before
    assert contents(tmp_path / "good") == [frame(1)]


def test_packets_without_an_ethernet_header_are_left_out_and_said(
    attach: Attach, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = capture(tmp_path / "in.pcap", [b"", frame(1), bytes(13), bytes(14)])
    port = attach(f"net_pcap0,rx_pcap={path}")
    assert receive(port) == [frame(1), bytes(14)]
    assert "in.pcap: 2 of 4 packets are left out" in capfd.readouterr().err


def test_closing_gives_everything_back(attach: Attach, environment: Environment, ports: Ports, tmp_path: Path) -> None:
    zones = {zone.name for zone in environment.memory.zones()}
    descriptors = len(os.listdir("/proc/self/fd"))
    port = attach(f"net_pcap0,tx_pcap={tmp_path / 'out.pcap'}")
    assert str(port.link()) == "Link up at 10 Gbps FDX Fixed"
    port.stop()
    assert not port.link().up
    ports.remove(port)
    assert {zone.name for zone in environment.memory.zones()} == zones
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.peer
def test_tcpdump_reads_what_was_written(attach: Attach, pool: Mempool, tmp_path: Path) -> None:
    if not shutil.which("tcpdump"):
        install = "tcpdump is not installed: apt-get install tcpdump"
        if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
            pytest.fail(install)
        pytest.skip(install)
    path = tmp_path / "out.pcap"
    port = attach(f"net_pcap0,tx_pcap={path}")
    send(port, pool, [frame(n) for n in range(50)])
    port.stop()
    words = ["tcpdump", "-n", "-e", "-x", "--nano", "-r", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert done.stdout.count("ethertype Unknown (0x88b5), length 60") == 50
