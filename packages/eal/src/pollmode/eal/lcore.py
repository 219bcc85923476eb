# SPDX-License-Identifier: BSD-3-Clause
"""Lcores: pinned threads of the operating system, each running one compiled function without the GIL.

The thread that starts the EAL never polls: it waits for signals and commands. Every lcore, the main one too, has a
thread of its own, made at its first launch and pinned before it runs anything. A loop ends by its stop word:
`while load_relaxed64(lcore + LCORE_STOP) == 0`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pollmode.eal.coremap import CoreMap, cpu_list, cpu_ranges
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.lcore_layout import (
    LCORE,
    LCORE_BUSY_CYCLES,
    LCORE_ID,
    LCORE_ID_ANY,
    LCORE_STOP,
    LCORE_TOTAL_CYCLES,
    MAX_LCORE,
)
from pollmode.eal.memory import Memory
from pollmode.eal.memzone import Memzone, array_at

__all__ = [
    "LCORE",
    "LCORE_BUSY_CYCLES",
    "LCORE_ID",
    "LCORE_ID_ANY",
    "LCORE_STOP",
    "LCORE_TOTAL_CYCLES",
    "Lcore",
    "Lcores",
    "MAX_LCORE",
    "choose_lcores",
]

ZONE = "lcores"
"""The zone of all lcores' records."""
_CPUS = Path("/sys/devices/system/cpu")
_LAST_WAIT = 10.0  # seconds that `close` gives a loop to see its stop word


@dataclass(frozen=True)
class Lcore:
    """One lcore: its id, the cpus it may run on (several let it float), their NUMA node, the address of its record."""

    id: int
    cpus: frozenset[int]
    socket: int
    address: int

    @property
    def record(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The record in memory, a view of one element of `LCORE`."""
        return array_at(self.address, LCORE)


class _Run:
    """One function on its way through an lcore: finished or not, with its result or its exception."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[int, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.finished = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self, refused: OSError | None) -> None:
        try:
            if refused is not None:
                raise HostError(f"cannot pin the thread of the lcore: {refused.strerror}") from refused
            self.result = self.function(*self.arguments)
        except BaseException as error:
            self.error = error
        finally:
            self.finished.set()


class _Worker:
    """The thread of one lcore."""

    def __init__(self, lcore: Lcore) -> None:
        self.run: _Run | None = None
        self._lcore = lcore
        self._runs: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name=f"lcore-{lcore.id}", daemon=True)
        try:
            self.thread.start()
        except RuntimeError as error:
            raise HostError(f"cannot start the thread of lcore {lcore.id}: {error}", mend="raise ulimit -u") from error

    @property
    def busy(self) -> bool:
        return self.run is not None and not self.run.finished.is_set()

    def start(self, run: _Run) -> None:
        self.run = run
        self._runs.put(run)

    def end(self) -> None:
        self._runs.put(None)

    def _work(self) -> None:
        refused = None
        try:
            os.sched_setaffinity(0, self._lcore.cpus)
        except OSError as error:  # the cpu went away after it was checked
            refused = error
        while (run := self._runs.get()) is not None:
            run(refused)


class Lcores:
    """The lcores of this process: launch compiled functions on them, stop them, wait for them.

    `main` is the main lcore, `workers` the others, `all` both in order of id. `control` is the record of whoever is no
    lcore, such as the interpreter: its id is LCORE_ID_ANY, in a secondary process one that the primary gave it.
    """

    def __init__(
        self, lcores: CoreMap, memory: Memory, main: int | None = None, *, control: int = LCORE_ID_ANY
    ) -> None:
        """Take the records of all lcores in `memory`: a secondary process, which is given `control`, the primary's."""
        self._memory = memory
        self._owns = control == LCORE_ID_ANY
        self._zone = self._reserve() if self._owns else memory.lookup(ZONE)
        self._records = self._zone.array(LCORE, MAX_LCORE + 1)
        self._closed = False
        self.all = [Lcore(number, cpus, _socket(cpus), self._address(number)) for number, cpus in lcores]
        self.control = Lcore(control, frozenset(), 0, self._address(control))
        self._by_id = {lcore.id: lcore for lcore in self.all}
        self.main = self._find(main) if main is not None else self.all[0]
        self.workers = [lcore for lcore in self.all if lcore is not self.main]
        self._workers: dict[int, _Worker] = {}

    def __getitem__(self, lcore_id: int) -> Lcore:
        return self._find(lcore_id)

    @property
    def running(self) -> list[int]:
        """The ids of the lcores that run a function now."""
        return [lcore_id for lcore_id, worker in sorted(self._workers.items()) if worker.busy]

    def launch(self, lcore_id: int, function: Callable[..., Any], *arguments: int) -> None:
        """Run `function(lcore_address, *arguments)` in the lcore's thread, its stop word cleared first.

        Raises ConfigError when there is no such lcore or it is running something.
        """
        lcore = self._find(lcore_id)
        if self._closed:
            raise ConfigError(f"cannot launch on lcore {lcore_id}: the lcores are closed")
        if lcore_id not in self._workers:
            self._workers[lcore_id] = _Worker(lcore)
        worker = self._workers[lcore_id]
        if worker.busy:
            raise ConfigError(f"lcore {lcore_id} is running already; stop it and wait for it first", errno=16)
        self._records["stop"][lcore_id] = 0
        worker.start(_Run(function, (lcore.address, *arguments)))

    def stop(self, lcore_id: int | None = None) -> None:
        """Set the stop word of one lcore, or of all; returns at once. A signal handler may call it."""
        if not self._closed:
            for lcore in self.all if lcore_id is None else [self._find(lcore_id)]:
                self._records["stop"][lcore.id] = 1

    def stopping(self, lcore_id: int) -> bool:
        """Whether the lcore's stop word is set."""
        return self._closed or bool(self._records["stop"][self._find(lcore_id).id])

    def wait(self, lcore_id: int | None = None, timeout: float | None = None) -> Any:
        """Wait until the lcore has finished and return what its function returned; without an id wait for all.

        What the function raised is raised here, once; of several, the first. Returns None at once when nothing was
        launched. Raises TimeoutError after `timeout` seconds.
        """
        if lcore_id is None:
            with contextlib.ExitStack() as stack:  # waits for every lcore, then raises what one of them raised
                for each in sorted(self._workers, reverse=True):
                    stack.callback(self.wait, each, timeout)
            return None
        self._find(lcore_id)
        worker = self._workers.get(lcore_id)
        if worker is None or worker.run is None:
            return None
        run = worker.run
        if not run.finished.wait(timeout):
            raise TimeoutError(f"lcore {lcore_id} is still running after {timeout} seconds")
        worker.run = None
        if run.error is not None:
            raise run.error
        return run.result

    def close(self) -> bool:
        """Stop every lcore, end its thread and give the records back.

        Returns False when a function did not see its stop word within ten seconds: it still uses the memory, which must
        then stay mapped. Closing twice is no error.
        """
        self.stop()
        self._closed = True
        for worker in self._workers.values():
            worker.end()
        for worker in self._workers.values():
            worker.thread.join(_LAST_WAIT)
        if any(worker.thread.is_alive() for worker in self._workers.values()):
            return False
        self._workers.clear()
        if self._owns and self._zone in self._memory.zones():
            self._memory.free(self._zone)
        return True

    def _reserve(self) -> Memzone:
        zone = self._memory.reserve(ZONE, (MAX_LCORE + 1) * LCORE.itemsize, 128)
        zone.array(LCORE, MAX_LCORE + 1)["id"] = np.arange(MAX_LCORE + 1)
        return zone

    def _address(self, lcore_id: int) -> int:
        return self._zone.address + lcore_id * LCORE.itemsize

    def _find(self, lcore_id: int) -> Lcore:
        try:
            return self._by_id[lcore_id]
        except KeyError:
            there = ", ".join(map(str, self._by_id))
            raise ConfigError(f"lcore {lcore_id} is not enabled, the lcores are {there}") from None


def choose_lcores(wanted: CoreMap | None, main: int | None = None) -> CoreMap:
    """Return `wanted` after a check that its cpus are there, or an lcore for each cpu this process may run on.

    Raises ConfigError for a cpu that the machine has not or a main lcore that is none of them, HostError for a cpu this
    process must not use.
    """
    allowed = os.sched_getaffinity(0)
    chosen = wanted or tuple((cpu, frozenset({cpu})) for cpu in sorted(allowed) if cpu < MAX_LCORE)
    if not chosen:
        raise ConfigError(f"no lcores: no cpu of this process is below {MAX_LCORE}; name some with --lcores")
    if main is not None and main not in dict(chosen):
        there = ", ".join(str(lcore_id) for lcore_id, _ in chosen)
        raise ConfigError(f"Error: Main lcore is not enabled for DPDK: --main-lcore is {main}, lcores are {there}")
    if wanted is None:
        return chosen
    online = _online()
    for lcore_id, cpus in wanted:
        for cpu in sorted(cpus - online):
            there = cpu_ranges(online)
            raise ConfigError(f"lcore {lcore_id} is to run on cpu {cpu}, which is not there: the cpus are {there}")
    _check_affinity(wanted, frozenset(allowed))
    return wanted


def _check_affinity(wanted: CoreMap, before: frozenset[int]) -> None:
    """Pin this thread to each set of cpus in turn: a cpuset takes cpus away that are online."""
    try:
        for lcore_id, cpus in wanted:
            try:
                os.sched_setaffinity(0, cpus)
                refused = cpus - os.sched_getaffinity(0)
            except OSError:
                refused = cpus
            if refused:
                told = f"lcore {lcore_id} may not run on cpu {cpu_ranges(refused)}: the cpuset forbids it"
                raise HostError(told, mend=f"choose of the cpus {cpu_ranges(before)}, or widen the cpuset")
    finally:
        os.sched_setaffinity(0, before)


def _online() -> frozenset[int]:
    return frozenset(cpu_list((_CPUS / "online").read_text()))


def _socket(cpus: frozenset[int]) -> int:
    """Return the NUMA node of the lowest cpu, 0 where the kernel names none."""
    for folder in _CPUS.glob(f"cpu{min(cpus)}/node*"):
        return int(folder.name.removeprefix("node"))
    return 0
