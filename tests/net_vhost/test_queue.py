# SPDX-License-Identifier: BSD-3-Clause
"""A queue and its ring: which callback it has, what it remembers, healing."""

from __future__ import annotations

import pytest
from support.net_vhost_rig import LEGACY, MERGEABLE, MODERN, Rig, frame

from pollmode import net_vhost
from pollmode.ethdev import QueueCount
from pollmode.net_vhost.layout import (
    VARIANT_LEGACY,
    VARIANT_MERGEABLE,
    VARIANT_MODERN,
    VARIANT_NONE,
)
from pollmode.net_vhost.queue import RX, TX, variant_for
from pollmode.net_vhost.testing import GuestMemory


@pytest.mark.parametrize(
    ("features", "rx_variant", "tx_variant"),
    [
        (LEGACY, VARIANT_LEGACY, VARIANT_LEGACY),
        (MODERN, VARIANT_MODERN, VARIANT_MODERN),
        (MERGEABLE, VARIANT_MODERN, VARIANT_MERGEABLE),
    ],
)
def test_variant_follows_the_features(features: int, rx_variant: int, tx_variant: int) -> None:
    assert (variant_for(RX, features), variant_for(TX, features)) == (rx_variant, tx_variant)


def test_unbound_queue_has_no_callback_and_remembers_where_it_was(rx: Rig) -> None:
    for _ in range(3):
        rx.ring.post([rx.buffer(bytes(12) + frame(64))], writable=False)
    rx.free(rx.run())
    rx.queue.unbind()
    assert rx.queue.base == 3
    assert (rx.queue.callback(), rx.queue.variant, rx.queue.bound) == (None, VARIANT_NONE, False)
    assert rx.queue.fault() is None


def test_healing_a_sound_queue_changes_nothing(rx: Rig) -> None:
    rx.ring.post([rx.buffer(bytes(12) + frame(64))], writable=False)
    rx.queue.heal()
    assert rx.ring.used_index == 0
    assert rx.run() == 1
    assert rx.frames(1) == [frame(64)]


def test_public_face_is_what_it_says() -> None:
    assert net_vhost.__all__ == ["DRIVER"]
    assert net_vhost.DRIVER.name == "net_vhost"


def test_guest_memory_that_is_full_says_so() -> None:
    memory = GuestMemory(4096)
    memory.allocate(4096)
    with pytest.raises(MemoryError, match="region 0"):
        memory.allocate(1)
    memory.close()


def test_a_receive_ring_is_as_full_as_the_guest_made_it(rx: Rig) -> None:
    assert rx.queue.count() == QueueCount(0, 8)
    for _ in range(3):
        rx.ring.post([rx.buffer(bytes(12) + frame(64))], writable=False)
    assert rx.queue.count() == QueueCount(3, 8)
    rx.free(rx.run(2))
    assert rx.queue.count() == QueueCount(1, 8)
    rx.ring.set_avail_index(9999)  # a guest that lies
    assert rx.queue.count() == QueueCount(8, 8)
    rx.queue.unbind()
    assert rx.queue.count() is None


def test_a_transmit_ring_is_full_of_what_the_guest_has_not_given_back(tx: Rig) -> None:
    assert tx.queue.count() == QueueCount(8, 8), "no room"
    for _ in range(5):
        tx.ring.post([tx.room(128)], writable=True)
    assert tx.queue.count() == QueueCount(3, 8)
    assert tx.run(tx.load((frame(64),))) == 1
    assert tx.queue.count() == QueueCount(4, 8)
