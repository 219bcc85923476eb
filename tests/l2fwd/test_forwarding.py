# SPDX-License-Identifier: BSD-3-Clause
"""Packets through the compiled loop, between net_ring ports.

What is sent on a net_ring port is received on the same port. With the receive queue of port 1 stopped, what l2fwd sends
there stays until the test takes it.
"""

import time

import numpy as np
import pytest

from pollmode.ethdev import TxOffload
from pollmode.l2fwd.forwarder import station
from pollmode.l2fwd.options import Options
from pollmode.l2fwd.plan import make_plan
from pollmode.mbuf import HEADROOM

PAIR = ("net_ring0", "net_ring1")
PATIENCE = 60.0


def eventually(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def frame(number: int, size: int = 64) -> bytes:
    return bytes([0xEE] * 6 + [0xDD] * 6 + [8, 0]) + number.to_bytes(4, "big") + bytes(range(size - 18))


def one_way(rig):
    """Return a rig whose port 0 receives and whose port 1 only sends."""
    made = rig(*PAIR)
    made.bring_up()
    made.ports[1].stop_rx_queue(0)
    return made


def arrived(made):
    made.forwarder.stop()
    made.ports[1].start_rx_queue(0)
    return made.take(made.ports[1])


@pytest.mark.parametrize("count", [1, 31, 32, 33, 200])
def test_every_packet_goes_over_in_order_with_new_addresses(rig, count):
    made = one_way(rig)
    for start in range(0, count, 50):
        made.put(made.ports[0], [frame(number) for number in range(start, min(start + 50, count))])
    forwarder = made.forward(make_plan(Options(mask=3, queues=2), [0, 1], [0]))
    eventually(lambda: forwarder.counts()[1].sent == count)
    addresses = bytes([2, 0, 0, 0, 0, 1]) + made.ports[1].mac
    assert arrived(made) == [addresses + frame(number)[12:] for number in range(count)]
    assert forwarder.counts()[0].received == count
    assert (forwarder.counts()[0].sent, forwarder.counts()[1].received) == (0, 0)
    assert made.pool.available() == made.pool.count


def test_no_mac_updating_leaves_packets_as_they_are(rig):
    made = one_way(rig)
    frames = [frame(number, 64 + number) for number in range(40)]
    made.put(made.ports[0], frames)
    forwarder = made.forward(make_plan(Options(mask=3, queues=2), [0, 1], [0]), mac_updating=False)
    eventually(lambda: forwarder.counts()[1].sent == 40)
    assert arrived(made) == frames


def test_what_the_other_port_does_not_take_is_counted_and_freed(rig):
    made = one_way(rig)
    made.ports[1].stop_tx_queue(0)
    made.put(made.ports[0], [frame(number) for number in range(45)])
    forwarder = made.forward(make_plan(Options(mask=3, queues=2), [0, 1], [0]))
    eventually(lambda: forwarder.counts()[1].dropped == 45)
    forwarder.stop()
    assert (forwarder.counts()[1].sent, forwarder.counts()[0].received) == (0, 45)
    made.pool.audit()
    assert made.pool.available() == made.pool.count


def test_a_stopped_loop_leaves_no_packet_waiting_and_may_be_started_again(rig):
    made = rig(*PAIR)
    made.bring_up()
    made.put(made.ports[0], [frame(number) for number in range(7)])
    forwarder = made.forward(make_plan(Options(mask=3, queues=2), [0, 1], [0]))
    for _ in range(3):
        before = forwarder.counts()[0].received
        eventually(lambda before=before: forwarder.counts()[0].received > before)
        forwarder.stop()
        counts = forwarder.counts()
        assert sum(one.received for one in counts.values()) == sum(one.sent for one in counts.values())
        forwarder.start()
    forwarder.stop()
    assert len(made.take(made.ports[0])) + len(made.take(made.ports[1])) == 7
    assert made.pool.available() == made.pool.count


def test_the_odd_port_sends_back(rig):
    made = rig("net_ring0")
    made.bring_up()
    made.put(made.ports[0], [frame(1)])
    forwarder = made.forward(make_plan(Options(mask=1), [0], [0]))
    eventually(lambda: forwarder.counts()[0].sent > 3)
    forwarder.stop()
    (packet,) = made.take(made.ports[0])
    assert packet == bytes([2, 0, 0, 0, 0, 0]) + made.ports[0].mac + frame(1)[12:]


def test_two_lcores_forward_one_port_each(rig):
    made = rig(*PAIR, lcores=2)
    made.bring_up()
    plan = make_plan(Options(mask=3), [0, 1], [0, 1])
    assert plan.lcores == {0: [0], 1: [1]}
    made.put(made.ports[0], [frame(number) for number in range(20)])
    forwarder = made.forward(plan)
    assert made.environment.lcores.running == [0, 1]
    eventually(lambda: all(one.sent >= 20 and one.received >= 20 for one in forwarder.counts().values()))
    forwarder.stop()
    left = made.take(made.ports[0]) + made.take(made.ports[1])
    assert sorted(packet[12:] for packet in left) == sorted(frame(number)[12:] for number in range(20))
    assert made.pool.available() == made.pool.count


def test_station_is_the_port_behind_a_local_prefix():
    assert station(0) == bytes([2, 0, 0, 0, 0, 0])
    assert station(31) == bytes([2, 0, 0, 0, 0, 31])


def test_ports_are_brought_up_with_dpdks_words(rig, capsys):
    made = rig("net_null0")
    made.bring_up(promiscuous=True)
    port = made.ports[0]
    address = port.mac.hex(":").upper()
    assert capsys.readouterr().out == f"Initializing port 0... done: \nPort 0, MAC address: {address}\n\n"
    assert port.promiscuous
    assert port.config.tx_offloads == port.info().tx_offload_capa & TxOffload.MBUF_FAST_FREE
    assert (port.rx_queues, port.tx_queues) == (1, 1)


def test_pool_holds_full_rings_and_never_less_than_8192(rig):
    made = rig("net_null0")
    assert made.pool.count == 8192
    assert made.pool.data_room == 2048 + HEADROOM
    assert np.count_nonzero(made.pool.elements() % 64) == 0
