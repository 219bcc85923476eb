# SPDX-License-Identifier: BSD-3-Clause
"""dumpcap beside a running testpmd: what it writes, when it ends, and what is left when either is killed."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.program import Program

from pollmode.dumpcap import cli
from pollmode.dumpcap.limits import NO_LIMIT, Limits, limits
from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.eal.telemetry_client import TelemetryClient, socket_path
from pollmode.net import pcap

PATIENCE = 120.0  # testpmd compiles first, on a machine that may be busy
PREFIX = "captured"
THREADS = 4  # of a testpmd with two lcores: the main one, interrupts, and one for each


def begin() -> Program:
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    words = ["--no-huge", "-m", "64", "--lcores", f"(0-1)@({cpus})", "--file-prefix", PREFIX]
    words += ["--vdev", "net_null0", "--vdev", "net_null1", "--", "--total-num-mbufs=2048"]
    program = Program([sys.executable, "-m", "pollmode.testpmd", *words], keyboard=True)
    program.wait_for("Press enter to exit", seconds=PATIENCE)
    return program


@pytest.fixture(scope="module")
def forwarding() -> Iterator[Program]:
    """A testpmd that forwards between two ports."""
    program = begin()
    yield program
    program.close()


def dumpcap(*words: object) -> int:
    return cli.main(["--file-prefix", PREFIX, *map(str, words)])


def beside(*words: object) -> Program:
    argv = [sys.executable, "-m", "pollmode.dumpcap", "--file-prefix", PREFIX, *map(str, words)]
    return Program(argv)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def threads(program: Program) -> int:
    """A capture is a thread more."""
    return len(os.listdir(f"/proc/{program.process.pid}/task"))


def received() -> int:
    with TelemetryClient(socket_path(PREFIX)) as client:
        return int(client.ask("/ethdev/stats", 0)["ipackets"])


def assert_well(program: Program) -> None:
    """The capture is out of the program, which goes on."""
    wait_until(lambda: threads(program) == THREADS)
    count = received()
    wait_until(lambda: received() > count)


@pytest.mark.usefixtures("forwarding")
def test_the_ports_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert dumpcap("-D") == 0
    assert capsys.readouterr().out == "0. net_null0\n1. net_null1\n"


@pytest.mark.usefixtures("forwarding")
def test_so_many_packets_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out"
    assert dumpcap("-i", 1, "-c", 100, "-w", path, "--direction", "rx", "-s", 20, "-q") == 0
    told = capsys.readouterr().err
    assert told.startswith(f"File: {path}\nCapturing on 'net_null1'\nPackets captured: 100\n")
    assert "Packets received/dropped on interface 'net_null1': " in told
    read = pcap.read(str(path))
    assert len(read) == 100
    assert set(read.packets["captured"]) == {20}
    assert set(read.packets["original"]) == {64}


@pytest.mark.usefixtures("forwarding")
def test_the_same_as_pcap(tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert dumpcap("-c", 70, "-P", "-w", path) == 0
    assert path.read_bytes()[:24] == pcap.file_header()
    read = pcap.read(str(path))
    assert len(read) == 70
    assert abs(int(read.packets["nanoseconds"][0]) - time.time_ns()) < PATIENCE * 1e9


@pytest.mark.usefixtures("forwarding")
def test_the_file_stays_below_its_size(tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert dumpcap("-a", "filesize:8", "-w", path) == 0
    # The counts come behind the packets; one packet more would not have fitted.
    assert 8192 - 116 < path.stat().st_size <= 8192 + 200
    assert len(pcap.read(str(path))) > 50


@pytest.mark.usefixtures("forwarding")
def test_time_ends_it(tmp_path: Path) -> None:
    assert dumpcap("-a", "duration:0.2", "-w", tmp_path / "out") == 0
    assert len(pcap.read(str(tmp_path / "out"))) > 0


def test_a_signal_ends_it_in_order(forwarding: Program, tmp_path: Path) -> None:
    program = beside("-w", tmp_path / "out")
    try:
        wait_until(lambda: (tmp_path / "out").exists() and (tmp_path / "out").stat().st_size > 2000)
        assert program.interrupt() == 0
        assert "Packets received/dropped on interface 'net_null0': " in program.log()
    finally:
        program.close()
    assert_well(forwarding)


def test_killed_it_leaves_the_process_well(forwarding: Program, tmp_path: Path) -> None:
    program = beside("-i", 0, "-i", 1, "-w", tmp_path / "out")
    try:
        wait_until(lambda: (tmp_path / "out").exists() and (tmp_path / "out").stat().st_size > 2000)
        assert threads(forwarding) == THREADS + 1
        program.kill()
    finally:
        program.close()
    assert_well(forwarding)


def test_a_full_disk_ends_it(forwarding: Program, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pollmode.dumpcap", "--file-prefix", PREFIX, "-w", str(tmp_path / "out")]
    assert dumpcap("-c", 1, "-w", tmp_path / "first") == 0  # whatever is compiled is on disk
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY)),
    )
    assert done.returncode == 1
    assert "File too large; it ends after packet" in done.stderr
    pcap.read(str(tmp_path / "out"))
    assert_well(forwarding)


@pytest.mark.parametrize("words", [["-i", "7"], ["-f", "ip"], ["-a", "files:2"], ["-w", "/none/out"], ["--queue", "5"]])
def test_what_cannot_be_done_is_one_line(
    forwarding: Program, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dumpcap(*words) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "EAL: Error - exiting with code: 1"
    assert len(told) == 2
    assert_well(forwarding)


@pytest.mark.usefixtures("forwarding")
def test_a_descriptor_that_no_command_wants_is_closed() -> None:
    reader, writer = os.pipe()
    with TelemetryClient(socket_path(PREFIX)) as client, open(reader, "rb") as pipe:
        for command in ("/info", "/nothing", "/ethdev/capture"):
            client.ask(command, None, writer)
        os.close(writer)
        assert pipe.read() == b""  # comes only when nobody else has it


@pytest.mark.peer
@pytest.mark.usefixtures("forwarding")
def test_tshark_reads_it_without_a_warning(tmp_path: Path) -> None:
    if not shutil.which("tshark"):
        install = "tshark is not installed: apt-get install tshark"
        if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
            pytest.fail(install)
        pytest.skip(install)
    count = 50_000  # more than the memory of one queue has
    path = str(tmp_path / "out")
    assert dumpcap("-i", 0, "-i", "net_null1", "-c", count, "-w", path) == 0
    fields = ("frame.len", "frame.interface_name", "frame.packet_flags_direction", "frame.time_epoch")
    words = ["tshark", "-r", path, "-T", "fields", *(word for field in fields for word in ("-e", field))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if line and not line.startswith("Running as user")]
    assert said == []
    lengths, names, directions, times = zip(*(line.split("\t") for line in done.stdout.splitlines()), strict=True)
    assert len(lengths) == count
    assert set(lengths) == {"64"}
    assert set(names) == {"net_null0", "net_null1"}
    assert set(directions) == {"0x00000001", "0x00000002"}
    assert list(times) == sorted(times)  # texts of the same length


def test_a_killed_process_leaves_a_readable_file(forwarding: Program, tmp_path: Path) -> None:
    program = beside("-w", tmp_path / "out")
    try:
        wait_until(lambda: (tmp_path / "out").exists() and (tmp_path / "out").stat().st_size > 2000)
        forwarding.kill()
        assert program.wait(PATIENCE) == 1
        assert "the process ended without telling its counts" in program.log()
    finally:
        program.close()
    assert len(pcap.read(str(tmp_path / "out"))) > 10
    assert dumpcap("-D") == 1


def test_conditions_are_checked() -> None:
    assert limits(0, []) == Limits(NO_LIMIT, None, NO_LIMIT)
    assert limits(9, ["packets:5", "duration:1.5", "filesize:2"]) == Limits(5, 1.5, 2048)
    with pytest.raises(UnsupportedError, match="one file is written"):
        limits(0, ["files:2"])
    for wrong in ("size:1", "duration", "duration:0", "packets:1.5", "filesize:-1"):
        with pytest.raises(ConfigError, match=f"-a {wrong}"):
            limits(0, [wrong])
