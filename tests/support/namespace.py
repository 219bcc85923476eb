# SPDX-License-Identifier: BSD-3-Clause
"""A network namespace for the calling thread and what it starts; it ends with them and leaves nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

INSTALL = "apt-get install iproute2"
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def require_ip() -> None:
    """Skip the test where iproute2 is not installed, or fail it where peers are required."""
    if shutil.which("ip"):
        return
    if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
        pytest.fail(f"ip is not installed: {INSTALL}")
    pytest.skip(f"ip is not installed: {INSTALL}")


def ip(line: str) -> str:
    """Run `ip LINE` in the namespace of the calling thread; return what it prints."""
    done = subprocess.run(["ip", *line.split()], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"ip {line}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def new_namespace() -> Iterator[None]:
    """Be in a new network namespace, without IPv6, which talks of its own accord. Skips where that is not allowed."""
    require_ip()
    with open("/proc/thread-self/ns/net") as before:
        if _libc.unshare(CLONE_NEWNET):
            pytest.skip(f"no network namespace may be made here: {os.strerror(ctypes.get_errno())}")
        try:
            for scope in ("all", "default"):
                switch = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
                if switch.exists():
                    with contextlib.suppress(OSError):  # /proc/sys may be read-only; then IPv6 talks
                        switch.write_text("1")
            yield
        finally:
            if _libc.setns(before.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot go back to the network namespace")


@contextlib.contextmanager
def veth_pair(first: str = "va", second: str = "vb") -> Iterator[None]:
    """Be in a new namespace with two interfaces joined to each other, both up."""
    with new_namespace():
        ip(f"link add {first} type veth peer name {second}")
        for name in ("lo", first, second):
            ip(f"link set {name} up")
        yield
