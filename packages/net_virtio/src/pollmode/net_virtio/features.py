# SPDX-License-Identifier: BSD-3-Clause
"""Which feature bits a configuration wants, which offloads bits make possible, and which callbacks they need."""

from __future__ import annotations

from dataclasses import dataclass

from pollmode.eal.errors import UnsupportedError
from pollmode.ethdev import PortConfig, RxOffload, TxOffload
from pollmode.vhost.virtqueue import (
    VIRTIO_F_ANY_LAYOUT,
    VIRTIO_F_VERSION_1,
    VIRTIO_NET_F_CSUM,
    VIRTIO_NET_F_GUEST_CSUM,
    VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_GUEST_TSO6,
    VIRTIO_NET_F_HOST_TSO4,
    VIRTIO_NET_F_HOST_TSO6,
    VIRTIO_NET_F_MQ,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_RING_F_INDIRECT_DESC,
    feature_names,
    features,
    has,
    header_size,
)

__all__ = ["ALL_FEATURES", "Variant", "choose", "rx_offloads", "tx_offloads", "variant", "wanted"]

RX_CHECKSUM = RxOffload.UDP_CKSUM | RxOffload.TCP_CKSUM
TX_CHECKSUM = TxOffload.UDP_CKSUM | TxOffload.TCP_CKSUM
GUEST_TSO = features(VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6)
HOST_TSO = features(VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6)
GUEST_CSUM = features(VIRTIO_NET_F_GUEST_CSUM)
CSUM = features(VIRTIO_NET_F_CSUM)

# Taken when they are on offer. Without VERSION_1, ANY_LAYOUT lets the header stand before the data (5.1.6.6).
WELCOME = features(VIRTIO_F_VERSION_1, VIRTIO_F_ANY_LAYOUT, VIRTIO_RING_F_INDIRECT_DESC)
ALL_FEATURES = WELCOME | GUEST_TSO | HOST_TSO | GUEST_CSUM | CSUM | features(VIRTIO_NET_F_MQ, VIRTIO_NET_F_MRG_RXBUF)
"""Every bit this driver can use."""


@dataclass(frozen=True)
class Variant:
    """What the callbacks are made for: see `make_rx` and `make_tx`."""

    mergeable: bool
    header: int
    rx_offload: bool
    tx_offload: bool
    strip: bool
    indirect: bool
    any_layout: bool


def rx_offloads(offered: int) -> RxOffload:
    """Return the receive offloads that these features make possible; VLAN tags are stripped by the driver."""
    result = RxOffload.VLAN_STRIP
    if has(offered, VIRTIO_NET_F_MRG_RXBUF):
        result |= RxOffload.SCATTER
    if offered & GUEST_CSUM:
        result |= RX_CHECKSUM
        # A coalesced packet takes many buffers, and only MRG_RXBUF lets it (5.1.6.3.1).
        if offered & GUEST_TSO == GUEST_TSO and has(offered, VIRTIO_NET_F_MRG_RXBUF):
            result |= RxOffload.TCP_LRO
    return result


def tx_offloads(offered: int) -> TxOffload:
    """Return the transmit offloads that these features make possible; VLAN tags are inserted by the driver."""
    result = TxOffload.MULTI_SEGS | TxOffload.VLAN_INSERT
    if offered & CSUM:
        result |= TX_CHECKSUM
        if offered & HOST_TSO == HOST_TSO:
            result |= TxOffload.TCP_TSO
    return result


def wanted(config: PortConfig, pairs: int) -> int:
    """Return the bits without which a configuration can't be had."""
    word = 0
    if config.rx_offloads & RX_CHECKSUM:
        word |= GUEST_CSUM
    if config.rx_offloads & RxOffload.TCP_LRO:
        word |= GUEST_CSUM | GUEST_TSO
    if config.tx_offloads & TX_CHECKSUM:
        word |= CSUM
    if config.tx_offloads & TxOffload.TCP_TSO:
        word |= CSUM | HOST_TSO
    if pairs > 1:
        word |= features(VIRTIO_NET_F_MQ)
    return word


def choose(name: str, offered: int, needed: int, mergeable: bool) -> int:
    """Return the bits to negotiate. Raises UnsupportedError, naming them, for needed bits that are not on offer."""
    missing = needed & ~offered
    if missing:
        raise UnsupportedError(
            f"{name}: the configuration needs {feature_names(missing)}, which the vhost back end does not offer"
        )
    welcome = WELCOME | (features(VIRTIO_NET_F_MRG_RXBUF) if mergeable else 0)
    return needed | (welcome & offered)


def variant(chosen: int, config: PortConfig) -> Variant:
    """Return what the callbacks are made for under these features."""
    return Variant(
        mergeable=has(chosen, VIRTIO_NET_F_MRG_RXBUF),
        header=header_size(chosen),
        rx_offload=bool(chosen & (GUEST_CSUM | GUEST_TSO)),
        tx_offload=bool(chosen & (CSUM | HOST_TSO)),
        strip=bool(config.rx_offloads & RxOffload.VLAN_STRIP),
        indirect=has(chosen, VIRTIO_RING_F_INDIRECT_DESC),
        any_layout=bool(chosen & features(VIRTIO_F_VERSION_1, VIRTIO_F_ANY_LAYOUT)),
    )
