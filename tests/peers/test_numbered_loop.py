# SPDX-License-Identifier: BSD-3-Clause
"""Numbered frames around the loop through DPDK's drivers come back complete, in order and unchanged.

`POLLMODE_PEER_PACKETS` sets how many go around in the long run.
"""

import os
from collections.abc import Callable, Iterator

import pytest
from support.dpdk import DpdkTestpmd
from support.ours import Ours, Tally

PACKETS = int(os.environ.get("POLLMODE_PEER_PACKETS", "200000"))

CASES = [
    pytest.param(mergeable, queues, frame, id=f"{'mergeable' if mergeable else 'plain'}-{queues}q-{frame}")
    for mergeable in (0, 1)
    for queues in (1, 4)
    for frame in ((64, 1518, 9000) if mergeable else (64, 1518))
]

Start = Callable[..., DpdkTestpmd]


@pytest.fixture
def ours() -> Iterator[Ours]:
    made = Ours()
    yield made
    made.close()


def peer_options(driver: str, queues: int, frame: int) -> list[str]:
    """Return the peer's options: what it needs to bounce frames of that size, as chains of its mbufs."""
    jumbo = ["--max-pkt-len=9200", "--tx-offloads=0x8000"] if frame > 1518 else []
    if jumbo and driver == "virtio_user":
        jumbo.append("--enable-scatter")
    return [f"--rxq={queues}", f"--txq={queues}", *jumbo]


def window(frame: int) -> int:
    """Return how many frames may be under way: a frame of 9000 bytes takes five of a ring's 256 descriptors."""
    return 64 if frame <= 1518 else 16


def complete(tally: Tally, count: int) -> bool:
    return (tally.received, tally.lost, tally.changed) == (count, 0, 0)


@pytest.mark.parametrize(("mergeable", "queues", "frame"), CASES)
def test_through_dpdks_vhost(
    ours: Ours, dpdk: Start, socket_path: str, mergeable: int, queues: int, frame: int
) -> None:
    peer = dpdk(f"net_vhost0,iface={socket_path},queues={queues}", cpu=0, app=peer_options("vhost", queues, frame))
    peer.type("start")
    vdev = f"net_virtio_user0,path={socket_path},queues={queues},mrg_rxbuf={mergeable}"
    port = ours.add_port(vdev, queues=queues, frame=frame)
    for queue in range(queues):
        tally = ours.play(port, port, count=2000, size=frame, queue=queue, window=window(frame))
        assert complete(tally, 2000), (queue, tally)


@pytest.mark.parametrize(("mergeable", "queues", "frame"), CASES)
def test_through_dpdks_virtio_user(
    ours: Ours, dpdk: Start, socket_path: str, mergeable: int, queues: int, frame: int
) -> None:
    port = ours.add_port(f"net_vhost0,iface={socket_path},queues={queues}", queues=queues, frame=frame)
    vdev = f"net_virtio_user0,path={socket_path},queues={queues},mrg_rxbuf={mergeable},queue_size=256"
    peer = dpdk(vdev, cpu=0, app=peer_options("virtio_user", queues, frame))
    peer.type("start")
    for queue in range(queues):
        tally = ours.play(port, port, count=2000, size=frame, queue=queue, window=window(frame))
        assert complete(tally, 2000), (queue, tally)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("driver", ["net_virtio_user", "net_vhost"])
def test_a_long_run_is_complete(ours: Ours, dpdk: Start, socket_path: str, driver: str) -> None:
    virtio, vhost = f"net_virtio_user0,path={socket_path}", f"net_vhost0,iface={socket_path}"
    if driver == "net_virtio_user":
        dpdk(vhost, cpu=0).type("start")
        port = ours.add_port(virtio)
    else:
        port = ours.add_port(vhost)
        dpdk(virtio, cpu=0).type("start")
    tally = ours.play(port, port, count=PACKETS, size=64)
    assert complete(tally, PACKETS), tally
