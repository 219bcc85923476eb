# SPDX-License-Identifier: BSD-3-Clause
"""Who may touch a queue when: the access word between an lcore and the control plane, binding and healing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from support.net_vhost_rig import LEGACY, MERGEABLE, MODERN, Rig, frame

from pollmode import net_vhost
from pollmode.eal.errors import InternalError
from pollmode.net_vhost import queue as queue_module
from pollmode.net_vhost.layout import (
    ACCESS_FREE,
    ACCESS_LCORE,
    VARIANT_LEGACY,
    VARIANT_MERGEABLE,
    VARIANT_MODERN,
    VARIANT_NONE,
)
from pollmode.net_vhost.queue import RX, TX, variant_for
from pollmode.net_vhost.testing import GuestMemory


def set_access(rig: Rig, word: int) -> None:
    rig.queue._record["access"] = word


def test_control_plane_waits_for_the_burst_to_end(rx: Rig) -> None:
    set_access(rx, ACCESS_LCORE)
    stopped = threading.Event()
    thread = threading.Thread(target=lambda: (rx.queue.stop(), stopped.set()))
    thread.start()
    assert not stopped.wait(0.05)
    set_access(rx, ACCESS_FREE)
    assert stopped.wait(20)
    thread.join()


def test_lcore_that_keeps_the_queue_is_an_error_of_ours(rx: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "ACCESS_SECONDS", 0.01)
    set_access(rx, ACCESS_LCORE)
    with pytest.raises(InternalError, match="rx queue 0: an lcore keeps it"):
        rx.queue.stop()
    set_access(rx, ACCESS_FREE)


def test_access_word_is_given_back_after_every_kind_of_burst(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX)
    for prepare in (lambda: None, lambda: rig.ring.post([rig.buffer(bytes(12) + frame(64))], writable=False)):
        prepare()
        rig.free(rig.run())
        assert int(rig.queue._record["access"][0]) == ACCESS_FREE
    rig.ring.offer(9999)
    for _ in range(2):
        assert rig.run() == 0
        assert int(rig.queue._record["access"][0]) == ACCESS_FREE


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
    assert rx.queue.unbind() == 3
    assert (rx.queue.callback(), rx.queue.variant, rx.queue.bound) == (None, VARIANT_NONE, False)
    assert rx.queue.fault() is None


def test_healing_a_sound_queue_changes_nothing(rx: Rig) -> None:
    rx.ring.post([rx.buffer(bytes(12) + frame(64))], writable=False)
    rx.queue.heal()
    assert rx.ring.used_index == 0
    assert rx.run() == 1
    assert rx.frames(1) == [frame(64)]


def test_released_queue_does_not_run_until_it_has_a_pool_again(rx: Rig) -> None:
    rx.ring.post([rx.buffer(bytes(12) + frame(64))], writable=False)
    rx.queue.release()
    rx.queue.start()
    assert rx.run() == 0
    rx.queue.use_pool(rx.pool, 3, 8)
    rx.queue.start()
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
