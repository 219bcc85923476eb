# SPDX-License-Identifier: BSD-3-Clause
"""userfaultfd: page faults of this process told to somebody who fills the page, as post-copy migration needs.

A thread that touches a missing page of a watched range sleeps until the page is there and the range is woken, or the
range is watched no more. ioctl_userfaultfd(2) and linux/userfaultfd.h have the words.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import struct

from pollmode.eal.errors import HostError

__all__ = ["Userfault"]

_NUMBERS = {"x86_64": 323, "aarch64": 282}  # of the system call
_USER_MODE_ONLY = 1  # Linux 5.11: faults of the kernel on our behalf are errors; what everybody may have

# linux/userfaultfd.h: _IOWR(0xAA, 0x3F, 24 bytes), _IOWR(0xAA, 0, 32), _IOR(0xAA, 1, 16), _IOR(0xAA, 2, 16)
_UFFDIO_API, _UFFDIO_REGISTER, _UFFDIO_UNREGISTER, _UFFDIO_WAKE = 0xC018AA3F, 0xC020AA00, 0x8010AA01, 0x8010AA02
_API = struct.Struct("<QQQ")  # api, features, ioctls
_REGISTER = struct.Struct("<QQQQ")  # start, length, mode, ioctls
_RANGE = struct.Struct("<QQ")  # start, length
_MESSAGE = struct.Struct("<B7xQQQ")  # event, flags, address, thread
_VERSION = 0xAA
_MODE_MISSING = 1
_MISSING_SHMEM = 1 << 5
_PAGE_FAULT = 0x12

_libc = ctypes.CDLL(None, use_errno=True)


class Userfault:
    """A userfaultfd; owns its descriptor. `fd` is one that came from another process, whose faults it then tells.

    Raises HostError, which says what is missing, when the kernel does not give one.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._fd = _open() if fd is None else fd

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed; readable when a thread waits for a page."""
        return self._fd

    def watch(self, address: int, length: int) -> None:
        """Have faults on missing pages of a range told; whole pages. Raises HostError."""
        try:
            fcntl.ioctl(self._fd, _UFFDIO_REGISTER, bytearray(_REGISTER.pack(address, length, _MODE_MISSING, 0)))
        except OSError as error:
            raise HostError(
                f"faults on {length:#x} bytes at {address:#x} can't be told: {error.strerror}", errno=error.errno
            ) from None

    def unwatch(self, address: int, length: int) -> None:
        """Tell no more faults on a range; who waits in it goes on, with zeros where nothing came."""
        with contextlib.suppress(OSError):  # the range may be unmapped already
            fcntl.ioctl(self._fd, _UFFDIO_UNREGISTER, _RANGE.pack(address, length))

    def wake(self, address: int, length: int) -> None:
        """Let those who wait in a range look again for their page. Raises HostError."""
        try:
            fcntl.ioctl(self._fd, _UFFDIO_WAKE, _RANGE.pack(address, length))
        except OSError as error:
            raise HostError(f"nobody can be woken at {address:#x}: {error.strerror}", errno=error.errno) from None

    def read(self) -> int | None:
        """Return the address of a fault that was not told yet, None when there is none; does not wait."""
        while True:
            try:
                event, _, address, _ = _MESSAGE.unpack(os.read(self._fd, _MESSAGE.size))
            except BlockingIOError:
                return None
            if event == _PAGE_FAULT:
                return int(address)

    def close(self) -> None:
        """Close the descriptor. Ranges stay watched while another process holds it. Closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open() -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise HostError(f"userfaultfd is not known on {platform.machine()}", mend="leave post-copy off")
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    fd: int = _libc.syscall(number, flags)
    if fd < 0 and ctypes.get_errno() == errno.EPERM:
        fd = _libc.syscall(number, flags | _USER_MODE_ONLY)
    if fd < 0:
        raise _refused(ctypes.get_errno())
    try:
        api = bytearray(_API.pack(_VERSION, 0, 0))
        fcntl.ioctl(fd, _UFFDIO_API, api)
        if not _API.unpack(api)[1] & _MISSING_SHMEM:
            raise HostError("userfaultfd of this kernel does not know shared memory", mend="use Linux 4.11 or newer")
    except OSError as error:
        os.close(fd)
        raise HostError(f"userfaultfd of this kernel is another: {error.strerror}", errno=error.errno) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _refused(number: int) -> HostError:
    mends = {
        errno.ENOSYS: "use a kernel with CONFIG_USERFAULTFD",
        errno.EPERM: "run as root; in a container, one whose seccomp rules allow userfaultfd",
        errno.EINVAL: "run sysctl -w vm.unprivileged_userfaultfd=1, or as root",  # before 5.11: no user mode only
        errno.EMFILE: "raise ulimit -n",
    }
    mend = mends.get(number, "leave post-copy off")
    return HostError(f"the kernel gives no userfaultfd: {os.strerror(number)}", mend=mend, errno=number)
