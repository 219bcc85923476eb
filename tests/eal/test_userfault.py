# SPDX-License-Identifier: BSD-3-Clause
"""userfaultfd: who waits for a page, who wakes him, and a kernel that gives none."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import threading
from collections.abc import Callable, Iterator

import pytest

from pollmode.eal import libc, userfault
from pollmode.eal.errors import HostError
from pollmode.eal.userfault import Userfault

PAGE = 4096
PATIENCE = 30.0

# Not ctypes.string_at: this one gives the interpreter's lock back while it waits for the page.
_memcpy = ctypes.CDLL(None).memcpy
_memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class Reader(threading.Thread):
    """A thread that reads eight bytes."""

    def __init__(self, address: int) -> None:
        super().__init__(daemon=True)
        self.address, self.found = address, ctypes.create_string_buffer(8)
        self.start()

    def run(self) -> None:
        _memcpy(self.found, self.address, 8)

    def value(self) -> bytes:
        self.join(PATIENCE)
        assert not self.is_alive(), "it still waits for its page"
        return self.found.raw


@pytest.fixture
def faults() -> Iterator[Userfault]:
    try:
        made = Userfault()
    except HostError as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture
def file() -> Iterator[int]:
    """A file of four missing pages."""
    fd = os.memfd_create("pages", os.MFD_CLOEXEC)
    os.ftruncate(fd, 4 * PAGE)
    yield fd
    os.close(fd)


@pytest.fixture
def watched(faults: Userfault, file: int) -> Iterator[int]:
    """The file, mapped and watched."""
    address = libc.map_shared(file, 4 * PAGE)
    faults.watch(address, 4 * PAGE)
    yield address
    faults.unwatch(address, 4 * PAGE)
    libc.unmap(address, 4 * PAGE)


def told(faults: Userfault) -> int:
    poll = select.poll()
    poll.register(faults.fileno(), select.POLLIN)
    assert poll.poll(PATIENCE * 1000), "no fault was told"
    address = faults.read()
    assert address is not None
    return address // PAGE * PAGE


def test_a_reader_sleeps_until_its_page_is_filled_and_woken(faults: Userfault, file: int, watched: int) -> None:
    assert faults.read() is None
    reader = Reader(watched + PAGE + 16)
    assert told(faults) == watched + PAGE
    assert reader.is_alive()
    os.pwrite(file, b"\x5a" * PAGE, PAGE)
    assert reader.is_alive(), "filling is not waking"
    faults.wake(watched + PAGE, PAGE)
    assert reader.value() == b"\x5a" * 8
    assert faults.read() is None


def test_a_page_that_is_there_is_read_at_once(faults: Userfault, file: int, watched: int) -> None:
    os.pwrite(file, b"\x11" * PAGE, 0)
    assert Reader(watched).value() == b"\x11" * 8
    assert faults.read() is None


def test_who_waits_goes_on_with_zeros_when_watching_ends(faults: Userfault, watched: int) -> None:
    reader = Reader(watched)
    assert told(faults) == watched
    faults.unwatch(watched, 4 * PAGE)
    assert reader.value() == bytes(8)


def test_descriptor_of_another_process_tells_the_same_faults(faults: Userfault, file: int, watched: int) -> None:
    copy = Userfault(os.dup(faults.fileno()))
    reader = Reader(watched + 3 * PAGE)
    assert told(copy) == watched + 3 * PAGE
    os.pwrite(file, b"\x77", 3 * PAGE)
    copy.wake(watched + 3 * PAGE, PAGE)
    assert reader.value() == b"\x77" + bytes(7)
    copy.close()
    copy.close()


def test_memory_that_cannot_be_watched_is_an_error(faults: Userfault) -> None:
    with pytest.raises(HostError, match=r"faults on 0x1000 bytes at 0x1000 can't be told"):
        faults.watch(PAGE, PAGE)
    with pytest.raises(HostError, match="nobody can be woken at 0x1"):
        faults.wake(1, PAGE)
    faults.unwatch(PAGE, PAGE)  # is over anyway


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSYS, "Function not implemented; use a kernel with CONFIG_USERFAULTFD"),
        (errno.EPERM, "Operation not permitted; run as root; in a container, one whose seccomp rules allow"),
        (errno.EINVAL, "run sysctl -w vm.unprivileged_userfaultfd=1, or as root"),
        (errno.EMFILE, "Too many open files; raise ulimit -n"),
        (errno.ENOMEM, "Cannot allocate memory; leave post-copy off"),
    ],
)
def test_a_kernel_that_gives_none_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, number: int, text: str) -> None:
    class Refusing:
        def syscall(self, *words: int) -> int:
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(userfault, "_libc", Refusing())
    with pytest.raises(HostError, match=text) as caught:
        Userfault()
    assert caught.value.errno == number


def test_a_user_without_rights_gets_one_for_his_own_faults(monkeypatch: pytest.MonkeyPatch, faults: Userfault) -> None:
    asked: list[int] = []
    real: Callable[..., int] = userfault._libc.syscall

    class Refusing:
        def syscall(self, number: int, flags: int) -> int:
            asked.append(flags)
            if not flags & 1:
                ctypes.set_errno(errno.EPERM)
                return -1
            return real(number, flags)

    monkeypatch.setattr(userfault, "_libc", Refusing())
    try:
        made = Userfault()
    except HostError as error:
        pytest.skip(f"before Linux 5.11: {error}")
    made.close()
    assert [flags & 1 for flags in asked] == [0, 1]


def test_another_machine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userfault.platform, "machine", lambda: "vax")
    with pytest.raises(HostError, match="userfaultfd is not known on vax; leave post-copy off"):
        Userfault()
