# SPDX-License-Identifier: BSD-3-Clause
"""Bringing ports up for forwarding: one queue each way, rings of 1024 where the device can, links awaited."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pollmode.eal.memory import Memory
from pollmode.ethdev import DescriptorLimits, Port, PortConfig, TxOffload
from pollmode.l2fwd.layout import BURST
from pollmode.mbuf import Mempool, create_pool
from pollmode.net import mac

__all__ = ["DESCRIPTORS", "LINK_CHECKS", "LINK_INTERVAL", "await_links", "fit", "make_pool", "start_port"]

DESCRIPTORS = 1024  # RX_DESC_DEFAULT, TX_DESC_DEFAULT
LEAST_MBUFS = 8192
CACHE_SIZE = 256
LINK_INTERVAL = 0.1
LINK_CHECKS = 90  # nine seconds


def make_pool(memory: Memory, ports: int, lcores: int) -> Mempool:
    """Make the one pool of mbufs: enough for full rings, a burst a port and a full cache an lcore, at least 8192.

    Raises HostError when memory is short.
    """
    count = ports * (2 * DESCRIPTORS + BURST + lcores * CACHE_SIZE)
    return create_pool(memory, "mbuf_pool", max(count, LEAST_MBUFS), cache_size=CACHE_SIZE)


def fit(limits: DescriptorLimits, wanted: int) -> int:
    """Return the number of descriptors nearest to `wanted` that a device takes (rte_eth_dev_adjust_nb_rx_tx_desc)."""
    align = max(limits.align, 1)
    aligned = -(-wanted // align) * align
    if limits.maximum:
        aligned = min(aligned, limits.maximum // align * align)
    return max(aligned, limits.minimum, 1)


def start_port(port: Port, pool: Mempool, *, promiscuous: bool) -> None:
    """Configure a port, set up its queues and start it, telling as DPDK's l2fwd tells."""
    print(f"Initializing port {port.id}... ", end="", flush=True)
    info = port.info()
    # One pool, and no packet has a second owner here: a driver may give a whole burst back at once.
    port.configure(1, 1, PortConfig(tx_offloads=info.tx_offload_capa & TxOffload.MBUF_FAST_FREE))
    port.setup_rx_queue(0, fit(info.rx_desc_lim, DESCRIPTORS), pool)
    port.setup_tx_queue(0, fit(info.tx_desc_lim, DESCRIPTORS))
    port.start()
    print("done: ")
    if promiscuous:
        port.set_promiscuous(True)
    print(f"Port {port.id}, MAC address: {mac.format(port.mac)}\n", flush=True)


def await_links(ports: Sequence[Port], wait: Callable[[float], bool]) -> None:
    """Wait until every link is up, nine seconds at most, and tell which are.

    `wait(seconds)` waits and returns True when the application is to end.
    """
    print("\nChecking link status", end="", flush=True)
    for _ in range(LINK_CHECKS):
        if all(port.link().up for port in ports) or wait(LINK_INTERVAL):
            break
        print(".", end="", flush=True)
    print("done")
    for port in ports:
        print(f"Port {port.id} {port.link()}", flush=True)
