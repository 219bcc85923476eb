# SPDX-License-Identifier: BSD-3-Clause
"""What a front end hands over and what is sent to it is counted once: moved, or ended for a reason that has a name."""

from __future__ import annotations

from collections.abc import Callable

from support.net_vhost_rig import MODERN, Rig, frame

from pollmode.net_vhost.queue import RX, TX

HEADER = bytes(12)


def test_what_a_hostile_front_end_transmits_adds_up(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX, num=16)
    place, _ = rig.buffer(HEADER + frame(100))
    rig.ring.post([rig.buffer(HEADER + frame(60))], writable=False)
    rig.ring.post([rig.buffer(HEADER + frame(14)[:13])], writable=False)
    rig.ring.post([(place, 40000), (place, 40000)], writable=False)
    rig.ring.post([(place, 5)], writable=False)  # no room for a header: this breaks the queue
    rig.ring.post([rig.buffer(HEADER + frame(60))], writable=False)
    assert rig.run() == 1
    assert rig.frames(1) == [frame(60)]
    assert rig.queue.broken
    counts = rig.counts()
    assert (counts["packets"], counts["short"], counts["long"], counts["given_up"]) == (1, 1, 1, 0)
    rig.queue.heal()
    assert rig.run() == 1
    assert rig.frames(1) == [frame(60)]
    counts = rig.counts()
    assert (counts["packets"], counts["errors"], counts["given_up"]) == (2, 2, 1)
    assert counts["packets"] + counts["errors"] + counts["given_up"] == rig.ring.used_index == 5
    assert rig.out == 0


def test_what_is_handed_over_is_sent_dropped_or_handed_back(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX, MODERN)
    rig.ring.post([rig.room(12 + 99)], writable=True)
    assert rig.run(rig.load((frame(100),), (frame(99),), (frame(99),), (frame(20),))) == 2
    counts = rig.counts()
    assert (counts["packets"], counts["unfit"], counts["missed"]) == (1, 1, 2)
    assert rig.out == 2, "those handed back"
    rig.burst[:2] = rig.burst[2:4]
    rig.free(2)
