# SPDX-License-Identifier: BSD-3-Clause
"""Lcores: which there are, where they run, how a function is launched, stopped and waited for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollmode.eal import lcore as lcore_module
from pollmode.eal.coremap import CoreMap, cpu_ranges, parse_coremap
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.jit import INTERPRETED, compiled, load64, load_relaxed64, pause, store64
from pollmode.eal.lcore import (
    LCORE,
    LCORE_BUSY_CYCLES,
    LCORE_ID,
    LCORE_ID_ANY,
    LCORE_STOP,
    MAX_LCORE,
    Lcores,
    choose_lcores,
)
from pollmode.eal.memory import Memory, private

PATIENCE = 60.0
HERE = frozenset(os.sched_getaffinity(0))


@pytest.fixture
def lcores(memory: Memory) -> Iterator[Lcores]:
    """Lcores 0, 3 and 5 that float over all cpus; 3 is the main one."""
    made = Lcores(tuple((number, HERE) for number in (0, 3, 5)), memory, main=3)
    yield made
    assert made.close()


@compiled
def add(lcore: int, one: int, other: int) -> int:
    return load64(lcore + LCORE_ID) * 1000 + one + other


@compiled
def poll(lcore: int, ready: int) -> int:
    store64(ready, 1)
    turns = 0
    while load_relaxed64(lcore + LCORE_STOP) == 0:
        turns += 1
        pause()
    store64(lcore + LCORE_BUSY_CYCLES, turns)
    return turns


def fail(lcore: int) -> None:
    raise LookupError(f"record {lcore:#x}")


def where(_lcore: int) -> tuple[frozenset[int], int, str]:
    return frozenset(os.sched_getaffinity(0)), threading.get_native_id(), threading.current_thread().name


def test_main_and_workers_are_all_of_them(lcores: Lcores) -> None:
    assert [each.id for each in lcores.all] == [0, 3, 5]
    assert lcores.main.id == 3
    assert [each.id for each in lcores.workers] == [0, 5]
    assert lcores[5] is lcores.all[2]


def test_the_first_is_main_unless_said_otherwise(memory: Memory) -> None:
    lcores = Lcores(((2, HERE), (7, HERE)), memory)
    assert lcores.main.id == 2
    assert lcores.close()


def test_records_know_their_id_and_lie_in_memory(lcores: Lcores, memory: Memory) -> None:
    zone = memory.lookup("lcores")
    for each in lcores.all:
        assert each.record["id"][0] == each.id
        assert each.address == zone.address + each.id * LCORE.itemsize
        assert each.address % 128 == 0
    assert lcores.control.id == LCORE_ID_ANY == MAX_LCORE
    assert lcores.control.record["id"][0] == LCORE_ID_ANY


def test_a_function_gets_its_record_and_its_arguments(lcores: Lcores) -> None:
    lcores.launch(5, add, 20, 3)
    assert lcores.wait(5, PATIENCE) == 5023


def test_every_lcore_has_a_thread_of_its_own(lcores: Lcores) -> None:
    for each in lcores.all:
        lcores.launch(each.id, where)
    seen = [lcores.wait(each.id, PATIENCE) for each in lcores.all]
    threads = {thread for _, thread, _ in seen}
    assert len(threads) == 3
    assert threading.get_native_id() not in threads
    assert [name for _, _, name in seen] == ["lcore-0", "lcore-3", "lcore-5"]


def test_an_lcore_keeps_its_thread(lcores: Lcores) -> None:
    threads = set()
    for _ in range(3):
        lcores.launch(0, where)
        threads.add(lcores.wait(0, PATIENCE)[1])
    assert len(threads) == 1


@pytest.mark.parametrize("cpu", sorted(HERE)[:4])
def test_an_lcore_is_pinned_to_its_cpu(memory: Memory, cpu: int) -> None:
    lcores = Lcores(((0, frozenset({cpu})),), memory)
    lcores.launch(0, where)
    assert lcores.wait(0, PATIENCE)[0] == {cpu}
    assert os.sched_getaffinity(0) == HERE
    assert lcores.close()


def test_a_floating_lcore_may_run_on_each_of_its_cpus(lcores: Lcores) -> None:
    lcores.launch(0, where)
    assert lcores.wait(0, PATIENCE)[0] == HERE


def test_a_loop_ends_by_its_stop_word(lcores: Lcores, memory: Memory) -> None:
    ready = memory.reserve("ready", 64).array("i8")
    lcores.launch(0, poll, ready.ctypes.data)
    wait_until(ready)
    assert lcores.running == [0]
    assert not lcores.stopping(0)
    with pytest.raises(TimeoutError, match="lcore 0 is still running after"):
        lcores.wait(0, 0.05)
    lcores.stop()
    assert lcores.stopping(0)
    turns = lcores.wait(0, PATIENCE)
    assert turns == lcores[0].record["busy_cycles"][0]
    assert lcores.running == []


def wait_until(ready: object) -> None:
    ticking = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if ready[0]:  # type: ignore[index]  # an array of one word that the loop sets
            return
        ticking.wait(0.005)
    raise AssertionError("the loop did not start")


def test_one_lcore_is_stopped_and_the_other_goes_on(lcores: Lcores, memory: Memory) -> None:
    ready = memory.reserve("ready", 64).array("i8", 2)
    lcores.launch(0, poll, ready.ctypes.data)
    lcores.launch(5, poll, ready.ctypes.data + 8)
    wait_until(ready)
    wait_until(ready[1:])
    lcores.stop(0)
    lcores.wait(0, PATIENCE)
    assert lcores.running == [5]


def test_the_interpreter_goes_on_while_loops_poll(lcores: Lcores, memory: Memory) -> None:
    ready = memory.reserve("ready", 64 * 3).array("i8", 24)
    for place, each in enumerate(lcores.all):
        lcores.launch(each.id, poll, ready.ctypes.data + 64 * place)
    for place in range(3):
        wait_until(ready[8 * place :])
    lcores.stop()
    lcores.wait(timeout=PATIENCE)
    assert all(each.record["busy_cycles"][0] > 0 for each in lcores.all) or INTERPRETED


def test_a_stopped_lcore_is_launched_again(lcores: Lcores) -> None:
    lcores.stop()
    lcores.launch(0, add, 1, 1)
    assert lcores.wait(0, PATIENCE) == 2
    assert not lcores.stopping(0)


def test_what_a_function_raises_is_raised_by_wait_once(lcores: Lcores) -> None:
    lcores.launch(5, fail)
    with pytest.raises(LookupError, match="record 0x"):
        lcores.wait(5, PATIENCE)
    assert lcores.wait(5) is None


def test_waiting_for_all_waits_for_all_before_it_raises(lcores: Lcores) -> None:
    lcores.launch(0, fail)
    lcores.launch(5, add, 1, 2)
    with pytest.raises(LookupError):
        lcores.wait(timeout=PATIENCE)
    assert lcores.running == []
    lcores.launch(0, add, 1, 2)
    assert lcores.wait(0, PATIENCE) == 3


def test_a_running_lcore_is_not_launched(lcores: Lcores, memory: Memory) -> None:
    ready = memory.reserve("ready", 64).array("i8")
    lcores.launch(0, poll, ready.ctypes.data)
    with pytest.raises(ConfigError, match="lcore 0 is running already; stop it"):
        lcores.launch(0, add, 1, 2)


@pytest.mark.parametrize("method", ["stop", "wait", "stopping"])
def test_an_lcore_that_is_not_enabled_is_refused(lcores: Lcores, method: str) -> None:
    with pytest.raises(ConfigError, match="lcore 4 is not enabled, the lcores are 0, 3, 5"):
        getattr(lcores, method)(4)
    with pytest.raises(ConfigError, match="lcore 4 is not enabled"):
        lcores.launch(4, add, 1, 2)


def test_closing_stops_loops_and_ends_threads() -> None:
    with private(1 << 20) as memory:
        lcores = Lcores(((0, HERE), (1, HERE)), memory)
        ready = memory.reserve("ready", 64).array("i8")
        lcores.launch(1, poll, ready.ctypes.data)
        wait_until(ready)
        assert lcores.close()
        assert lcores.close()
        assert not any(thread.name.startswith("lcore-") for thread in threading.enumerate())
        assert [zone.name for zone in memory.zones()] == ["ready"]
    lcores.stop()  # a late signal touches no memory
    with pytest.raises(ConfigError, match="the lcores are closed"):
        lcores.launch(0, add, 1, 2)


def test_a_loop_that_ignores_its_stop_word_is_reported(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lcore_module, "_LAST_WAIT", 0.05)
    lcores = Lcores(((0, HERE),), memory)
    leave = threading.Event()
    lcores.launch(0, lambda _lcore: leave.wait(PATIENCE))  # type: ignore[arg-type, unused-ignore]  # any callable runs
    assert not lcores.close()
    leave.set()


# Which lcores


def test_without_a_list_every_cpu_of_the_process_has_an_lcore() -> None:
    assert choose_lcores(None) == tuple((cpu, frozenset({cpu})) for cpu in sorted(HERE))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("{0}", {0: {0}}),
        ("7@{0}", {7: {0}}),
        ("(0-2)@{0}", {0: {0}, 1: {0}, 2: {0}}),
        ("5@{0},9@{0}", {5: {0}, 9: {0}}),
    ],
)
def test_the_forms_of_a_list_keep_their_meaning(text: str, cpus: dict[int, set[int]]) -> None:
    first = min(HERE)
    chosen = dict(choose_lcores(parse_coremap(text.format(first))))
    if text == "{0}":
        assert chosen == {first: {first}}
    else:
        assert chosen == {number: {first} for number in cpus}


@pytest.mark.parametrize("wanted", [((0, HERE), (1, HERE)), None])
def test_a_main_lcore_that_is_not_enabled_is_refused(wanted: CoreMap | None) -> None:
    with pytest.raises(ConfigError, match=r"Main lcore is not enabled for DPDK: --main-lcore is 127, lcores are \d"):
        choose_lcores(wanted, 127)


def test_a_process_with_high_cpus_alone_is_told_to_name_lcores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {200, 201})
    with pytest.raises(ConfigError, match="no lcores: no cpu of this process is below 128; name some"):
        choose_lcores(None)


def test_a_cpu_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"lcore 1 is to run on cpu 1023, which is not there: the cpus are 0"):
        choose_lcores(parse_coremap(f"0@{min(HERE)},1@1023"))


def test_a_cpu_the_cpuset_forbids_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(_pid: int, cpus: frozenset[int]) -> None:
        if 77 in cpus:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(lcore_module, "_online", lambda: HERE | {77})
    monkeypatch.setattr(os, "sched_setaffinity", forbid)
    with pytest.raises(HostError, match=r"lcore 3 may not run on cpu 77: the cpuset .*; choose of the cpus"):
        choose_lcores(((3, frozenset({77})),))


def test_checking_cpus_leaves_the_calling_thread_where_it_was() -> None:
    choose_lcores(((0, frozenset({min(HERE)})),))
    assert os.sched_getaffinity(0) == HERE


def test_a_thread_that_cannot_be_pinned_says_so(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    lcores = Lcores(((0, HERE),), memory)
    monkeypatch.setattr(
        os, "sched_setaffinity", lambda _pid, _cpus: (_ for _ in ()).throw(OSError(22, "Invalid argument"))
    )
    lcores.launch(0, where)
    with pytest.raises(HostError, match="cannot pin the thread of the lcore: Invalid argument"):
        lcores.wait(0, PATIENCE)
    assert lcores.close()


def test_a_thread_that_cannot_start_says_so(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lcores = Lcores(((0, HERE),), memory)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(HostError, match="cannot start the thread of lcore 0: can't"):
            lcores.launch(0, where)
    lcores.launch(0, add, 1, 2)
    assert lcores.wait(0, PATIENCE) == 3
    assert lcores.close()


def test_the_kernels_lists_of_cpus_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "online").write_text("0-3,8,10-11\n")
    (tmp_path / "cpu8" / "node1").mkdir(parents=True)
    monkeypatch.setattr(lcore_module, "_CPUS", tmp_path)
    assert lcore_module._online() == {0, 1, 2, 3, 8, 10, 11}
    assert cpu_ranges({0, 1, 2, 3, 8, 10, 11}) == "0-3, 8, 10-11"
    assert lcore_module._socket(frozenset({8})) == 1
    assert lcore_module._socket(frozenset({9})) == 0
