# SPDX-License-Identifier: BSD-3-Clause
"""Starting and closing: what a stranger sees, and that nothing half-made is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pollmode.eal import Environment as LazyEnvironment
from pollmode.eal import environment as environment_module
from pollmode.eal import logs
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, HostError, PollmodeError
from pollmode.eal.jit import compiled, load_relaxed64
from pollmode.eal.lcore import LCORE_STOP
from pollmode.eal.lcore import Lcores as RealLcores

CPU = min(os.sched_getaffinity(0))
ALONE = ["--in-memory", "--no-huge", "-m", "16", "--lcores", f"0@{CPU}"]


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return tmp_path / "dpdk"


def traces() -> tuple[int, int, int]:
    """Return what an environment would leave in this process: descriptors, threads, mappings."""
    maps = Path("/proc/self/maps").read_text()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), maps.count("memfd:pollmode-")


@compiled
def poll(lcore: int) -> int:
    while load_relaxed64(lcore + LCORE_STOP) == 0:
        pass
    return 7


def test_everything_is_there(base: Path) -> None:
    words = ["--no-huge", "-m", "16", "--lcores", f"(1,4)@{CPU}", "--main-lcore", "4", "--file-prefix", "mine"]
    with Environment.start([*words, "--vdev", "net_null0,size=9", "--vdev=net_ring1"]) as started:
        assert started.options.file_prefix == "mine"
        assert started.runtime.directory == base / "mine"
        assert started.memory.regions()[0].size == 16 << 20
        assert [lcore.id for lcore in started.lcores.all] == [1, 4]
        assert started.lcores.main.id == 4
        assert [vdev.name for vdev in started.vdevs] == ["net_null0", "net_ring1"]
        rang = threading.Event()
        started.interrupts.alarm(0, rang.set)
        assert rang.wait(60)
    assert os.listdir(base) == []


def test_nothing_is_left_after_close(base: Path) -> None:
    before = traces()
    started = Environment.start(["--no-huge", "-m", "16", "--lcores", f"0@{CPU}"])
    started.lcores.launch(0, poll)
    started.close()
    started.close()
    assert traces() == before
    assert os.listdir(base) == []


def test_closing_runs_callbacks_from_the_last_while_memory_is_there() -> None:
    order: list[str] = []
    with Environment.start(ALONE) as started:
        started.on_close(lambda: order.append("first"))
        started.on_close(lambda: order.append(started.memory.reserve("late", 64).name))
    assert order == ["late", "first"]


def test_memory_is_closed_although_a_callback_fails() -> None:
    def fail() -> None:
        raise LookupError("a port")

    before = traces()
    started = Environment.start(ALONE)
    started.on_close(fail)
    with pytest.raises(LookupError):
        started.close()
    assert traces() == before


@pytest.mark.parametrize("broken", ["Lcores", "Interrupts"])
def test_a_start_that_fails_late_leaves_nothing(base: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    class Broken:
        def __init__(self, *_: object) -> None:
            raise HostError("no more threads")

    before = traces()
    monkeypatch.setattr(environment_module, broken, Broken)
    with pytest.raises(HostError, match="no more threads"):
        Environment.start(["--no-huge", "-m", "16", "--lcores", f"0@{CPU}"])
    assert traces() == before
    assert os.listdir(base) == []


def test_a_loop_that_never_ends_keeps_its_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = Environment.start(ALONE)
    with monkeypatch.context() as patched:
        patched.setattr(RealLcores, "close", lambda _self: False)
        started.close()
    assert "an lcore did not stop: its memory stays mapped" in capsys.readouterr().err
    assert started.memory.reserve("still there", 64).array("u8")[0] == 0
    started.memory.close()


def test_in_memory_environments_stand_side_by_side(base: Path) -> None:
    with Environment.start(ALONE) as one, Environment.start(ALONE) as other:
        assert one.memory.regions()[0].address != other.memory.regions()[0].address
        assert sorted(os.listdir(base / "rte")) == ["dpdk_telemetry.v2", "dpdk_telemetry.v2:1"]
    assert os.listdir(base) == []


def test_telemetry_that_was_refused_leaves_no_socket(base: Path) -> None:
    with Environment.start([*ALONE, "--no-telemetry"]):
        assert not base.exists()


def test_telemetry_that_can_not_be_served_stops_only_who_asked_for_it(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*ALONE, "--file-prefix", "é" * 127]  # a socket's path has 107 bytes at most
    before = traces()
    with Environment.start(words):
        assert "no telemetry socket in" in capsys.readouterr().err
    with pytest.raises(HostError, match="choose a shorter --file-prefix"):
        Environment.start([*words, "--telemetry"])
    assert traces() == before


def test_a_second_start_with_the_same_prefix_names_the_holder() -> None:
    words = ["--no-huge", "-m", "16", "--lcores", f"0@{CPU}"]
    before = traces()
    with Environment.start(words), pytest.raises(HostError, match=rf"Cannot create lock on .* process {os.getpid()} "):
        Environment.start(words)
    assert traces() == before
    with Environment.start(words):
        pass


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (["--no-hug"], ConfigError, "unknown argument --no-hug! (did you mean '--no-huge'?)"),
        (["-l", "1023"], ConfigError, "lcore 1023 is out of range, it must be 0 to 127"),
        (["--lcores", "0@1023"], ConfigError, "lcore 0 is to run on cpu 1023, which is not there: the cpus are 0"),
        (["--lcores", "0-"], ConfigError, "invalid lcores '0-'"),
        (["--lcores", f"0@{CPU}", "--main-lcore", "9"], ConfigError, "Main lcore is not enabled for DPDK"),
        (["--main-lcore", "127"], ConfigError, "Main lcore is not enabled for DPDK"),
        (["-m", "0"], ConfigError, "0 is out of range"),
        (["-m", "1g"], ConfigError, "expect an integer value"),
        (["--no-huge", "-m", "16777216"], HostError, "-m asks for 16384 GiB and"),
        (["--base-virtaddr", "zz"], ConfigError, "invalid parameter"),
        (["--base-virtaddr", "400000"], ConfigError, "it must be 0x1000000 or more"),
        (["--iova-mode", "px"], ConfigError, "Invalid IOVA mode 'px'"),
        (["--iova-mode", "pa", "--no-huge"], HostError, "need hugepages"),
        (["--huge-dir", "/nonexistent"], ConfigError, "--huge-dir /nonexistent: no such directory"),
        (["--huge-dir", "/"], HostError, "--huge-dir / is no mounted hugetlbfs"),
        (["--no-huge", "--huge-unlink"], ConfigError, "can't be used at the same time"),
        (["--telemetry", "--no-telemetry"], ConfigError, "can't be used at the same time"),
        (["--file-prefix", "a/b"], ConfigError, "--file-prefix: 'a/b'"),
        (["--vdev", ",x=1"], ConfigError, "it has no name"),
        (["--vdev", "usb:x"], ConfigError, "bus 'usb' is unknown"),
        (["--proc-type", "secondary"], HostError, "no primary process has the file prefix 'rte'"),
        (["--log-level", "loud"], ConfigError, "Invalid log level: 'loud'"),
    ],
)
def test_words_that_are_wrong_are_one_line_and_leave_nothing(
    base: Path, words: Sequence[str], kind: type[PollmodeError], told: str
) -> None:
    before = traces()
    with pytest.raises(kind) as caught:
        Environment.start(words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert traces() == before
    assert not base.exists() or os.listdir(base) == []


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (
            "RLIMIT_AS, (used + (1 << 30), -1)",
            "cannot map 2 GiB of ordinary memory (--no-huge): Cannot allocate memory; ask",
        ),
        ("RLIMIT_FSIZE, (1 << 20, -1)", "cannot make 2 GiB of ordinary memory (--no-huge): File too large"),
    ],
)
def test_a_limit_of_the_process_is_named(limit: str, told: str) -> None:
    code = f"""
import resource
from pollmode.eal.environment import Environment
from pollmode.eal.errors import PollmodeError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.{limit})
try:
    Environment.start(["--in-memory", "--no-huge"])
except PollmodeError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.startswith(told), run.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--help"], "--base-virtaddr ADDRESS"), (["-v"], "pollmode "), (["--log-level=help"], "lib.eal: ")],
)
def test_a_question_is_answered_and_nothing_started(
    base: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        Environment.start(words)
    assert ended.value.code == 0
    assert told in capsys.readouterr().out
    assert not base.exists()


def test_log_options_take_effect(capsys: pytest.CaptureFixture[str]) -> None:
    level = logs.get("lib.eal").level
    try:
        with Environment.start([*ALONE, "--log-level=lib.eal:error"]):
            pass
        assert "memory:" not in capsys.readouterr().err
    finally:
        logs.configure([logs.LevelRule("lib.eal", level)])


def test_the_package_hands_out_the_environment() -> None:
    assert LazyEnvironment is Environment


def test_reading_options_imports_nothing_heavy() -> None:
    code = "import sys, pollmode.eal.options; print(sorted({'numba', 'numpy', 'structlog', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_prefix_as_long_as_a_file_name_may_be_starts(base: Path) -> None:
    with Environment.start([*ALONE, "--file-prefix", "é" * 127]) as started:
        assert started.memory.regions()
