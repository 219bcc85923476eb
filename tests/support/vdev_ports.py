# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures for drivers of virtual devices: ports made from devargs, in an environment of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.ethdev import Port, Ports
from pollmode.mbuf import Mempool, create_pool

__all__ = ["Attach", "attach", "pool", "ports"]

Attach = Callable[..., Port]


@pytest.fixture
def ports(environment: Environment) -> Iterator[Ports]:
    table = Ports(environment)
    yield table
    table.close()


@pytest.fixture
def pool(environment: Environment, ports: Ports) -> Mempool:
    return create_pool(environment.memory, "pool", 256, cache_size=0)


@pytest.fixture
def attach(environment: Environment, ports: Ports, pool: Mempool) -> Attach:
    """Attach a device and start it with so many queues each way."""
    bus = VdevBus(environment, ports)

    def attached(text: str, queues: int = 1, mbufs: Mempool = pool) -> Port:
        port: Port = bus.attach(text)
        port.configure(queues, queues)
        for queue in range(queues):
            port.setup_rx_queue(queue, 0, mbufs)
            port.setup_tx_queue(queue, 0)
        port.start()
        return port

    return attached
