# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's own telemetry client against our testpmd while it forwards, and our answers beside those of DPDK's testpmd."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.dpdk import INSTALL, DpdkTestpmd
from support.program import PATIENCE, Program

from pollmode.eal.telemetry_client import TelemetryClient
from pollmode.telemetry_exporter.server import page

TESTPMD = str(Path(sys.executable).parent / "testpmd")
CLIENT = "dpdk-telemetry.py"
PREFIX = "told"
CPU = min(os.sched_getaffinity(0))
VDEVS = ("net_null0", "net_null1")
LIST = ["/ethdev/stats,0", "/ethdev/xstats,0", "/ethdev/info,0", "/eal/params", "/mempool/list"]

# Keys that answers have in later releases of DPDK only, by command; and one that was misspelt in earlier ones.
LATER = {
    "/ethdev/info": {"fw_version"},
    "/mempool/info": {"total_cache_count", "common_pool_count"},
}
RENAMED = {"Head_id": "Heap_id"}
# Values that were numbers in earlier releases: hexadecimal texts, and lists of names.
RETYPED = {"dev_flags", "ethdev_rss_hf", "rx_offloads", "tx_offloads"}

Start = Callable[..., DpdkTestpmd]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A runtime directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="dpdk-") as folder:
        monkeypatch.setenv("RUNTIME_DIRECTORY", folder)
        yield folder


@pytest.fixture
def testpmd(runtime: str) -> Iterator[Program]:
    """Our testpmd, forwarding between two ports."""
    eal = ["--no-huge", "-m", "128", "--no-pci", "--lcores", f"0@{CPU},1@{CPU}", "--file-prefix", PREFIX]
    vdevs = [word for vdev in VDEVS for word in ("--vdev", vdev)]
    program = Program([TESTPMD, *eal, *vdevs, "--", "--total-num-mbufs=4096", "--stats-period=1"])
    try:
        program.wait_for(r"RX-packets: [1-9]\d+")
        yield program
    finally:
        program.close()


@pytest.fixture
def client(testpmd: Program, runtime: str) -> Iterator[TelemetryClient]:
    with TelemetryClient(f"{runtime}/dpdk/{PREFIX}/dpdk_telemetry.v2") as connected:
        yield connected


def dpdk_client(*requests: str) -> list[Any]:
    """Type requests into DPDK's client and return what it prints."""
    path = shutil.which(CLIENT)
    if path is None:
        if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
            pytest.fail(f"{CLIENT} is not installed: {INSTALL}")
        pytest.skip(f"{CLIENT} is not installed: {INSTALL}")
    typed = "".join(f"{request}\n" for request in requests)
    run = subprocess.run(
        [sys.executable, path, "-f", PREFIX], input=typed, capture_output=True, text=True, timeout=PATIENCE
    )
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def connect(runtime: str) -> socket.socket:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    raw.settimeout(PATIENCE)
    raw.connect(f"{runtime}/dpdk/{PREFIX}/dpdk_telemetry.v2")
    return raw


def test_dpdks_client_lists_and_asks_while_packets_move(testpmd: Program) -> None:
    listed, *answers = dpdk_client("/", *LIST)
    names = [request.partition(",")[0] for request in LIST]
    assert set(names) <= set(listed["/"])
    stats, xstats, info, params, pools = (answer[name] for answer, name in zip(answers, names, strict=True))
    assert stats["ipackets"] > 0
    assert xstats["rx_good_packets"] >= stats["ipackets"]
    assert (info["name"], info["dev_started"], info["rxq_state"]) == ("net_null0", 1, [1])
    assert params[:2] == ["testpmd", "--no-huge"]
    assert params.count("--vdev") == 2
    assert pools == ["mb_pool_0"]
    later, apps = dpdk_client("/ethdev/stats,0", "/eal/app_params")
    assert later["/ethdev/stats"]["ipackets"] > stats["ipackets"]
    assert apps == {"/eal/app_params": ["--total-num-mbufs=4096", "--stats-period=1"]}
    assert testpmd.interrupt() == 0


def test_dpdks_client_finds_the_prefix(testpmd: Program) -> None:
    dpdk_client()
    run = subprocess.run([str(shutil.which(CLIENT)), "-l"], capture_output=True, text=True, timeout=PATIENCE)
    assert f"{PREFIX}\n- dpdk_telemetry.v2  # Connect with" in run.stdout


def test_ten_clients_at_once_are_served_and_the_eleventh_is_refused(client: TelemetryClient, runtime: str) -> None:
    path = f"{runtime}/dpdk/{PREFIX}/dpdk_telemetry.v2"
    clients = [client, *(TelemetryClient(path) for _ in range(9))]
    for _ in range(5):
        counted = [each.ask("/ethdev/stats", 0)["ipackets"] for each in clients]
        assert counted == sorted(counted)
        with connect(runtime) as eleventh:
            assert eleventh.recv(1024) == b""
    for each in clients:
        each.close()


def test_junk_harms_nothing(testpmd: Program, client: TelemetryClient, runtime: str) -> None:
    dice = random.Random(3)
    before = client.ask("/ethdev/stats", 0)["ipackets"]
    for _ in range(20):
        with connect(runtime) as raw:
            for _ in range(20):
                # Whatever was sent, and however much of the answers is left unread.
                with contextlib.suppress(BlockingIOError):
                    raw.send(dice.randbytes(dice.choice([1, 56, 1023, 1024, 60000])), socket.MSG_DONTWAIT)
                with contextlib.suppress(BlockingIOError):
                    raw.send(b"/ethdev/info," + dice.randbytes(20), socket.MSG_DONTWAIT)
    assert client.ask("/ethdev/stats", 0)["ipackets"] > before
    testpmd.wait_for(r"RX-packets: \d+", after=len(testpmd.output()))
    assert testpmd.interrupt() == 0
    assert "Traceback" not in testpmd.log()
    assert os.listdir(f"{runtime}/dpdk") == []


def test_answers_have_the_shape_of_dpdks(dpdk: Start, client: TelemetryClient) -> None:
    peer = dpdk(*VDEVS)
    (theirs_path,) = Path(peer._runtime.name).glob("dpdk/*/dpdk_telemetry.v2")
    requests: list[Sequence[Any]] = [
        *((command,) for command in ("/info", "/help", "/eal/params", "/eal/app_params", "/eal/heap_list")),
        *((command,) for command in ("/eal/memzone_list", "/ethdev/list", "/mempool/list")),
        *((f"/ethdev/{name}", 0) for name in ("info", "stats", "xstats", "link_status")),
        *((f"/ethdev/{name}", 7) for name in ("info", "stats", "xstats", "link_status")),
        *((f"/ethdev/{name}", "x") for name in ("info", "stats", "xstats", "link_status")),
        ("/ethdev/stats", "0x1"),
        ("/ethdev/stats", "0,more"),
        ("/ethdev/info",),
        ("/mempool/info", "mb_pool_0"),
        ("/mempool/info", "nope"),
        ("/mempool/info",),
        ("/eal/heap_info", 0),
        ("/eal/heap_info",),
        ("/eal/memzone_info", 0),  # the first zone: it stands at the start of our memory
        ("/help", "/nope"),
        ("/nope",),
    ]
    with TelemetryClient(theirs_path) as theirs:
        peer.type("start")
        assert theirs.info.keys() == client.info.keys()
        for command in client.ask("/"):
            told = theirs.ask("/help", command)
            if told is not None and command != "/ethdev/xstats":  # whose later help tells of hide_zero
                assert client.ask("/help", command) == told
        for request in requests:
            same_shape(request, client.ask(*request), theirs.ask(*request))


def test_our_exporter_reads_dpdks_counters(dpdk: Start) -> None:
    peer = dpdk(*VDEVS)
    (path,) = Path(peer._runtime.name).glob("dpdk/*/dpdk_telemetry.v2")
    peer.type("start")
    peer.statistics()
    text = page(path)
    assert re.search(r'^dpdk_counters_rx_packets\{port="net_null1"\} [1-9]', text, re.M), text
    assert re.search(r"^dpdk_memory_total_bytes [1-9]", text, re.M)


def same_shape(request: Sequence[Any], ours: Any, theirs: Any) -> None:
    """Check that two answers have the same keys in the same order, and values of the same types."""
    assert type(ours) is type(theirs), (request, ours, theirs)
    if not isinstance(theirs, dict):
        return
    keys = [RENAMED.get(key, key) for key in theirs]
    assert [key for key in ours if key in keys or key not in LATER.get(request[0], ())] == keys, request
    for key, value in theirs.items():
        mine = ours[RENAMED.get(key, key)]
        assert type(mine) is type(value) or key in RETYPED, (request, key, mine, value)
        if isinstance(value, list) and isinstance(mine, list):
            assert len(mine) == len(value), (request, key)
            assert {type(each) for each in mine} == {type(each) for each in value}, (request, key)
