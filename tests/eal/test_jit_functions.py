# SPDX-License-Identifier: BSD-3-Clause
"""Records, callbacks, the cache: what compiled functions are made of."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pollmode.eal import jit
from pollmode.eal.jit import Callback, burst_callback, call_burst, compile_now, compiled, inlined, record, view
from pollmode.eal.layout import le_struct, offset_of

CELL = le_struct("cell", 16, count="i8", flags="u2", kind="u2", words=("u2", 2))


def make_adder(step: int) -> Callback:
    @inlined
    def stepped(value: int) -> int:
        return value + step

    def add(lcore: int, queue: int, burst: int, n: int) -> int:
        cell = record(queue, CELL)
        cell.count = stepped(cell.count) + n
        cell.flags = 0x1FFFF
        cell.words[1] = 3
        cells = view(burst, n, CELL)
        return cell.count + cells[n - 1].kind

    return burst_callback(add, f"test_add_{step}")


@compiled
def call_through(address: int, queue: int, burst: int, n: int) -> int:
    return call_burst(address, 0, queue, burst, n)


def test_a_callback_is_called_through_its_address_and_keeps_its_constants() -> None:
    first, second = make_adder(5), make_adder(7)
    cells = np.zeros(3, CELL)
    cells["kind"] = [10, 20, 30]
    at = cells.ctypes.data
    assert call_through(first.address, at, at, 2) == 7 + 20
    assert call_through(second.address, at, at, 3) == 17 + 30
    assert (cells["flags"][0], cells["words"][0].tolist()) == (0xFFFF, [0, 3])
    assert (first.name, second.name) == ("test_add_5", "test_add_7")


@compiled
def read_at(at: int, count: int, index: int) -> int:
    return view(at, count, CELL)[index].count


@pytest.mark.skipif(not (jit.INTERPRETED or jit.BOUNDS_CHECKED), reason="this run checks no bounds")
def test_an_index_outside_a_view_is_an_error_where_bounds_are_checked() -> None:
    cells = np.zeros(4, CELL)
    with pytest.raises(IndexError):
        read_at(cells.ctypes.data, 3, 3)


def test_an_entry_point_can_be_compiled_before_it_is_called() -> None:
    compile_now(read_at, 3)
    cells = np.zeros(1, CELL)
    cells["count"] = 42
    assert read_at(cells.ctypes.data, 1, 0) == 42


def test_a_structure_whose_size_is_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match="declared with 8 bytes and its fields take 10"):
        le_struct("wrong", 8, a="i8", b="u2")
    assert offset_of(CELL, "words") == 12


PROGRAM = """
import numpy as np
from pollmode.eal import jit
jit.on_compile(lambda name: print("compiling", name))
import sys
sys.path.insert(0, sys.argv[1])
import made
print(made.make(3, made.plus).address != 0, made.loop(4))
"""

MADE = """
from pollmode.eal.jit import burst_callback, compiled, inlined
@inlined
def plus(value):
    return value + 1
def make(step, function):
    def rx(lcore, queue, burst, n):
        return function(n) + step
    return burst_callback(rx, "test_rx")
@compiled
def loop(n):
    return plus(n)
"""


def run_program(folder: Path, home: Path) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(home), "TMPDIR": str(folder)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-B", "-c", PROGRAM, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.skipif(jit.INTERPRETED, reason="nothing is compiled in this run")
def test_a_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(MADE)
    assert run_program(tmp_path, tmp_path / "cache") == "compiling test_rx\ncompiling loop\nTrue 5\n"
    assert run_program(tmp_path, tmp_path / "cache") == "True 5\n"


@pytest.mark.skipif(jit.INTERPRETED, reason="nothing is compiled in this run")
def test_without_a_home_compiled_code_is_kept_below_the_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(MADE)
    (tmp_path / "file").write_text("")
    assert run_program(tmp_path, tmp_path / "file") == "compiling test_rx\ncompiling loop\nTrue 5\n"
    assert run_program(tmp_path, tmp_path / "file") == "True 5\n"


KILLED = """
import os, signal
import numba.core.caching as caching
replace = os.replace
def killed(source, target):
    os.kill(os.getpid(), signal.SIGKILL)
caching.os.replace = killed
"""


@pytest.mark.skipif(jit.INTERPRETED, reason="nothing is compiled in this run")
def test_a_process_killed_while_it_compiles_leaves_nothing_that_harms_the_next(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(MADE)
    (tmp_path / "sitecustomize.py").write_text(KILLED)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-B", "-c", PROGRAM, str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert list((tmp_path / "cache").rglob("*.tmp.*"))
    (tmp_path / "sitecustomize.py").unlink()
    assert run_program(tmp_path, tmp_path / "cache") == "compiling test_rx\ncompiling loop\nTrue 5\n"
    assert run_program(tmp_path, tmp_path / "cache") == "True 5\n"
