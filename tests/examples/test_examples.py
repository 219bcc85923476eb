# SPDX-License-Identifier: BSD-3-Clause
"""The examples do what they say, started as a user starts them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.program import Program

from pollmode.eal.jit import compiled

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 150.0
TESTPMD = [sys.executable, "-m", "pollmode.testpmd"]
NO_HUGE = ["--no-huge", "--in-memory"]


def run(name: str, *words: str) -> str:
    """Run an example; what it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *words], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packet_function() -> ModuleType:
    found = importlib.util.spec_from_file_location("packet_function", EXAMPLES / "packet_function.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_first_program_is_under_20_lines() -> None:
    assert len((EXAMPLES / "first.py").read_text().splitlines()) < 20


@pytest.mark.parametrize("size", [64, 300])
def test_the_first_program_receives_prints_and_sends(size: int) -> None:
    said = run("first.py", *NO_HUGE, "--vdev", f"net_null0,copy=1,size={size}").splitlines()
    zero = ":".join(["00"] * 6)
    assert said == [f"{zero} > {zero}, type 0000, {size} bytes"] * 32


def test_the_packet_function_turns_packets_round(packet_function: ModuleType) -> None:
    said = run("packet_function.py", "2", *NO_HUGE, "--vdev", "net_ring0").splitlines()
    assert [bool(re.fullmatch(r"\d+\.\d\d Mpps", line)) for line in said] == [True, True, False]
    total = re.fullmatch(r"(\d+) packets turned, 0 dropped", said[2])
    assert total is not None
    assert int(total[1]) > 256


def test_the_packet_function_drops_what_is_not_ipv4() -> None:
    said = run("packet_function.py", "1", *NO_HUGE, "--vdev", "net_null0,copy=1").splitlines()
    total = re.fullmatch(r"0 packets turned, (\d+) dropped", said[-1])
    assert total is not None
    assert int(total[1]) > 0


def test_turn_swaps_the_addresses_of_ipv4(packet_function: ModuleType) -> None:
    turn = packet_function.turn

    @compiled
    def turned(frame: int, length: int) -> int:
        return int(turn(frame, length))

    frame = np.frombuffer(packet_function.FRAME, np.uint8).copy()
    assert turned(frame.ctypes.data, 13) == 0
    assert bytes(frame) == packet_function.FRAME
    assert turned(frame.ctypes.data, len(frame)) == 1
    assert bytes(frame) == packet_function.FRAME[6:12] + packet_function.FRAME[:6] + packet_function.FRAME[12:]
    frame[13] = 6
    assert turned(frame.ctypes.data, len(frame)) == 0


def test_the_secondary_prints_what_another_process_does(tmp_path: Path) -> None:
    assert len((EXAMPLES / "secondary.py").read_text().splitlines()) < 20
    runtime = {"RUNTIME_DIRECTORY": str(tmp_path)}
    words = [
        *TESTPMD,
        "--no-huge",
        "-m",
        "64",
        "--no-pci",
        "--lcores",
        f"(0,1)@{min(os.sched_getaffinity(0))}",
        "--vdev",
        "net_null0",
    ]
    first = Program([*words, "--", "-i", "-a", "--total-num-mbufs=2048"], keyboard=True, environment=runtime)
    try:
        first.wait_for("TX RS bit threshold.*testpmd> ", seconds=PATIENCE)
        second = Program([sys.executable, str(EXAMPLES / "secondary.py")], environment=runtime)
        try:
            found = second.wait_for(r"net_null0: (\d+) received, (\d+) sent", seconds=PATIENCE)
            assert int(found[1]) > 0
            first.type("quit")
            assert (first.wait(), second.wait()) == (0, 1)
            assert f"the primary process {first.process.pid} of file prefix 'rte' has ended" in second.log()
            assert "Traceback" not in second.log()
        finally:
            second.close()
    finally:
        first.close()
