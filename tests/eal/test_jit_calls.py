# SPDX-License-Identifier: BSD-3-Clause
"""The verbs that ask the kernel."""

import errno
import os
import socket
import time

import numpy as np

from pollmode.eal.jit import compiled, realtime, send_bytes, write_bytes_at


@compiled
def say(fd: int, address: int, count: int) -> int:
    return send_bytes(fd, address, count, socket.MSG_DONTWAIT)


@compiled
def put(fd: int, address: int, count: int, offset: int) -> int:
    return write_bytes_at(fd, address, count, offset)


@compiled
def now() -> int:
    return realtime()


def test_bytes_are_sent_and_an_empty_message_is_one_too() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    words = np.frombuffer(b"hello", np.uint8)
    with ours, theirs:
        assert say(ours.fileno(), words.ctypes.data, 5) == 5
        assert theirs.recv(64) == b"hello"
        assert say(ours.fileno(), 0, 0) == 0
        assert theirs.recv(64) == b""


def test_a_refusal_is_minus_the_errno() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    fd = ours.fileno()
    theirs.close()
    assert say(fd, 0, 0) == -errno.ECONNREFUSED
    ours.close()
    assert say(fd, 0, 0) == -errno.EBADF


def test_bytes_are_written_where_they_belong() -> None:
    fd = os.memfd_create("file")
    words = np.frombuffer(b"hello", np.uint8)
    assert put(fd, words.ctypes.data, 5, 1 << 33) == 5
    assert os.pread(fd, 7, (1 << 33) - 1) == b"\0hello"
    os.close(fd)
    assert put(fd, words.ctypes.data, 5, 0) == -errno.EBADF


def test_the_clock_is_the_days() -> None:
    before = time.time_ns()
    read = now()
    assert before <= read <= time.time_ns()
