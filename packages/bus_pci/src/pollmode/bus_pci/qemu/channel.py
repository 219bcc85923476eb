# SPDX-License-Identifier: BSD-3-Clause
"""The words with a QEMU process: its test channel (QEMU docs/devel/qtest.rst) for ports and memory.

Every command has an answer, in order: "OK", or "OK value" to a read. Lcores send doorbells on the same socket without
waiting, so an "OK" may be anybody's; nobody waits for one. A write is posted, as on a bus, and only a read waits: its
answers are the ones with values, and come in the order of the reads. One thread takes all answers, or QEMU would stop
when the socket is full; it starts QEMU too, because the kernel ends QEMU together with the thread that started it.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, HostError

__all__ = ["Channel", "Ended"]

log = logs.get("bus.pci.qemu")

PATIENCE = 60.0
"""Seconds to wait for an answer; QEMU is stuck then, and the machine may be busy."""
_MOST_UNREAD = 1 << 16
_SEND_TIMEOUT = struct.pack("ll", 5, 0)  # so that a QEMU that was stopped does not hold an lcore for ever


class Ended(Exception):
    """QEMU has ended, or doesn't answer."""


class _Question:
    """A read that waits for its answer."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.answer: bytes | None = None


class Channel:
    """A QEMU process and its test channel. `on_end` is called once, from the channel's thread, when QEMU has ended."""

    def __init__(self, words: Sequence[str], fds: Sequence[int], ours: socket.socket, theirs: socket.socket) -> None:
        self.socket = ours
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        self.on_end: Callable[[], None] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._lock = threading.Lock()
        self._questions: deque[_Question] = deque()
        self._ended = False
        self._started = threading.Event()
        self._failures: list[OSError] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, args=(words, fds, theirs), name="qemu", daemon=True)
        self._thread.start()
        self._started.wait()
        for failure in self._failures:
            self.close()
            raise HostError(f"cannot start {words[0]}: {failure.strerror}") from failure
        try:
            self.read("endianness")  # answered when the machine is complete
        except Ended:
            told = self._last_words()
            self.close()
            raise ConfigError(f"--pci-host=qemu: {told}") from None

    def write(self, *lines: str) -> None:
        """Send commands that nobody waits for. Raises Ended."""
        with self._lock:
            self._send(lines)

    def read(self, *lines: str) -> int:
        """Send commands of which the last one reads, and return what it read (0 for a word). Raises Ended."""
        question = _Question()
        with self._lock:
            if self._ended:
                raise Ended
            self._questions.append(question)  # first: the answer may be here before the call returns
            self._send(lines)
        if not question.answered.wait(PATIENCE):
            log.error(f"QEMU has not answered for {PATIENCE:g} s: it is ended")
            self.kill()
            raise Ended
        if question.answer is None:
            raise Ended
        try:
            return int(question.answer, 16)
        except ValueError:
            return 0

    def kill(self) -> None:
        """End QEMU; its end is told as any other."""
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        """End QEMU and wait for it. Closing twice is no error."""
        self.kill()
        self._thread.join()
        self.socket.close()
        self._errors.close()

    def _send(self, lines: Sequence[str]) -> None:
        if self._ended:
            raise Ended
        text = "".join(f"{line}\n" for line in lines).encode()
        try:
            # In one piece, so that a doorbell cannot come between: far less than what the socket takes at once.
            if self.socket.send(text) != len(text):
                raise Ended
        except OSError as error:
            self.kill()  # it stands still, or is gone
            raise Ended from error

    def _work(self, words: Sequence[str], fds: Sequence[int], theirs: socket.socket) -> None:
        try:
            self.process = subprocess.Popen(
                words,
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C at the terminal is for us
            )
        except OSError as error:
            self._failures.append(error)
            return
        finally:
            theirs.close()
            self._started.set()
        rest = b""
        while data := self._receive():
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                self._take(line)
            if len(rest) > _MOST_UNREAD:
                break
        self._end()

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(_MOST_UNREAD)
        except OSError:
            return b""

    def _take(self, line: bytes) -> None:
        if line == b"OK":
            return
        verdict, _, value = line.partition(b" ")
        if verdict == b"OK" and self._questions:
            question = self._questions.popleft()
            question.answer = value
            question.answered.set()
        else:
            log.warning(f"QEMU says {line.decode(errors='replace')!r}")

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            questions = list(self._questions)
            self._questions.clear()
        assert self.process is not None
        self.process.kill()  # it may live without the socket
        self.process.wait()
        for question in questions:
            question.answered.set()
        if self.on_end is not None:
            log.warning(f"QEMU has ended: {self._last_words()}")
            self.on_end()

    def _last_words(self) -> str:
        """Return what QEMU said last, or how it ended."""
        size = os.fstat(self._errors.fileno()).st_size
        code = None if self.process is None else self.process.poll()
        if code is not None and code < 0:
            return f"it was killed by signal {-code}"
        said = os.pread(self._errors.fileno(), 4096, max(size - 4096, 0)).decode(errors="replace").strip()
        ended = "" if code is None else f"it ended with {code}"
        errors = [line for line in said.splitlines() if " warning: " not in line]
        return errors[-1] if errors else ended
