# SPDX-License-Identifier: BSD-3-Clause
"""A secondary's side: finding the primary of a file prefix, attaching to it, asking it, noticing its end."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pollmode.eal import logs
from pollmode.eal.errors import HostError, InternalError, PollmodeError
from pollmode.eal.multiprocess.channel import MAX_ANSWER, Channel, error_from
from pollmode.eal.multiprocess.memory import AttachedMemory
from pollmode.eal.multiprocess.primary import ATTACH
from pollmode.eal.multiprocess.version import own_version
from pollmode.eal.runtime import LOCK, runtime_base
from pollmode.eal.telemetry_client import TelemetryClient
from pollmode.eal.telemetry_server import SOCKET_NAME

__all__ = ["Primary", "primary_pid"]

log = logs.get("lib.eal")

_STARTING = 3.0
"""Seconds that a process which has the prefix's lock is given to serve telemetry."""
_PATIENCE = 60.0
"""Seconds to wait for an answer: what is asked for may have to wait for an lcore to leave a callback."""
_FAREWELL = 2.0
"""Seconds to wait for a primary to hang up when this process leaves: it may be stopped."""


def primary_pid(prefix: str) -> int | None:
    """Return the pid of the process that has a file prefix, None when there is none."""
    try:
        pid = int((runtime_base() / prefix / LOCK).read_text())
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, ValueError):
        return None
    return pid


class Primary:
    """The primary process, as a secondary has it; `memory` is its memory.

    `gone` is why it can't be asked any more, None while it can; `pid` its number, `lcores` and `control` the lcore ids
    that it gave us.
    """

    def __init__(self, prefix: str, lcores: Sequence[int] | None) -> None:
        """Attach to the primary of `prefix`, with these lcore ids or one of its choice.

        Raises HostError when there is none or its memory can't be mapped, ConfigError when it refuses.
        """
        self.prefix = prefix
        self.gone: HostError | None = None
        self._asking = threading.Lock()
        self._asked = 0
        self._answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._callbacks: list[Callable[[], object]] = []
        self._leaving = False
        self._channel = Channel(_attach(prefix), MAX_ANSWER)
        try:
            told = self._greet(lcores)
            self.pid = int(told["pid"])
            self.lcores: tuple[int, ...] = tuple(told["lcores"])
            self.control = int(told["control"])
            descriptor = self._channel.take_descriptor()
            if descriptor is None:
                raise InternalError("the primary sent no descriptor of its memory")
            self.memory = AttachedMemory(told, descriptor, self.ask)
        except BaseException:
            self._channel.close()
            raise
        self._thread = threading.Thread(target=self._listen, name="primary", daemon=True)
        self._thread.start()

    def ask(self, name: str, **arguments: Any) -> Any:
        """Ask the primary for something and return the answer. Raises what it raised, HostError when it is gone."""
        with self._asking:
            self.check()
            try:
                self._send({"ask": name, **arguments})
                answer = self._answer(self._asked)
            except queue.Empty:
                self.gone = HostError(f"primary process {self.pid} does not answer; is it stopped?")
                raise self.gone from None
            except OSError:
                answer = None
        if answer is None:
            self._thread.join(_PATIENCE)
            self.check()
            raise HostError(f"primary process {self.pid} can't be asked any more")
        return _value(answer)

    def check(self) -> None:
        """Raise HostError when the primary is gone."""
        if self.gone is not None:
            raise self.gone

    def on_gone(self, callback: Callable[[], object]) -> None:
        """Call `callback()` when the primary ends, in a thread of its own; the last one is called first.

        One that returns False could not let go: the primary then waits for the end of this process.
        """
        self._callbacks.insert(0, callback)

    def leave(self) -> None:
        """Detach: nothing of this process uses the memory any more. Twice is no error."""
        if not self._leaving:
            self._leaving = True
            if self._asking.acquire(timeout=_FAREWELL):
                self._part()
                self._asking.release()
                self._thread.join(_FAREWELL)
            self._channel.close()
            self._thread.join()

    def _send(self, question: dict[str, Any]) -> None:
        try:
            self._channel.send(question)
            self._asked += 1
        except (OSError, TypeError, ValueError):
            raise
        except BaseException:  # an interrupt: half a line may be on its way
            self.gone = HostError(f"what was asked of the primary process {self.pid} was interrupted")
            self._channel.close()
            raise

    def _answer(self, number: int) -> Any:
        """Wait for the answer to a question, None when there is none; drop those whose asker was interrupted."""
        while True:
            came, answer = self._answers.get(timeout=_PATIENCE)
            if answer is None or came == number:
                return answer

    def _greet(self, lcores: Sequence[int] | None) -> dict[str, Any]:
        wanted = None if lcores is None else list(lcores)
        try:
            self._channel.send({"ask": "hello", "lcores": wanted, **own_version()})
            told: dict[str, Any] = _value(self._channel.receive(descriptors=True))
        except (OSError, EOFError, ValueError) as error:
            raise HostError(f"the primary process of file prefix {self.prefix!r} ended meanwhile") from error
        return told

    def _listen(self) -> None:
        """Take answers until the primary hangs up; then have everything of ours let go of its memory."""
        with contextlib.suppress(EOFError, OSError, ValueError):
            for number in itertools.count(1):  # questions are answered in their order
                self._answers.put((number, self._channel.receive()))
        if self._leaving:
            self._answers.put((0, None))
            self._channel.close()
            return
        if self.gone is None:
            self.gone = HostError(f"the primary process {self.pid} of file prefix {self.prefix!r} has ended")
        self._answers.put((0, None))
        stuck = [callback for callback in self._callbacks if not self._lets_go(callback)]
        if not stuck:
            self._part()  # else the primary waits for the end of this process
        self._channel.close()

    def _lets_go(self, callback: Callable[[], object]) -> bool:
        try:
            return callback() is not False
        except PollmodeError as error:
            log.error(f"letting go of the primary's memory: {error}")
            return False

    def _part(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.send({"ask": "left"})
        self._channel.end_sending()


def _value(answer: Any) -> Any:
    if "error" in answer:
        raise error_from(answer)
    return answer["value"]


def _attach(prefix: str) -> socket.socket:
    """Hand the primary of a file prefix one end of a socket pair; return the other."""
    pid = primary_pid(prefix)
    if pid is None:
        others = sorted(path.parent.name for path in runtime_base().glob(f"*/{LOCK}") if primary_pid(path.parent.name))
        there = ", ".join(others) or "none"
        told = f"prefix: no primary process has the file prefix {prefix!r}; prefixes of running ones: {there}"
        raise HostError(told, mend="start one without --in-memory and --no-shconf, or name its --file-prefix")
    deadline = time.monotonic() + _STARTING
    while (client := _telemetry_of(runtime_base() / prefix, pid)) is None:
        if time.monotonic() > deadline or primary_pid(prefix) != pid:
            told = (
                f"prefix: process {pid} has the file prefix {prefix!r} and serves no telemetry, by which one attaches"
            )
            raise HostError(told, mend="start it without --no-telemetry")
        time.sleep(0.02)
    ours, theirs = socket.socketpair()
    with client, theirs:
        answer = client.ask(ATTACH, None, theirs.fileno())
    if not isinstance(answer, dict) or "error" in answer:
        ours.close()
        raise HostError(str(answer["error"]) if answer else f"process {pid} takes no secondary process")
    return ours


def _telemetry_of(directory: Path, pid: int) -> TelemetryClient | None:
    """Return a connection to the telemetry of a process, None when it serves none."""
    for path in sorted(directory.glob(f"{SOCKET_NAME}*")):
        with contextlib.suppress(HostError):
            client = TelemetryClient(path)
            if client.info.get("pid") == pid:
                return client
            client.close()
    return None
