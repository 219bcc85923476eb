# SPDX-License-Identifier: BSD-3-Clause
"""Registration with the vdev bus, and the devargs of DPDK's net_pcap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pollmode.bus_vdev import ProbeContext, VdevDriver
from pollmode.eal.devargs import Parameter, Parameters, flag, text

if TYPE_CHECKING:
    from .device import PcapDevice

__all__ = ["DRIVER"]

_LONGEST_PATH = 4095
# DPDK reaches interfaces through libpcap, one packet a system call. Drivers do not import each other.
_INTERFACE = "use --vdev net_af_packet0,iface=NAME, which receives and sends on an interface"


def probe(context: ProbeContext, name: str, arguments: dict[str, Any]) -> PcapDevice:
    """Make a device on the files."""
    from .device import PcapDevice, PcapOptions

    options = PcapOptions(arguments["rx_pcap"], arguments["tx_pcap"], arguments["infinite_rx"])
    return PcapDevice(name, context.environment.memory, options)


DRIVER = VdevDriver(
    name="net_pcap",
    aliases=("eth_pcap",),
    parameters=Parameters(
        {
            "rx_pcap": Parameter(text(_LONGEST_PATH), (), repeated=True),
            "tx_pcap": Parameter(text(_LONGEST_PATH), (), repeated=True),
            "infinite_rx": Parameter(flag, False),
            **{key: Parameter(lacking=_INTERFACE) for key in ("rx_iface", "rx_iface_in", "tx_iface", "iface")},
            "phy_mac": Parameter(lacking=_INTERFACE),
        }
    ),
    probe=probe,
)
