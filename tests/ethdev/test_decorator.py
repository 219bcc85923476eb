# SPDX-License-Identifier: BSD-3-Clause
"""Devices put around a port's device, and taken off again."""

from __future__ import annotations

import inspect

import pytest

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, InternalError
from pollmode.ethdev import BurstEntry, Decorator, Device, Ports
from pollmode.ethdev.testing import ModelDevice, constant
from pollmode.mbuf import Burst, create_pool


class Deaf(Decorator):
    """Receives nothing; `works` tells whether it can do that."""

    works = True
    off = False

    def rx_entry(self, queue: int) -> BurstEntry | None:
        if not self.works:
            raise InternalError("no function")
        return BurstEntry(constant(0), 0)

    def taken_off(self) -> None:
        self.off = True


def test_a_decorator_passes_on_every_method_of_a_device() -> None:
    methods = {name for name, value in vars(Device).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert methods
    assert methods <= set(vars(Decorator))


def test_a_running_port_goes_through_what_is_around_it(environment: Environment) -> None:
    ports = Ports(environment)
    inner = ModelDevice()
    port = ports.add(inner)
    pool = create_pool(environment.memory, "pool", 64, cache_size=0)
    port.configure(1, 1)
    port.setup_rx_queue(0, 0, pool)
    port.setup_tx_queue(0, 0)
    around = Deaf(inner)
    port.start()
    port.put_around(around)
    assert port.rx(0, Burst(4)) == 0
    assert inner.calls[-1] == ("start",), "nothing was stopped"
    port.set_mac(bytes.fromhex("020000000042"))
    assert inner.mac == around.mac == port.mac
    with pytest.raises(ConfigError, match="another device was put around it meanwhile"):
        port.put_around(Deaf(inner))
    second = Deaf(around)
    port.put_around(second)
    with pytest.raises(ConfigError, match="another device is around it; take that one off first"):
        port.take_off(around)
    port.take_off(second)
    port.take_off(around)
    assert around.off
    assert port.device is inner
    ports.close()


def test_what_cannot_be_put_around_a_port_changes_nothing(environment: Environment) -> None:
    ports = Ports(environment)
    port = ports.add(ModelDevice())
    pool = create_pool(environment.memory, "pool", 64, cache_size=0)
    port.configure(1, 1)
    port.setup_rx_queue(0, 0, pool)
    port.setup_tx_queue(0, 0)
    port.start()
    before, around = port.device, Deaf(port.device)
    around.works = False
    with pytest.raises(InternalError, match="no function"):
        port.put_around(around)
    assert port.device is before
    assert around.off
    ports.close()
