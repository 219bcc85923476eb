# SPDX-License-Identifier: BSD-3-Clause
"""The exporter beside a process that comes, goes, is busy and answers nonsense."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.program import Program

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.telemetry_client import TelemetryClient, socket_path
from pollmode.ethdev import Port, Ports, Stats
from pollmode.ethdev.testing import ModelDevice
from pollmode.telemetry_exporter import cli
from pollmode.telemetry_exporter.server import Server, page

PATIENCE = 60.0
# The names that DPDK's exporter has, with the default set of endpoints.
DPDKS = {
    *(f"dpdk_counters_{way}_{what}" for way in ("rx", "tx") for what in ("packets", "bytes", "errors")),
    *("dpdk_counters_rx_missed", "dpdk_counters_rx_nombuf"),
    *("dpdk_cpu_total_cycles", "dpdk_cpu_busy_cycles"),
    *("dpdk_memory_total_bytes", "dpdk_memory_used_bytes"),
}
SPACE = ["--in-memory", "--no-huge", "-m", "64", "--file-prefix", "told"]


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return socket_path("told")


@pytest.fixture
def process() -> Iterator[Environment]:
    """A process with telemetry: this one."""
    cpu = min(os.sched_getaffinity(0))
    with Environment.start([*SPACE, "--lcores", f"(0,1)@{cpu}"]) as environment:
        yield environment


@pytest.fixture
def port(process: Environment) -> Iterator[Port]:
    ports = Ports(process)
    device = ModelDevice('odd"name')
    device.counted = Stats(ipackets=70, opackets=50, ibytes=7000, imissed=3, rx_nombuf=1)
    device.own_xstats = {"rx_q0_size_64_packets": 9}
    yield ports.add(device)
    ports.close()


@pytest.fixture
def server(path: Path) -> Iterator[Server]:
    with Server("127.0.0.1", 0, path) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return the values of a page by name and labels."""
    families = text_string_to_metric_families(text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def fetch(server: Server) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(server.url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_have_the_names_of_dpdks_exporter(process: Environment, port: Port, path: Path) -> None:
    process.lcores[1].record["total_cycles"] = 800
    text = page(path)
    assert {family.name for family in text_string_to_metric_families(text)} == {*DPDKS, "dpdk_xstats"}
    told = samples(text)
    assert told["dpdk_counters_rx_packets", 'odd"name'] == 70
    assert told["dpdk_counters_rx_missed", 'odd"name'] == 3
    assert told["dpdk_counters_rx_nombuf", 'odd"name'] == 1
    assert told["dpdk_counters_tx_errors", 'odd"name'] == 0
    assert told["dpdk_xstats", "rx_q0_size_64_packets", 'odd"name'] == 9
    cpu = str(min(os.sched_getaffinity(0)))
    assert told["dpdk_cpu_total_cycles", cpu, "0"] == 800
    assert told["dpdk_cpu_busy_cycles", cpu, "0"] == 0


def test_memory_is_counted_once(process: Environment, path: Path) -> None:
    page_size = process.memory.regions()[0].page_size
    for number in range(3):
        process.memory.reserve(f"small{number}", 64)
    process.memory.reserve("large", 5 * page_size)
    told = samples(page(path))
    zones = process.memory.zones()
    assert told["dpdk_memory_used_bytes",] == sum(zone.size for zone in zones)
    last = max(zone.address + zone.size for zone in zones) - process.memory.regions()[0].address
    assert told["dpdk_memory_total_bytes",] == -(-last // page_size) * page_size


def test_the_process_may_come_and_go(server: Server, path: Path) -> None:
    for _ in range(3):
        code, text = fetch(server)
        assert code == 503
        assert f"no process answers at {path}" in text
        with Environment.start(SPACE):
            code, text = fetch(server)
            assert code == 200
            assert ("dpdk_memory_used_bytes",) in samples(text)


def test_a_process_that_serves_as_many_as_it_can_is_an_answer(process: Environment, server: Server, path: Path) -> None:
    others = [TelemetryClient(path) for _ in range(10)]
    code, text = fetch(server)
    assert (code, "ten clients" in text) == (503, True)
    for other in others:
        other.close()


@pytest.mark.parametrize("value", [None, {}, [1], "text", {"name": 7}, {"name": "x", "ipackets": "many"}])
def test_answers_that_are_nonsense_are_one_error(process: Environment, port: Port, path: Path, value: object) -> None:
    for command in ("/ethdev/info", "/ethdev/stats", "/ethdev/xstats", "/eal/lcore/info", "/eal/memzone_info"):
        process.telemetry.register(command, lambda _: value, "")
    if value is None:
        assert ("dpdk_memory_used_bytes",) in samples(page(path))
        return
    with pytest.raises(HostError, match="answers are not those of DPDK's telemetry"):
        page(path)


def test_openmetrics_is_spoken_too(process: Environment, port: Port, server: Server) -> None:
    asked = urllib.request.Request(server.url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
        text = answer.read().decode()
    assert text.endswith("# EOF\n")
    assert 'dpdk_counters_rx_packets{port="odd\\"name"} 70' in text


def test_a_place_that_is_taken_is_told(path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(HostError, match=r"cannot listen at 127.0.0.1:\d+: Address already in use; choose another"):
            Server("127.0.0.1", other.getsockname()[1], path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("80", ("127.0.0.1", 80)),
        (":80", ("127.0.0.1", 80)),
        ("0.0.0.0:9", ("0.0.0.0", 9)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_places(text: str, wanted: tuple[str, int]) -> None:
    assert cli.place(text) == wanted


@pytest.mark.parametrize("text", ["", "x", "1.2.3.4", "1.2.3.4:", "h:65536", "h:-1", "::1:80", "h:8x"])
def test_places_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--listen: "):
        cli.place(text)


def test_the_command_serves_until_it_is_interrupted(process: Environment) -> None:
    program = Program([sys.executable, "-m", "pollmode.telemetry_exporter", "-f", "told", "--listen", "0"])
    try:
        url = program.wait_for(r"counters of \S+dpdk_telemetry.v2 at (http://127.0.0.1:\d+/metrics)\n")[1]
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert ("dpdk_memory_used_bytes",) in samples(answer.read().decode())
        assert program.interrupt() == 0
        assert program.log() == ""
    finally:
        program.close()


def test_the_command_prints_one_page(process: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--once", "-f", "told"]) == 0
    assert ("dpdk_memory_used_bytes",) in samples(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--once", "-f", "nobody"], r"Cause: no process answers at .*nobody/dpdk_telemetry.v2: No such file"),
        (["--once", "-i", "3"], r"rte/dpdk_telemetry.v2:3: No such file"),
        (["--nope"], "Cause: No such option: --nope"),
        (["--listen", "x"], "Cause: --listen: 'x' is no"),
    ],
)
def test_what_goes_wrong_is_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 1
    assert re.search(told, capsys.readouterr().err)
