# SPDX-License-Identifier: BSD-3-Clause
"""One device's change of driver, whole or not at all.

The kernel takes a driver away and gives one in two steps (Documentation/ABI/testing/sysfs-bus-pci). Whatever fails in
between, the driver that was there is put back; signals wait until the device is in one of the two states.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from pollmode.eal.errors import HostError
from pollmode.host_report import Host
from pollmode.host_report.kernel_modules import PASSTHROUGH
from pollmode.host_report.mending import DEVBIND
from pollmode.host_report.pci_devices import PCI, driver_of

__all__ = ["attach", "detach", "put_back", "undisturbed"]

DRIVERS = "/sys/bus/pci/drivers"
NOT_OPENED = (errno.ENOENT, errno.EACCES, errno.EROFS)
AS_ROOT = "run it as root"


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep signals that would end the process waiting."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def detach(host: Host, address: str, driver: str) -> None:
    """Take a device from its driver. Raises HostError."""
    path = f"{DRIVERS}/{driver}/unbind"
    _put(host, path, address, f"Cannot write {path}")


def attach(host: Host, address: str, driver: str) -> None:
    """Give a device without a driver one. Raises HostError.

    A passthrough driver knows no devices: driver_override names it while it is bound. Another driver takes what is in
    its table, and an override that somebody left would keep it from that.
    """
    override = f"{PCI}/{address}/driver_override"
    overrides = host.exists(override)
    wanted = driver if driver in PASSTHROUGH else "\n"
    try:
        if overrides:
            _put(host, override, wanted, f"Cannot write driver {driver} to PCI ID")
        _put(host, f"{DRIVERS}/{driver}/bind", address, f"Cannot bind to driver {driver}")
    finally:
        if overrides and wanted == driver:
            _put(host, override, "\n", f"Cannot write {override}")
    if driver_of(host, address) != driver:
        raise HostError(f"Cannot bind to driver {driver}: the kernel took it and did nothing", errno=errno.EIO)


def put_back(host: Host, address: str, driver: str) -> str:
    """Give a device the driver it had, or none when it had none; return what came of that, for people."""
    now = driver_of(host, address)
    if now == driver:
        return f"it still has driver {driver}" if driver else "it has no driver, as before"
    try:
        if now:
            detach(host, address, now)
        if driver:
            attach(host, address, driver)
    except HostError as error:
        way_out = f"{DEVBIND} --bind {driver or 'none'} {address}"
        return f"it could not be put back to {driver or 'no driver'} ({error}): {way_out}"
    return f"it is back at driver {driver}" if driver else "it has no driver, as before"


def _put(host: Host, path: str, text: str, what: str) -> None:
    try:
        host.put(path, text)
    except OSError as error:
        told = f"Cannot open {path}" if error.errno in NOT_OPENED else what
        mend = AS_ROOT if error.errno in (errno.EACCES, errno.EPERM) else None
        raise HostError(f"{told}: {error}", mend=mend, errno=error.errno) from None
