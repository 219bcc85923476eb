# SPDX-License-Identifier: BSD-3-Clause
"""What ethdev and its drivers tell each other: device limits, configuration, link, statistics, events.

The fields keep the names of DPDK's `rte_eth_dev_info`, `rte_eth_conf`, `rte_eth_link` and `rte_eth_stats`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pollmode.mbuf import Mempool

__all__ = [
    "SPEED_NONE",
    "SPEED_UNKNOWN",
    "BurstCallback",
    "BurstEntry",
    "DescriptorLimits",
    "DeviceCapability",
    "DeviceInfo",
    "Event",
    "Link",
    "PortConfig",
    "QueueConfig",
    "QueueCount",
    "QueueInfo",
    "Recipe",
    "Stats",
]

SPEED_NONE = 0
SPEED_UNKNOWN = 0xFFFFFFFF  # RTE_ETH_SPEED_NUM_UNKNOWN
_UINT16_MAX = 0xFFFF


class BurstCallback(Protocol):
    """A compiled burst function, as `pollmode.eal.jit.burst_callback` makes it."""

    @property
    def address(self) -> int:
        """Where the native function is."""

    @property
    def name(self) -> str:
        """Its name in logs and in `perf`."""


class BurstEntry(NamedTuple):
    """What a driver hands ethdev for one queue: the function, and the address passed to it as `queue`."""

    callback: BurstCallback
    queue_address: int


@dataclass(frozen=True)
class Recipe:
    """What another process makes a queue's function of: the name of a factory of the driver, and its arguments.

    The queue's record, and whatever its words lead to, is in the environment's memory.
    """

    factory: str
    arguments: tuple[bool | int | str, ...]
    queue_address: int


@dataclass(frozen=True)
class DescriptorLimits:
    """Ring sizes a queue may have and segments a packet may have (rte_eth_desc_lim); 0 or 65535 is "no limit"."""

    maximum: int = _UINT16_MAX
    minimum: int = 0
    align: int = 1
    segments_max: int = _UINT16_MAX
    mtu_segments_max: int = _UINT16_MAX


class DeviceCapability(IntFlag):
    """Generic capabilities: RTE_ETH_DEV_CAPA_<name>."""

    RUNTIME_RX_QUEUE_SETUP = 1 << 0
    RUNTIME_TX_QUEUE_SETUP = 1 << 1
    RXQ_SHARE = 1 << 2
    FLOW_RULE_KEEP = 1 << 3
    FLOW_SHARED_OBJECT_KEEP = 1 << 4


@dataclass(frozen=True)
class DeviceInfo:
    """What a device can do (rte_eth_dev_info). Sizes in bytes, offloads as bits of RxOffload and TxOffload.

    `*_queue_offload_capa` are the offloads that may differ from queue to queue, a subset of `*_offload_capa`.
    `dev_capa` has the bits of DeviceCapability.
    `lsc` says that link changes are announced by `Event.INTR_LSC`; `rmv` the same for removal.
    `private_info` is printed under "Device private info".
    """

    max_rx_queues: int = 1
    max_tx_queues: int = 1
    min_mtu: int = 46  # of a frame of 64 bytes
    max_mtu: int = _UINT16_MAX
    min_rx_bufsize: int = 0
    max_rx_pktlen: int = 0xFFFFFFFF
    max_lro_pkt_size: int = 0
    max_mac_addrs: int = 1
    max_hash_mac_addrs: int = 0
    max_vfs: int = 0
    max_vmdq_pools: int = 0
    max_rx_segments: int = 0
    rx_offload_capa: int = 0
    tx_offload_capa: int = 0
    rx_queue_offload_capa: int = 0
    tx_queue_offload_capa: int = 0
    reta_size: int = 0
    hash_key_size: int = 0
    flow_type_rss_offloads: int = 0
    rx_desc_lim: DescriptorLimits = DescriptorLimits()
    tx_desc_lim: DescriptorLimits = DescriptorLimits()
    default_rx_ring_size: int = 512
    default_tx_ring_size: int = 512
    default_rx_burst_size: int = 0
    default_tx_burst_size: int = 0
    speed_capa: tuple[int, ...] = ()
    dev_capa: int = 0
    err_handle_mode: str = "none"
    firmware_version: str | None = None
    socket: int = 0
    if_index: int = 0
    lsc: bool = False
    rmv: bool = False
    private_info: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PortConfig:
    """What is asked of a whole port (rte_eth_conf). Offloads apply to every queue; `mtu` 0 leaves the device's."""

    rx_offloads: int = 0
    tx_offloads: int = 0
    mtu: int = 0
    max_lro_pkt_size: int = 0
    rss_hf: int = 0
    rss_key: bytes | None = None
    lsc: bool = False
    rmv: bool = False


@dataclass(frozen=True)
class QueueConfig:
    """What is asked of one queue (rte_eth_rxconf, rte_eth_txconf). Offloads are added to the port's.

    Thresholds of 0 are the driver's choice. `deferred_start` leaves the queue stopped when the port starts.
    """

    offloads: int = 0
    free_threshold: int = 0
    rs_threshold: int = 0
    pthresh: int = 0
    hthresh: int = 0
    wthresh: int = 0
    drop: bool = False
    deferred_start: bool = False


@dataclass(frozen=True)
class QueueInfo:
    """How a queue was set up (rte_eth_rxq_info, rte_eth_txq_info); a transmit queue has no pool."""

    descriptors: int
    config: QueueConfig
    pool: Mempool | None = None


class QueueCount(NamedTuple):
    """How full a queue's ring is: `used` of its `size` entries hold packets that the other end has not taken yet."""

    used: int
    size: int


@dataclass(frozen=True)
class Link:
    """State of the link; `speed` in Mbps, SPEED_NONE or SPEED_UNKNOWN."""

    up: bool
    speed: int = SPEED_UNKNOWN
    full_duplex: bool = True
    autoneg: bool = False

    @property
    def speed_text(self) -> str:
        """The speed in DPDK's words, such as "10 Gbps", "None" or "Unknown"."""
        if self.speed == SPEED_UNKNOWN:
            return "Unknown"
        if self.speed == SPEED_NONE:
            return "None"
        if self.speed < 1000:
            return f"{self.speed} Mbps"
        return f"{self.speed / 1000:g} Gbps"

    def __str__(self) -> str:
        """Return DPDK's one-line form, such as "Link up at 10 Gbps FDX Fixed"."""
        if not self.up:
            return "Link down"
        duplex, autoneg = "FDX" if self.full_duplex else "HDX", "Autoneg" if self.autoneg else "Fixed"
        return f"Link up at {self.speed_text} {duplex} {autoneg}"


@dataclass(frozen=True)
class Stats:
    """Basic statistics of a port (rte_eth_stats); the `q_` tuples have one element a queue."""

    ipackets: int = 0
    opackets: int = 0
    ibytes: int = 0
    obytes: int = 0
    imissed: int = 0
    ierrors: int = 0
    oerrors: int = 0
    rx_nombuf: int = 0
    q_ipackets: tuple[int, ...] = ()
    q_opackets: tuple[int, ...] = ()
    q_ibytes: tuple[int, ...] = ()
    q_obytes: tuple[int, ...] = ()
    q_errors: tuple[int, ...] = ()


class Event(Enum):
    """Events of a port: RTE_ETH_EVENT_<name>; the comment says what a callback gets as its detail."""

    INTR_LSC = "lsc"  # the Link
    QUEUE_STATE = "queue state"  # (direction "rx" or "tx", queue, enabled)
    INTR_RESET = "reset"  # the DeviceFault; port.reset() heals
    INTR_RMV = "device removal"
    NEW = "device probed"
    DESTROY = "device released"
    ERR_RECOVERING = "error recovering"
    RECOVERY_SUCCESS = "error recovery successful"
    RECOVERY_FAILED = "error recovery failed"  # the PollmodeError
