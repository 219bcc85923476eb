# SPDX-License-Identifier: BSD-3-Clause
"""The text of `--pci-host=qemu:...`: one device each, and what it is joined to.

    qemu:device=MODEL[,netdev=WHAT][,PROPERTY=VALUE...]

`MODEL` is a NIC model of QEMU (`qemu-system-x86_64 -device help`), the properties are those of its `-device`. `WHAT`:

    fd:N                 a datagram socket that this process has open as N, one frame a datagram
    dgram:OURS:PEERS     datagram sockets in the file system
    stream:PATH          connect to a stream socket; every frame behind its length, four bytes in network order
    listen:PATH          the same, and QEMU is the one that listens
    tap:NAME             a TAP interface that exists
    hub:N                the hub of that number: its devices hear each other
    [TYPE,KEY=VALUE,...] anything QEMU's -netdev takes
    none                 nothing: there is no link (default)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pollmode.eal import devargs
from pollmode.eal.errors import ConfigError, nearest

__all__ = ["QemuNic"]

_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_LONGEST_PATH = 107  # bytes, unix(7)
_FORMS = {
    "fd": "fd:N",
    "dgram": "dgram:OURS:PEERS",
    "stream": "stream:PATH",
    "listen": "listen:PATH",
    "tap": "tap:NAME",
    "hub": "hub:N",
    "none": "none",
}


@dataclass(frozen=True)
class QemuNic:
    """One device of a QEMU: model, properties, and the text of its -netdev without the id (None: no peer).

    `fd` is a descriptor QEMU inherits.
    """

    model: str
    properties: tuple[tuple[str, str], ...] = ()
    netdev: str | None = None
    fd: int | None = None

    @classmethod
    def parse(cls, text: str) -> QemuNic:
        """Read what follows `qemu:`. Raises ConfigError."""
        told = f"--pci-host=qemu:{text}"
        pairs = devargs.parse(f"qemu,{text}").arguments
        given: dict[str, str] = {}
        for key, value in pairs:
            if not value or not _WORD.fullmatch(key):
                raise ConfigError(f"{told}: {key!r} must be KEY=VALUE, as in device=vmxnet3,netdev=hub:0")
            if key in given:
                raise ConfigError(f"{told}: {key!r} is given twice; a second device is a second --pci-host")
            if value and not value.startswith("[") and not all(map(str.isprintable, value)):
                raise ConfigError(f"{told}: the value of {key!r} is not printable")
            given[key] = value
        model = given.pop("device", None)
        if model is None or not _WORD.fullmatch(model):
            raise ConfigError(f"{told}: which device? write device=MODEL, for example device=vmxnet3")
        netdev, fd = _netdev(told, given.pop("netdev", "none"))
        return cls(model, tuple(given.items()), netdev, fd)


def _netdev(told: str, text: str) -> tuple[str | None, int | None]:
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1], None
    kind, _, rest = text.partition(":")
    if kind not in _FORMS:
        forms = ", ".join(_FORMS.values())
        raise ConfigError(f"{told}: netdev={text} is unknown{nearest(kind, _FORMS)}; there are {forms} and [TYPE,...]")
    words = rest.split(":") if rest else []
    if len(words) != _FORMS[kind].count(":") or not all(words):
        raise ConfigError(f"{told}: netdev={text} must be {_FORMS[kind]}")
    if kind in ("fd", "hub") and not (words[0].isascii() and words[0].isdigit() and len(words[0]) < 10):
        raise ConfigError(f"{told}: netdev={text}: {words[0]!r} is no number")
    if kind in ("dgram", "stream", "listen") and (
        long := next((w for w in words if len(w.encode()) > _LONGEST_PATH), 0)
    ):
        raise ConfigError(f"{told}: the path {long} is longer than the {_LONGEST_PATH} bytes of a socket's")
    return _written(kind, words), int(words[0]) if kind == "fd" else None


def _written(kind: str, words: list[str]) -> str | None:
    """Return QEMU's words for a short form."""
    if kind == "fd":
        return f"dgram,local.type=fd,local.str={words[0]}"
    if kind == "dgram":
        return f"dgram,local.type=unix,local.path={words[0]},remote.type=unix,remote.path={words[1]}"
    if kind in ("stream", "listen"):
        server = "on" if kind == "listen" else "off"
        return f"stream,server={server},addr.type=unix,addr.path={words[0]}"
    if kind == "tap":
        return f"tap,ifname={words[0]},script=no,downscript=no"
    return f"hubport,hubid={words[0]}" if kind == "hub" else None
