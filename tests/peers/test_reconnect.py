# SPDX-License-Identifier: BSD-3-Clause
"""The peer dies under traffic and comes back: we go on, with every mbuf.

`POLLMODE_PEER_KILLS` sets how often it dies.
"""

import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from support.dpdk import DpdkTestpmd
from support.ours import Ours
from support.program import PATIENCE

from pollmode.ethdev import Port

KILLS = int(os.environ.get("POLLMODE_PEER_KILLS", "3"))

Start = Callable[..., DpdkTestpmd]


@pytest.fixture
def ours() -> Iterator[Ours]:
    made = Ours()
    yield made
    made.close()


def wait_until(true: Callable[[], bool], what: str) -> float:
    """Wait until something holds; return the seconds it took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() < begun + PATIENCE, f"never {what}"
        time.sleep(0.005)
    return time.monotonic() - begun


def moves(counts: np.ndarray) -> Callable[[], bool]:
    """Return a question: has anything been sent and received since now?"""
    before = counts.copy()
    return lambda: bool((counts > before + 100).all())


def die_and_return(ours: Ours, port: Port, start: Callable[[], DpdkTestpmd]) -> None:
    """Kill the peer under traffic, KILLS times, and see that traffic comes back with it."""
    peer = start()
    counts = ours.start_churn(port)
    try:
        for _ in range(KILLS):
            wait_until(moves(counts), "any traffic")
            peer.kill()
            wait_until(lambda: not port.link().up, "the link down")
            peer.close()
            peer = start()
            wait_until(lambda: port.link().up, "the link up again")
            wait_until(moves(counts), "traffic after the return")
    finally:
        ours.stop_churn()


@pytest.mark.timeout(1200)
def test_our_virtio_user_server_survives_its_back_end(ours: Ours, dpdk: Start, socket_path: str) -> None:
    def start() -> DpdkTestpmd:
        peer = dpdk(f"net_vhost0,iface={socket_path},client=1")
        peer.type("start")
        return peer

    die_and_return(ours, ours.add_port(f"net_virtio_user0,path={socket_path},server=1"), start)


@pytest.mark.timeout(1200)
def test_our_vhost_server_survives_its_front_end(ours: Ours, dpdk: Start, socket_path: str) -> None:
    def start() -> DpdkTestpmd:
        peer = dpdk(f"net_virtio_user0,path={socket_path}")
        peer.type("start")
        return peer

    die_and_return(ours, ours.add_port(f"net_vhost0,iface={socket_path}"), start)


@pytest.mark.timeout(1200)
def test_our_vhost_client_survives_its_front_end(ours: Ours, dpdk: Start, socket_path: str) -> None:
    def start() -> DpdkTestpmd:
        if os.path.exists(socket_path):
            os.unlink(socket_path)
        peer = dpdk(f"net_virtio_user0,path={socket_path},server=1")
        peer.type("start")
        return peer

    die_and_return(ours, ours.add_port(f"net_vhost0,iface={socket_path},client=1"), start)


def test_our_virtio_user_client_says_what_to_do(
    ours: Ours, dpdk: Start, socket_path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    peer = dpdk(f"net_vhost0,iface={socket_path}")
    port = ours.add_port(f"net_virtio_user0,path={socket_path}")
    assert port.link().up
    peer.kill()
    wait_until(lambda: not port.link().up, "the link down")
    said = ""

    def told() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "server=1" in said and socket_path in said

    wait_until(told, "told that server=1 waits for a back end's return")
