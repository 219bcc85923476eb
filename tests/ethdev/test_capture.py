# SPDX-License-Identifier: BSD-3-Clause
"""Captures of running ports: what is in the file, what is counted when there is no room, and how they end."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.ours import Ours

from pollmode.eal.errors import ConfigError, HostError, UnsupportedError
from pollmode.ethdev import Port
from pollmode.ethdev.capture import Selection, Tap, start, tap
from pollmode.ethdev.capture.remote import COMMAND, MAX_CAPTURES
from pollmode.mbuf import Burst, Packet
from pollmode.net import pcap

PATIENCE = 60.0


@pytest.fixture
def ours() -> Iterator[Ours]:
    made = Ours(mbufs=512)
    yield made
    made.close()


@pytest.fixture
def port(ours: Ours) -> Port:
    """A port that receives what it sends, on two queues."""
    return ours.add_port("net_ring0", queues=2)


def frame(number: int, size: int = 60) -> bytes:
    return bytes(12) + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(i & 0xFF for i in range(size - 18))


def send(ours: Ours, port: Port, frames: list[bytes], queue: int = 0) -> None:
    """Send frames one burst each and receive them again."""
    burst = Burst(1)
    for data in frames:
        burst.append(Packet.alloc(ours.pool, data))
        assert port.tx(queue, burst) == 1
        assert port.rx(queue, burst) == 1
        burst.free()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


class Held:
    """A sink that takes nothing until it is let."""

    def __init__(self) -> None:
        self.taken = b""
        self.may = threading.Event()
        self.may.set()
        self.waiting = threading.Event()

    def put(self, data: bytes | memoryview) -> None:
        self.waiting.set()
        assert self.may.wait(PATIENCE)
        self.taken += bytes(data)

    def close(self) -> None:
        pass


def test_all_that_passes_is_in_the_file_in_its_order(ours: Ours, port: Port, tmp_path: Path) -> None:
    frames = [frame(n, size) for n, size in enumerate((60, 61, 62, 63, 64, 1514, 18, 200))]
    send(ours, port, [frame(99)])
    capture = start(str(tmp_path / "out"), port)
    send(ours, port, frames, queue=0)
    send(ours, port, frames, queue=1)
    assert capture.running
    assert capture.stop() == {"net_ring0": (32, 0)}
    send(ours, port, [frame(99)])
    assert not capture.running
    read = pcap.read(str(tmp_path / "out"))
    assert list(read) == [each for each in [*frames, *frames] for _ in ("tx", "rx")]
    stamps = read.packets["nanoseconds"].tolist()
    assert stamps == sorted(stamps)
    assert abs(stamps[-1] - time.time_ns()) < PATIENCE * 1_000_000_000


def test_direction_and_queue_are_chosen_and_told(ours: Ours, port: Port, tmp_path: Path) -> None:
    capture = start(str(tmp_path / "out"), port, queues=(1,), directions=("rx",))
    send(ours, port, [frame(1)], queue=0)
    send(ours, port, [frame(2)], queue=1)
    assert capture.stop() == {"net_ring0": (1, 0)}
    assert list(pcap.read(str(tmp_path / "out"))) == [frame(2)]
    inbound, queue = b"\x02\0\x04\0\x01\0\0\0", b"\x06\0\x04\0\x01\0\0\0"
    assert inbound + queue + bytes(4) in (tmp_path / "out").read_bytes()


def test_a_long_packet_is_cut_and_its_length_kept(ours: Ours, port: Port, tmp_path: Path) -> None:
    capture = start(str(tmp_path / "out"), port, directions=("tx",), snaplen=21)
    send(ours, port, [frame(1, 100), frame(2, 20)])
    capture.stop()
    read = pcap.read(str(tmp_path / "out"))
    assert list(read) == [frame(1, 100)[:21], frame(2, 20)]
    assert read.packets["original"].tolist() == [100, 20]


def test_a_packet_of_several_segments_is_whole(ours: Ours, port: Port, tmp_path: Path) -> None:
    capture = start(str(tmp_path / "out"), port, directions=("tx",))
    head = Packet.alloc(ours.pool, b"a" * 20)
    for part in (b"b" * 33, b"c" * 7):
        head.chain(Packet.alloc(ours.pool, part))
    burst = Burst.of([head])
    assert port.tx(0, burst) == 1
    assert port.rx(0, burst) == 1
    burst.free()
    capture.stop()
    assert list(pcap.read(str(tmp_path / "out"))) == [b"a" * 20 + b"b" * 33 + b"c" * 7]


def test_what_finds_no_room_is_counted_and_goes_its_way(
    ours: Ours, port: Port, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "BUFFER_SIZE", 1 << 14)
    sink, ending = Held(), threading.Event()
    made = Tap(Selection((port,), directions=("tx",)), sink, ending)
    made.attach()
    sink.may.clear()
    sink.waiting.clear()
    thread = threading.Thread(target=made.run)
    thread.start()
    send(ours, port, [frame(0, 1000)])
    assert sink.waiting.wait(PATIENCE)
    send(ours, port, [frame(n, 1000) for n in range(1, 40)])  # each of which came back
    seen, missed = made.counts()["net_ring0"]
    assert seen == 40
    assert 40 - (1 << 14) // 1000 - 2 <= missed < 30
    ending.set()
    sink.may.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    (tmp_path / "out").write_bytes(sink.taken)
    assert list(pcap.read(str(tmp_path / "out"))) == [frame(n, 1000) for n in range(40 - missed)]


def test_the_memory_goes_round(ours: Ours, port: Port, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "BUFFER_SIZE", 1 << 12)
    capture = start(str(tmp_path / "out"), port, directions=("rx",))
    frames = [frame(n, 60 + n * 37 % 900) for n in range(60)]
    for each in frames:
        size = (tmp_path / "out").stat().st_size
        send(ours, port, [each])
        wait_until(lambda size=size: (tmp_path / "out").stat().st_size > size)
    assert capture.stop() == {"net_ring0": (60, 0)}
    assert list(pcap.read(str(tmp_path / "out"))) == frames


def test_a_full_disk_ends_the_capture_and_leaves_whole_packets(ours: Ours, port: Port, tmp_path: Path) -> None:
    send(ours, port, [frame(0)])  # whatever is compiled for it is written to disk before
    capture = start(str(tmp_path / "out"), port, directions=("tx",))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        for n in range(10_000):
            send(ours, port, [frame(n, 500)])
            if not capture.running:
                break
        wait_until(lambda: not capture.running)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capture.error is not None
    capture.stop()
    read = list(pcap.read(str(tmp_path / "out")))
    assert read == [frame(n, 500) for n in range(len(read))]
    send(ours, port, [frame(1)])


def test_a_file_that_cannot_be_begun_leaves_the_port_alone(ours: Ours, port: Port, tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError, match="/dev/full cannot be written: No space left"):
        start("/dev/full", port)
    with pytest.raises(ConfigError, match="No such file or directory"):
        start(str(tmp_path / "none" / "out"), port)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    send(ours, port, [frame(1)])


def test_captures_do_not_disturb_each_other(ours: Ours, port: Port, tmp_path: Path) -> None:
    first, second = start(str(tmp_path / "1"), port), start(str(tmp_path / "2"), port)
    send(ours, port, [frame(1)])
    assert first.stop() == {"net_ring0": (2, 0)}
    send(ours, port, [frame(2)])
    assert second.stop() == {"net_ring0": (4, 0)}
    assert list(pcap.read(str(tmp_path / "1"))) == [frame(1)] * 2
    assert list(pcap.read(str(tmp_path / "2"))) == [frame(1)] * 2 + [frame(2)] * 2


def test_a_port_that_stops_starts_and_goes_does_not_end_a_capture(ours: Ours, port: Port, tmp_path: Path) -> None:
    capture = start(str(tmp_path / "out"), port)
    port.stop()
    port.start()
    send(ours, port, [frame(1)])
    port.stop()
    ours.ports.remove(port)
    assert capture.running
    assert capture.stop() == {"net_ring0": (2, 0)}
    assert list(pcap.read(str(tmp_path / "out"))) == [frame(1)] * 2


def test_what_cannot_be_captured_is_refused(port: Port, tmp_path: Path) -> None:
    path = str(tmp_path / "out")
    with pytest.raises(ConfigError, match="a capture wants a port"):
        start(path)
    with pytest.raises(ConfigError, match="named twice"):
        start(path, port, port)
    with pytest.raises(ConfigError, match="2 Rx and 2 Tx queues: none of those"):
        start(path, port, queues=(2,))
    with pytest.raises(ConfigError, match="not up"):
        start(path, port, directions=("up",))
    with pytest.raises(ConfigError, match="snaplen is 1 to 262144 bytes, not 0"):
        start(path, port, snaplen=0)
    with pytest.raises(UnsupportedError, match="tcpdump -r FILE"):
        start(path, port, filter="icmp")


def ask(ours: Ours, parameters: str, *descriptors: int) -> dict[str, object]:
    given = list(descriptors)
    answer = json.loads(ours.environment.telemetry.answer(f"{COMMAND},{parameters}".encode(), given))[COMMAND]
    assert given == list(descriptors) or "ports" in answer
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("", "no JSON"),
        ("[" * 900, "no JSON"),
        ("[]", "a list of ports"),
        ('{"ports":7}', "a list of ports"),
        ('{"ports":[7]}', "there is no port 7"),
        ('{"ports":[null]}', "a number or a name, not None"),
        ('{"ports":["x"]}', "there is no port named 'x'"),
        ('{"ports":[0],"queues":[true]}', "queues of a capture is no list of int"),
        ('{"ports":[0],"queues":[-1]}', "none of those to capture"),
        ('{"ports":[0],"directions":"rx"}', "directions of a capture is no list of str"),
        ('{"ports":[0],"snaplen":1e3}', "snaplen of a capture is no int"),
        ('{"ports":[0],"filter":"ip"}', "tcpdump"),
        ('{"ports":[0],"path":"/etc/passwd"}', "has no path"),
    ],
)
def test_a_strange_request_is_answered_with_its_reason(ours: Ours, port: Port, parameters: str, reason: str) -> None:
    left, right = socket.socketpair()
    with left, right:
        assert reason in str(ask(ours, parameters, right.fileno())["error"])


def test_a_request_without_a_stream_is_refused(ours: Ours, port: Port) -> None:
    assert "wants a stream socket" in str(ask(ours, '{"ports":[0]}')["error"])
    reader, writer = os.pipe()
    assert "wants a stream socket" in str(ask(ours, '{"ports":[0]}', writer)["error"])
    os.close(reader)
    os.close(writer)


def test_whoever_asked_and_went_ends_the_capture_and_makes_room(ours: Ours, port: Port) -> None:
    lefts = []
    for _ in range(MAX_CAPTURES):
        left, right = socket.socketpair()
        lefts.append(left)
        assert ask(ours, '{"ports":["net_ring0"]}', right.detach()) == {"ports": ["net_ring0"]}
    left, right = socket.socketpair()
    assert "captures are running" in str(ask(ours, '{"ports":[0]}', right.fileno())["error"])
    lefts.pop().close()
    wait_until(lambda: "ports" in ask(ours, '{"ports":[0]}', os.dup(right.fileno())))
    for each in (left, right, *lefts):
        each.close()
    send(ours, port, [frame(1)])
