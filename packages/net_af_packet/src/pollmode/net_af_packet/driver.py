# SPDX-License-Identifier: BSD-3-Clause
"""Registration with the vdev bus, and the devargs of DPDK's net_af_packet."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from pollmode.bus_vdev import ProbeContext, VdevDriver
from pollmode.eal.devargs import Parameter, Parameters, flag, integer, text
from pollmode.eal.errors import ConfigError, nearest

from .layout import (
    DEFAULT_FRAME_COUNT,
    DEFAULT_FRAME_SIZE,
    FANOUT_MODES,
    MAX_FRAME_SIZE,
    MAX_QUEUE_PAIRS,
    MAX_RING_SIZE,
    MIN_FRAME_SIZE,
    TPACKET_ALIGNMENT,
)

if TYPE_CHECKING:
    from .device import AfPacketDevice
    from .sockets import Geometry

__all__ = ["DRIVER"]

_MAX_NAME = 15  # IFNAMSIZ without the closing zero


def fanout_mode(given: str) -> str:
    """Check the name of a fanout mode."""
    if given not in FANOUT_MODES:
        raise ValueError(f"it must be one of {', '.join(FANOUT_MODES)}{nearest(given, FANOUT_MODES)}")
    return given


def geometry(name: str, arguments: dict[str, Any]) -> Geometry:
    """Return the rings' sizes. Raises ConfigError for those the kernel takes no ring of (packet_set_ring)."""
    from .sockets import Geometry

    block, frame, count = arguments["blocksz"], arguments["framesz"], arguments["framecnt"]
    if block % mmap.PAGESIZE:
        raise ConfigError(f"{name}: argument blocksz={block} is not a multiple of the page size, {mmap.PAGESIZE}")
    if frame % TPACKET_ALIGNMENT:
        raise ConfigError(f"{name}: argument framesz={frame} is not a multiple of {TPACKET_ALIGNMENT}")
    if frame > block:
        raise ConfigError(f"{name}: argument framesz={frame} exceeds blocksz={block}: a frame lies within one block")
    made = Geometry(block, frame, count)
    if count % made.frames_per_block:
        raise ConfigError(
            f"{name}: argument framecnt={count} is not a multiple of {made.frames_per_block}, the frames of a block"
        )
    if made.size > MAX_RING_SIZE:
        raise ConfigError(f"{name}: argument framecnt={count}: a ring of {made.size} bytes; at most {MAX_RING_SIZE}")
    return made


def probe(context: ProbeContext, name: str, arguments: dict[str, Any]) -> AfPacketDevice:
    """Make a device on an interface."""
    from .device import AfPacketDevice, AfPacketOptions

    options = AfPacketOptions(
        arguments["iface"],
        arguments["qpairs"],
        geometry(name, arguments),
        arguments["qdisc_bypass"],
        arguments["fanout_mode"],
    )
    return AfPacketDevice(context.environment, name, options)


DRIVER = VdevDriver(
    name="net_af_packet",
    aliases=("eth_af_packet",),
    parameters=Parameters(
        {
            "iface": Parameter(text(_MAX_NAME), required=True),
            "qpairs": Parameter(integer(1, MAX_QUEUE_PAIRS), 1),
            "blocksz": Parameter(integer(mmap.PAGESIZE, MAX_RING_SIZE), mmap.PAGESIZE),
            "framesz": Parameter(integer(MIN_FRAME_SIZE, MAX_FRAME_SIZE), DEFAULT_FRAME_SIZE),
            "framecnt": Parameter(integer(1, MAX_RING_SIZE // MIN_FRAME_SIZE), DEFAULT_FRAME_COUNT),
            "qdisc_bypass": Parameter(flag, True),
            "fanout_mode": Parameter(fanout_mode, "hash"),
        }
    ),
    probe=probe,
)
