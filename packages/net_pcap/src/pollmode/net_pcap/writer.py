# SPDX-License-Identifier: BSD-3-Clause
"""The thread that writes what the lcores sent into capture files."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.jit import compiled, load64, load_acquire64, store_release64
from pollmode.net.pcap import FILE_HEADER, RECORD, RECORD_SIZE, file_header

from .layout import BUFFER_SIZE, HEAD, TAIL, WRAP

if TYPE_CHECKING:
    from .queues import TxQueue

__all__ = ["CaptureFile", "Writer"]

log = logs.get("pmd.net.pcap")

_IDLE, _BUSY = 0.005, 0.0005  # seconds between two looks; the memory takes longer to fill


@compiled
def acquire(address: int) -> int:
    """Read a word that the lcore publishes."""
    return load_acquire64(address)


@compiled
def plain(address: int) -> int:
    """Read a word of which an acquire says that it is written."""
    return load64(address)


@compiled
def release(address: int, value: int) -> int:
    """Write a word that the lcore waits for; returns it."""
    store_release64(address, value)
    return value


class CaptureFile:
    """One file that is written, and the memory before it. Raises ConfigError for a path that cannot be written."""

    def __init__(self, where: str, path: str) -> None:
        self.path = path
        self.memory = np.zeros(BUFFER_SIZE, np.uint8)
        self.failed = False
        self.lost = self.lost_bytes = 0
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        except OSError as error:
            raise ConfigError(f"{where}: tx_pcap={path}: {error.strerror}", errno=error.errno) from None
        try:
            mode = os.fstat(self._fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
                raise ConfigError(f"{where}: tx_pcap={path} is not a file")
            self._cuttable = stat.S_ISREG(mode)
            self._put(file_header())
        except OSError as error:
            self.close()
            raise HostError(f"{where}: tx_pcap={path}: {error.strerror}", errno=error.errno) from None
        except BaseException:
            self.close()
            raise

    def write(self, start: int, end: int) -> None:
        """Write the records between two offsets of the memory; from the first failure on, count them as lost."""
        run = self.memory.data[start:end]
        written = 0
        if not self.failed:
            try:
                while written < len(run):
                    written += os.write(self._fd, run[written:])
            except OSError as error:
                self._fail(error)
        if self.failed:
            self._count_lost(run, written)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _put(self, data: bytes) -> None:
        assert len(data) == FILE_HEADER.itemsize
        if os.write(self._fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _fail(self, error: OSError) -> None:
        self.failed = True
        log.error(f"{self.path}: {error.strerror}; what is sent from now on is dropped and counted (tx_errors)")

    def _count_lost(self, run: memoryview, written: int) -> None:
        """Count the records that are not in the file whole, and cut a piece of one off its end."""
        at = 0
        while at < len(run):
            words = np.frombuffer(run[at : at + RECORD_SIZE], RECORD)[0]
            end = at + RECORD_SIZE + int(words["captured"])
            if end > written:
                self.lost += 1
                self.lost_bytes += int(words["original"])
                if at < written and self._cuttable:
                    os.ftruncate(self._fd, os.lseek(self._fd, 0, os.SEEK_CUR) - (written - at))
            at = end


class Writer:
    """The thread of one device, from `start` to `stop`."""

    def __init__(self, name: str, queues: Sequence[TxQueue]) -> None:
        self._queues = queues
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"{name} writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and end. The lcores have left the callbacks."""
        self._ending.set()
        self._thread.join()

    def _work(self) -> None:
        ending = False
        while not ending:
            ending = self._ending.is_set()  # before the last look at the queues
            busy = [drain(queue) for queue in self._queues]
            if not ending:
                self._ending.wait(_BUSY if any(busy) else _IDLE)


def drain(queue: TxQueue) -> bool:
    """Write what is in a queue's memory; returns whether there was anything."""
    file = queue.file
    if file is None:
        return False
    head, tail = acquire(queue.address + HEAD), plain(queue.address + TAIL)
    if head == tail:
        return False
    if head < tail:
        file.write(tail, plain(queue.address + WRAP))
        tail = 0
    file.write(tail, head)
    release(queue.address + TAIL, head)
    if file.failed:
        queue.record["failed"] = 1
    return True
