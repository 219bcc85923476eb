# SPDX-License-Identifier: BSD-3-Clause
"""Our back end and our front end in one process: numbered packets come back complete, in order, unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.ours import Ours, Tally
from support.vhost import until

from pollmode.eal.jit import INTERPRETED

COUNT = 300 if INTERPRETED else 20_000


@pytest.mark.parametrize("mergeable", [0, 1])
@pytest.mark.parametrize("size", [60, 64, 1514])
@pytest.mark.parametrize("queues", [1, 2])
def test_numbered_packets_both_ways(tmp_path: Path, mergeable: int, size: int, queues: int) -> None:
    ours = Ours()
    try:
        host = ours.add_port(f"net_vhost0,iface={tmp_path}/s,queues={queues}", queues=queues)
        guest = ours.add_port(
            f"net_virtio_user0,path={tmp_path}/s,queues={queues},mrg_rxbuf={mergeable}", queues=queues
        )
        until(lambda: host.link().up and guest.link().up)
        for queue in range(queues):
            for out, back in ((host, guest), (guest, host)):
                tally = ours.play(out, back, count=COUNT, size=size, queue=queue)
                assert tally == Tally(sent=COUNT, received=COUNT, lost=0, changed=0, failed=tally.failed)
        guest.stop()
        assert host.device.faults() == []
    finally:
        ours.close()


def test_jumbo_frames_over_several_mbufs_and_buffers(tmp_path: Path) -> None:
    ours = Ours()
    try:
        host = ours.add_port(f"net_vhost0,iface={tmp_path}/s", frame=9018)
        guest = ours.add_port(f"net_virtio_user0,path={tmp_path}/s,mrg_rxbuf=1", frame=9018)
        until(lambda: host.link().up and guest.link().up)
        for out, back in ((host, guest), (guest, host)):
            count = COUNT // 10
            tally = ours.play(out, back, count=count, size=9018, window=16)
            assert (tally.received, tally.lost, tally.changed) == (count, 0, 0)
    finally:
        ours.close()
