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


def peer_options(queues: int, frame: int) -> list[str]:
    """Return the peer's options: what it needs to bounce frames of that size."""
    options = [f"--rxq={queues}", f"--txq={queues}"]
    if frame > 1518:
        options += (
            ["--max-pkt-len=9200", "--mbuf-size=10240"]
            if queues == 1
            else ["--max-pkt-len=9200", "--enable-scatter", "--tx-offloads=0x8000"]
        )
    return options


def complete(tally: Tally, count: int) -> bool:
    return (tally.received, tally.lost, tally.changed) == (count, 0, 0)


@pytest.mark.parametrize(("mergeable", "queues", "frame"), CASES)
def test_through_dpdks_vhost(
    ours: Ours, dpdk: Start, socket_path: str, mergeable: int, queues: int, frame: int
) -> None:
    peer = dpdk(f"net_vhost0,iface={socket_path},queues={queues}", cpu=0, app=peer_options(queues, frame))
    peer.type("start")
    vdev = f"net_virtio_user0,path={socket_path},queues={queues},mrg_rxbuf={mergeable}"
    port = ours.add_port(vdev, queues=queues, frame=frame)
    for queue in range(queues):
        tally = ours.play(port, port, count=2000, size=frame, queue=queue, window=64)
        assert complete(tally, 2000), (queue, tally)


@pytest.mark.parametrize(("mergeable", "queues", "frame"), CASES)
def test_through_dpdks_virtio_user(
    ours: Ours, dpdk: Start, socket_path: str, mergeable: int, queues: int, frame: int
) -> None:
    port = ours.add_port(f"net_vhost0,iface={socket_path},queues={queues}", queues=queues, frame=frame)
    vdev = f"net_virtio_user0,path={socket_path},queues={queues},mrg_rxbuf={mergeable},queue_size=256"
    peer = dpdk(vdev, cpu=0, app=peer_options(queues, frame))
    peer.type("start")
    for queue in range(queues):
        tally = ours.play(port, port, count=2000, size=frame, queue=queue, window=64)
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
