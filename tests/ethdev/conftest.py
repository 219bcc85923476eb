# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of ethdev's tests: a table of ports, a model device, a pool."""

from __future__ import annotations

import pytest
from support.vdev_ports import ports

from pollmode.eal.environment import Environment
from pollmode.ethdev import Port, Ports
from pollmode.ethdev.testing import ModelDevice
from pollmode.mbuf import Mempool, create_pool

__all__ = ["device", "pool", "port", "ports", "started"]


@pytest.fixture
def pool(environment: Environment, ports: Ports) -> Mempool:
    return create_pool(environment.memory, "pool", 256)


@pytest.fixture
def device() -> ModelDevice:
    return ModelDevice()


@pytest.fixture
def port(ports: Ports, device: ModelDevice) -> Port:
    return ports.add(device)


@pytest.fixture
def started(port: Port, pool: Mempool) -> Port:
    """The model's port with two queues each way, started."""
    port.configure(2, 2)
    for queue in range(2):
        port.setup_rx_queue(queue, 0, pool)
        port.setup_tx_queue(queue, 0)
    port.start()
    return port
