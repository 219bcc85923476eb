# SPDX-License-Identifier: BSD-3-Clause
"""Whole runs in this process: ports up, packets forwarded, summary, ports down; and what stops a run early."""

from __future__ import annotations

import itertools
import os
import re

import pytest

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, DeviceFault, PollmodeError
from pollmode.eal.stopper import Stopper
from pollmode.mbuf import create_pool
from pollmode.testpmd import application
from pollmode.testpmd.options import parse
from pollmode.testpmd.session import Session

# A first run compiles, which a busy machine takes minutes for.
pytestmark = pytest.mark.timeout(600)

_serial = itertools.count()

SECONDS = 0.5


def eal(*vdevs: str, lcores: int = 2) -> list[str]:
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    words = ["--no-huge", "--in-memory", "--no-pci", "-m", "64", "--lcores", f"(0-{lcores - 1})@({cpus})"]
    words += ["--file-prefix", f"run{os.getpid()}x{next(_serial)}"]
    return words + [word for vdev in vdevs for word in ("--vdev", vdev)]


def run(line: str, *vdevs: str, lcores: int = 2, seconds: float = SECONDS) -> int:
    words = ["--total-num-mbufs=2048", "--mbcache=64", *line.split()]
    return application.run(eal(*vdevs, lcores=lcores), parse(words), seconds=seconds)


def total(output: str, way: str) -> int:
    """The packets of all ports received ("RX") or sent ("TX"), out of the summary."""
    accumulated = output[output.index("Accumulated forward statistics") :]
    found = re.search(rf"{way}-packets: (\d+)", accumulated)
    assert found is not None
    return int(found[1])


def test_io_between_two_ports(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("", "net_null0", "net_null1") == 0
    output = capsys.readouterr().out
    expected = [
        "testpmd: create a new mbuf pool <mb_pool_0>: n=2048, size=2176, socket=0",
        "Configuring Port 0 (socket 0)",
        "Port 0: ",
        "Configuring Port 1 (socket 0)",
        "Checking link statuses...",
        "Done",
        "No commandline core given, start packet forwarding",
        "io packet forwarding - ports=2 - cores=1 - streams=2 - NUMA support enabled, MP allocation mode: native",
        "Telling cores to stop...",
        "Waiting for lcores to finish...",
        "Forward statistics for port 0",
        "Done.",
        "Stopping port 0...",
        "Shutting down port 1...",
        "Port 1 is closed",
        "Bye...",
    ]
    places = [output.find(text) for text in expected]
    assert -1 not in places, expected[places.index(-1)]
    assert places == sorted(places)
    assert total(output, "RX") == total(output, "TX") > 0


def test_a_broken_queue_is_told_once_with_what_heals_it(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Stopper() as stopper:
        session = Session(environment, parse([]), stopper)
    application._announce_events(session)
    port = session.bus.attach("net_null0")
    port.configure(1, 1)
    port.setup_rx_queue(0, 0, create_pool(environment.memory, "told", 64, cache_size=0))
    port.setup_tx_queue(0, 0)
    port.start()
    monkeypatch.setattr(
        port.device, "faults", lambda: [DeviceFault("the front end broke rx queue 0 (ring 1)", queue=1)]
    )
    mend = "stop, port stop 0, port reset 0, port start 0, start"
    line = f"\nPort 0: the front end broke rx queue 0 (ring 1); heal it with: {mend}\n"
    for _ in range(3):
        port.poll()
    assert capsys.readouterr().out.count(line) == 1
    port.reset()
    port.poll()
    assert capsys.readouterr().out.count(line) == 1, "broken again"


@pytest.mark.parametrize("mode", ["txonly", "flowgen", "rxonly", "mac"])
def test_a_mode_is_announced_and_runs(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"--forward-mode={mode}", "net_null0") == 0
    output, told = capsys.readouterr()
    assert f"Set {mode} packet forwarding mode" in output
    assert "the last port will pair with itself" in told
    assert total(output, "TX" if mode in ("txonly", "flowgen") else "RX") > 0


def test_several_queues_are_reported_stream_by_stream(capsys: pytest.CaptureFixture[str]) -> None:
    run("--rxq=2 --txq=2 --nb-cores=2 --record-burst-stats --record-core-cycles", "net_null0", "net_null1", lcores=3)
    output = capsys.readouterr().out
    assert "cores=2 - streams=4" in output
    assert "Forward Stats for RX Port= 1/Queue= 1 -> TX Port= 0/Queue= 1" in output
    assert re.search(r"RX-bursts : \d+ \[", output)
    assert re.search(r"CPU cycles/packet=\d+\.\d\d \(busy cycles=\d+ / total io packets=\d+\) at \d+ MHz Clock", output)


def test_one_core_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("", "net_null0", lcores=1) == 0
    assert "Logical Core 0 (socket 0) forwards packets on 1 streams:" in capsys.readouterr().out


def test_packets_sent_first_go_round_a_ring(capsys: pytest.CaptureFixture[str]) -> None:
    run("--tx-first --burst=4", "net_ring0")
    output, told = capsys.readouterr()
    assert "Warning: lsc_interrupt needs to be off when using tx_first. Disabling." in told
    assert "Ports to start sending a burst of packets first" in output
    assert re.search(r"Port 0 Link up at", output)
    assert total(output, "TX") - total(output, "RX") <= 4
    assert total(output, "RX") > 4


def test_statistics_come_by_period(capsys: pytest.CaptureFixture[str]) -> None:
    run("--stats-period=1 --display-xstats=rx_good_packets", "net_null0", seconds=2.5)
    output = capsys.readouterr().out
    assert output.count("Port statistics ====================================") == 2
    assert output.count("NIC statistics for port 0 ") == 2
    assert re.search(r"  rx_good_packets +\d+ +\d+", output)
    assert "\x1b" not in output


def be_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, kind: str = "xterm") -> None:
    """Have what `capsys` caught be a terminal; to be called in the test itself, whose capture is made last."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", str(columns))


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    be_a_terminal(monkeypatch, 110)
    run("--stats-period=1 --display-xstats=rx_good_packets", "net_null0", seconds=1.5)
    output = capsys.readouterr().out
    for text in ("RX Mpps", "TX total", "rx_good_packets", "0 net_null0"):
        assert text in output
    assert "NIC statistics" not in output


def _tables(output: str) -> list[list[str]]:
    """Return the lines of each table drawn, without escape sequences."""
    drawn = output[output.index("Port statistics") : output.index("Telling cores")]
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)
    return [table.splitlines()[1:] for table in plain.split("Port statistics")[1:]]


@pytest.mark.parametrize("columns", [24, 40, 72, 80, 200])
def test_a_table_fits_its_terminal_and_shows_every_number(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    be_a_terminal(monkeypatch, columns)
    run("--stats-period=1", "net_null0", "net_null1", seconds=1.5)
    tables = _tables(capsys.readouterr().out)
    assert len(tables) >= 2
    for lines in tables:
        assert max(len(line.rstrip()) for line in lines) <= columns
        text = "\n".join(lines)
        shown = [
            text.count(name) for name in ("RX Mpps", "TX Mpps", "RX Gbps", "TX Gbps", "RX total", "TX total", "Lost")
        ]
        assert shown == [1 if columns >= 72 else 2] * 7
        assert "net_null0" in text
        assert "net_null1" in text


def test_a_terminal_that_cannot_redraw_gets_the_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    be_a_terminal(monkeypatch, 80, "dumb")
    run("--stats-period=1", "net_null0", seconds=1.5)
    output = capsys.readouterr().out
    assert "NIC statistics for port 0" in output
    assert "\x1b" not in output


@pytest.mark.parametrize("device", ["net_null0", "net_ring0"])
def test_an_extended_statistic_no_port_has_is_an_error(device: str) -> None:
    with pytest.raises(
        ConfigError, match=r"no port has an extended statistic 'rx_godo_packets' \(did you mean 'rx_good"
    ):
        run("--stats-period=1 --display-xstats=rx_good_packets,rx_godo_packets", device)


def test_without_ports_there_is_a_warning_and_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("") == 0
    output, told = capsys.readouterr()
    assert "testpmd: No probed ethernet devices" in told
    assert "ports=0 - cores=0 - streams=0" in output


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--rxq=1025", "rxq 1025 invalid"),
        ("--nb-cores=2", "nb-cores should be > 0 and <= 1"),
        ("--coremask=1", "coremask is not valid"),
        ("--portlist=1", "Invalid port 1. The valid ports array is [ 0 ]"),
        ("--nb-ports=2", "Invalid port 2"),
        ("--burst=0", "PMD does not recommend a burst size. Provided value must be between 1 and 512"),
        ("--enable-scatter", "RTE_ETH_RX_OFFLOAD_SCATTER"),
        ("--total-num-mbufs=1000000", "start with -m"),
    ],
)
def test_what_cannot_run_is_said_and_nothing_stays(line: str, text: str) -> None:
    words = line.split() if "total" in line else ["--total-num-mbufs=2048", *line.split()]
    with pytest.raises(PollmodeError) as raised:
        application.run(eal("net_null0"), parse(words), seconds=SECONDS)
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)
    assert application.run(eal("net_null0"), parse(["--total-num-mbufs=2048"]), seconds=0.1) == 0


def test_a_device_that_is_not_there_ends_the_run() -> None:
    with pytest.raises(ConfigError, match="net_nul0"):
        run("", "net_nul0")
