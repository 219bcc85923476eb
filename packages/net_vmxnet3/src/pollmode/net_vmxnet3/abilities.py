# SPDX-License-Identifier: BSD-3-Clause
"""What a device of a revision can do, and what a configuration asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pollmode.ethdev import DescriptorLimits, DeviceInfo, PortConfig, RssType, RxOffload, TxOffload

from .layout import (
    CAP_ESP_RSS4,
    CAP_ESP_RSS6,
    CAP_UDP_RSS,
    F_LRO,
    F_RSS,
    F_RXCSUM,
    F_RXVLAN,
    FIELD_ESP4,
    FIELD_ESP6,
    FIELD_TCP4,
    FIELD_TCP6,
    FIELD_UDP4,
    FIELD_UDP6,
    HASH_IPV4,
    HASH_IPV6,
    HASH_TCP4,
    HASH_TCP6,
    LAST_REVISION,
    MAX_MTU,
    MAX_MTU_V6,
    MAX_RING,
    MAX_RX_PKTLEN,
    MAX_SEGMENTS,
    MAX_TSO_SEGMENTS,
    MIN_HEAD_BUFFER,
    MIN_MTU,
    MIN_RX_RING,
    MIN_TX_RING,
    RING_STEP,
    RSS_KEY_SIZE,
    RSS_MAX_TABLE,
)

if TYPE_CHECKING:
    from .hardware import Hardware

__all__ = ["Variant", "hash_types", "info_of", "ring_size", "rss_fields", "rss_types", "table_size"]

SPEED = 10_000  # Mbps, when the device tells none
FRAME_OVERHEAD = 14 + 4 + 4  # Ethernet header, CRC, a tag
CHECKSUMS = RxOffload.IPV4_CKSUM | RxOffload.UDP_CKSUM | RxOffload.TCP_CKSUM
RX_OFFLOADS = CHECKSUMS | RxOffload.VLAN_STRIP | RxOffload.VLAN_FILTER | RxOffload.SCATTER | RxOffload.RSS_HASH
TX_OFFLOADS = (
    TxOffload.VLAN_INSERT | TxOffload.UDP_CKSUM | TxOffload.TCP_CKSUM | TxOffload.TCP_TSO | TxOffload.MULTI_SEGS
)
_HASHES = {
    RssType.IPV4: HASH_IPV4,
    RssType.NONFRAG_IPV4_TCP: HASH_TCP4,
    RssType.IPV6: HASH_IPV6,
    RssType.NONFRAG_IPV6_TCP: HASH_TCP6,
}
_FIELDS = {
    RssType.NONFRAG_IPV4_TCP: FIELD_TCP4,
    RssType.NONFRAG_IPV6_TCP: FIELD_TCP6,
    RssType.NONFRAG_IPV4_UDP: FIELD_UDP4,
    RssType.NONFRAG_IPV6_UDP: FIELD_UDP6,
    RssType.ESP: FIELD_ESP4 | FIELD_ESP6,
}


@dataclass(frozen=True)
class Variant:
    """What the callbacks and rings of a configuration must do."""

    strip: bool
    rss: bool
    checksums: bool
    lro: bool
    features: int
    """The F_* features the device is asked for."""

    @classmethod
    def of(cls, config: PortConfig, rx_queues: int) -> Variant:
        """Return what a configuration asks for. RSS spreads over queues: with one there is nothing to do."""
        offloads = config.rx_offloads
        rss = bool(config.rss_hf) and rx_queues > 1
        strip, lro = bool(offloads & RxOffload.VLAN_STRIP), bool(offloads & RxOffload.TCP_LRO)
        checksums = bool(offloads & CHECKSUMS)
        wanted = (F_RXCSUM, checksums), (F_RSS, rss), (F_RXVLAN, strip), (F_LRO, lro)
        return cls(strip, rss, checksums, lro, sum(feature for feature, on in wanted if on))


def table_size(revision: int) -> int:
    """Return how many entries the redirection table has: DPDK's four for each queue there can be."""
    return RSS_MAX_TABLE if revision >= 6 else RSS_MAX_TABLE // 2


def rss_types(hardware: Hardware) -> int:
    """Return the flow types (RTE_ETH_RSS_*) the device can hash."""
    types = int(RssType.IPV4 | RssType.NONFRAG_IPV4_TCP | RssType.IPV6 | RssType.NONFRAG_IPV6_TCP)
    caps = hardware.capabilities if hardware.revision >= LAST_REVISION else CAP_UDP_RSS | CAP_ESP_RSS4 | CAP_ESP_RSS6
    if hardware.revision >= 4 and caps & CAP_UDP_RSS:
        types |= RssType.NONFRAG_IPV4_UDP | RssType.NONFRAG_IPV6_UDP
    if hardware.revision >= 4 and caps & CAP_ESP_RSS4 and caps & CAP_ESP_RSS6:
        types |= RssType.ESP
    return types


def hash_types(types: int) -> int:
    """Return the device's hash types (HASH_*) for flow types."""
    return sum(bit for flow, bit in _HASHES.items() if types & flow)


def rss_fields(types: int) -> int:
    """Return revision 4's fields (FIELD_*) for flow types; those of TCP are always there."""
    return sum(bit for flow, bit in _FIELDS.items() if types & flow) | FIELD_TCP4 | FIELD_TCP6


def ring_size(descriptors: int, revision: int) -> int:
    """Return the size a ring gets, as in DPDK: a multiple of 32, from revision 7 on a power of two."""
    if revision >= LAST_REVISION:
        return 1 << (descriptors.bit_length() - 1)
    return descriptors - descriptors % RING_STEP


def info_of(hardware: Hardware, private: dict[str, str]) -> DeviceInfo:
    """Return the limits and offloads of the device; the same before and after it was configured."""
    revision = hardware.revision
    segments = {"segments_max": MAX_TSO_SEGMENTS, "mtu_segments_max": MAX_SEGMENTS}
    return DeviceInfo(
        max_rx_queues=hardware.max_rx_queues,
        max_tx_queues=hardware.max_tx_queues,
        min_mtu=MIN_MTU,
        max_mtu=MAX_MTU_V6 if revision >= 6 else MAX_MTU,
        min_rx_bufsize=MIN_HEAD_BUFFER,
        max_rx_pktlen=MAX_RX_PKTLEN,
        max_lro_pkt_size=MAX_RX_PKTLEN if revision >= 2 else 0,
        max_mac_addrs=1,
        rx_offload_capa=RX_OFFLOADS | (RxOffload.TCP_LRO if revision >= 2 else 0),
        tx_offload_capa=TX_OFFLOADS,
        reta_size=table_size(revision),
        hash_key_size=RSS_KEY_SIZE,
        flow_type_rss_offloads=rss_types(hardware),
        rx_desc_lim=DescriptorLimits(MAX_RING, MIN_RX_RING),
        tx_desc_lim=DescriptorLimits(MAX_RING, MIN_TX_RING, **segments),
        speed_capa=(SPEED,),
        firmware_version=f"v{revision}",
        lsc=hardware.pci.interrupt_limit > 0,
        rmv=True,
        private_info=private,
    )
