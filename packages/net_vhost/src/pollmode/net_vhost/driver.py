# SPDX-License-Identifier: BSD-3-Clause
"""Registration with the vdev bus, and the devargs of DPDK's net_vhost."""

from __future__ import annotations

from typing import Any

from pollmode.bus_vdev import ProbeContext, VdevDriver
from pollmode.eal.devargs import Parameter, Parameters, flag, integer, text
from pollmode.eal.errors import HostError, UnsupportedError
from pollmode.eal.userfault import Userfault
from pollmode.vhost.server import MAX_PATH
from pollmode.vhost.virtqueue import MAX_QUEUE_PAIRS

__all__ = ["DRIVER"]

NOT_YET = {
    "dequeue-zero-copy": "packets are always copied; DPDK dropped it in 20.11",
    "tso": "no segmentation offload is negotiated",
    "ext-buffer": "long packets are chained over several mbufs",
}
"""DPDK's switches that are only understood as off, and what holds instead."""


def probe(context: ProbeContext, name: str, arguments: dict[str, Any]) -> Any:
    """Make the device.

    Raises UnsupportedError for a switch that is not supported yet, ConfigError for a bad path, HostError for post-copy
    where the kernel can't.
    """
    from .device import VhostDevice

    for switch, instead in NOT_YET.items():
        if arguments[switch]:
            raise UnsupportedError(f"{name}: argument {switch}=1 is not supported yet: {instead}")
    if arguments["postcopy-support"]:
        _check_userfault(name)
    return VhostDevice(
        context.environment,
        name,
        arguments["iface"],
        queue_pairs=arguments["queues"],
        client=arguments["client"],
        linear=arguments["linear-buffer"],
        iommu=arguments["iommu-support"],
        postcopy=arguments["postcopy-support"],
    )


def _check_userfault(name: str) -> None:
    try:
        Userfault().close()
    except HostError as error:
        raise HostError(f"{name}: argument postcopy-support=1: {error}", errno=error.errno) from None


DRIVER = VdevDriver(
    name="net_vhost",
    aliases=("eth_vhost",),
    parameters=Parameters(
        {
            "iface": Parameter(text(MAX_PATH), required=True),
            "queues": Parameter(integer(1, MAX_QUEUE_PAIRS), default=1),
            "client": Parameter(flag, default=False),
            "linear-buffer": Parameter(flag, default=False),
            "iommu-support": Parameter(flag, default=False),
            "postcopy-support": Parameter(flag, default=False),
            "legacy-ol-flags": Parameter(flag, default=False),  # no offload is negotiated: both ways are the same
            **{switch: Parameter(flag, default=False) for switch in NOT_YET},
        }
    ),
    probe=probe,
)
