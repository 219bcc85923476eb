# SPDX-License-Identifier: BSD-3-Clause
"""A port whose other side broke the protocol is reset while everything else goes on."""

from pollmode.eal.errors import DeviceFault, HostError
from pollmode.ethdev import State
from pollmode.ethdev.testing import ModelDevice
from pollmode.l2fwd.run import heal


def started_model(rig):
    made = rig()
    device = ModelDevice()
    port = made.table.add(device)
    port.configure(1, 1)
    port.setup_rx_queue(0, 64, made.pool)
    port.setup_tx_queue(0, 64)
    port.start()
    device.calls.clear()
    return device, port


def resets(device):
    return [call for call in device.calls if call[0] == "reset"]


def test_a_whole_port_is_left_alone(rig):
    device, port = started_model(rig)
    heal([port])
    assert resets(device) == []


def test_a_fault_is_healed_once(rig):
    device, port = started_model(rig)
    device.broken = [DeviceFault("used id 9 is out of range", queue=0, index=3, word=9)]
    heal([port])
    assert len(resets(device)) == 1
    assert port.state is State.STARTED
    device.broken = []
    heal([port])
    assert len(resets(device)) == 1


def test_a_port_that_cannot_be_reset_is_left_stopped(rig):
    device, port = started_model(rig)
    device.broken = [DeviceFault("used index jumped")]
    device.failing["reset"] = HostError("no memory")
    heal([port])
    assert port.state is State.STOPPED
    heal([port])
    assert len(resets(device)) == 1
