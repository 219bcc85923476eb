# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of vhost share: a back end that records, a count of what could leak, waiting with a deadline."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable

from pollmode.vhost.backend import DEFAULT_PROTOCOL_FEATURES, Backend
from pollmode.vhost.messages import Protocol, Request
from pollmode.vhost.testing import WAIT, ScriptedFrontend
from pollmode.vhost.virtqueue import (
    VHOST_F_LOG_ALL,
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_F_VERSION_1,
    VIRTIO_NET_F_MQ,
    features,
)
from pollmode.vhost.vring import Vring

OFFER = features(VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_NET_F_MQ, VHOST_F_LOG_ALL)
PROTOCOL_OFFER = DEFAULT_PROTOCOL_FEATURES | features(Protocol.LOG_SHMFD)


def kept() -> Counter[str]:
    """What could leak: sockets, eventfds, pipes and guest memory files that are open or mapped."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/self/fd/{name}")
            if link.startswith(("socket:", "pipe:", "anon_inode:[eventfd]", "anon_inode:[userfaultfd]", "/memfd:")):
                found[link.split(":")[0] + ("" if "memfd" not in link else link.split(":")[1])] += 1
    with open("/proc/self/maps") as maps:
        found["mapping"] = sum("memfd:guest" in line for line in maps)
    return found


def until(condition: Callable[[], bool], text: Callable[[], str] = lambda: "it did not happen") -> None:
    """Poll until the condition holds; fail with the text when it does not in good time."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, text()
        time.sleep(0.002)


class Recorder(Backend):
    """A back end that writes down what it is told, and is always 7 entries further when a ring is stopped."""

    name = "recorder"
    features = OFFER
    protocol_features = PROTOCOL_OFFER
    queue_pairs = 2

    def __init__(self) -> None:
        self.pausing = False
        self.events: list[tuple[object, ...]] = []
        self.running: dict[int, Vring] = {}
        self.largest_mtu = 9000
        self.closed: list[str] = []

    def on_features(self, session, word):
        assert not self.running
        self.events.append(("features", word))

    def on_vring_ready(self, session, vring):
        assert vring.index not in self.running
        assert vring.desc
        assert vring.avail
        assert vring.used
        self.running[vring.index] = vring
        self.events.append(("ready", vring.index, vring.num, vring.base))

    @contextlib.contextmanager
    def paused(self, session):
        self.pausing = True
        yield
        self.pausing = False

    def on_vring_file(self, session, vring):
        assert self.running[vring.index] is vring
        assert self.pausing
        self.events.append(("file", vring.index))

    def on_vring_stopped(self, session, vring):
        assert self.running.pop(vring.index) is vring
        assert vring.desc, "the ring is still mapped while it is being stopped"
        self.events.append(("stopped", vring.index))
        return vring.base + 7

    def on_mtu(self, session, mtu):
        self.events.append(("mtu", mtu))
        return mtu <= self.largest_mtu

    def on_rarp(self, session, mac):
        self.events.append(("rarp", mac))

    def on_status(self, session, status):
        self.events.append(("status", status))

    def on_closed(self, session, reason):
        assert not self.running
        self.closed.append(reason)


def settle(front: ScriptedFrontend) -> None:
    """Return when the session has served everything that was sent."""
    assert len(front.ask(Request.GET_FEATURES)) == 8
