# SPDX-License-Identifier: BSD-3-Clause
"""net_virtio_user: devargs, probe, registration with the vdev bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pollmode.bus_vdev import VdevDriver
from pollmode.eal.devargs import Parameter, Parameters, flag, integer, text
from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.net import mac
from pollmode.vhost.virtqueue import MAX_QUEUE_PAIRS, MAX_QUEUE_SIZE

from .layout import DEFAULT_RING, MIN_RING

if TYPE_CHECKING:
    from pollmode.bus_vdev import ProbeContext
    from pollmode.ethdev import Device

__all__ = ["DRIVER", "SPEEDS"]

SPEEDS = (10_000, 20_000, 25_000, 40_000, 50_000, 56_000, 100_000, 200_000, 400_000)
"""Link speeds that may be claimed, Mbps, as in DPDK 22.11 (and 400 Gbps, as later)."""
MAX_PATH = 107


def _mac(given: str) -> bytes:
    try:
        address = mac.parse(given)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if mac.is_multicast(address) or not any(address):
        raise ValueError("it must be the address of one station: not a group's, not zero")
    return address


def _speed(given: str) -> int:
    if not given.isdecimal() or int(given) not in SPEEDS:
        raise ValueError(f"it must be one of {', '.join(map(str, SPEEDS))} (Mbps)")
    return int(given)


def _queue_size(given: str) -> int:
    value = integer(MIN_RING, MAX_QUEUE_SIZE)(given)
    assert isinstance(value, int)
    if value & (value - 1):
        raise ValueError("a split ring has a power of two entries")
    return value


def _not_yet(key: str, what: str) -> Parameter:
    """Return a switch that DPDK has and this driver not yet: 0 is what it does anyway, 1 is refused."""

    def convert(given: str) -> bool:
        if flag(given):
            raise UnsupportedError(f"argument {key}=1 is not supported yet: {what}; leave it out or write {key}=0")
        return False

    return Parameter(convert, default=False)


PARAMETERS = Parameters(
    {
        "path": Parameter(text(MAX_PATH), required=True),
        "mac": Parameter(_mac),
        "queues": Parameter(integer(1, MAX_QUEUE_PAIRS), default=1),
        "queue_size": Parameter(_queue_size, default=DEFAULT_RING),
        "server": Parameter(flag, default=False),
        "mrg_rxbuf": Parameter(flag, default=True),
        "speed": Parameter(_speed),
        "cq": _not_yet("cq", "the control queue"),
        "in_order": _not_yet("in_order", "the in-order ring"),
        "packed_vq": _not_yet("packed_vq", "the packed ring"),
        "vectorized": _not_yet("vectorized", "the vectorised paths"),
        "iface": Parameter(lacking="it belongs to the vhost-kernel back end"),
    }
)


def probe(context: ProbeContext, name: str, arguments: dict[str, Any]) -> Device:
    """Make a device: connect to the back end at `path`, or listen there in server mode.

    Raises ConfigError and HostError when that fails, UnsupportedError when the back end lacks what the devargs ask for.
    """
    from .device import VirtioUser  # what it imports compiles; a driver that is not used should not wait for it

    return VirtioUser(context.environment, name, arguments)


DRIVER = VdevDriver("net_virtio_user", ("virtio_user",), PARAMETERS, probe)
