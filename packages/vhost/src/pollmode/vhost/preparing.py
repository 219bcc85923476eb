# SPDX-License-Identifier: BSD-3-Clause
"""Work of seconds that a message needs: it is done beside the event loop, before the message is served.

A migration begins with features that want other callbacks, compiled once on a machine. Compiling them where the rings
change would hold up every ring for as long, and on the event loop every other session too.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from pollmode.eal.errors import ConfigError
from pollmode.vhost.patience import Loop

__all__ = ["prepare"]


def prepare(work: Callable[[], None], loop: Loop, then: Callable[[], None]) -> None:
    """Do `work` in a thread of its own, then call `then` on the loop, even if it failed.

    What fails is tried again, and told, where it is needed. Without a free thread it is only done there.
    """

    def in_thread() -> None:
        with contextlib.suppress(Exception):
            work()
        with contextlib.suppress(ConfigError):  # the loop has ended
            loop.alarm(0, then)

    try:
        threading.Thread(target=in_thread, name="vhost preparation").start()
    except RuntimeError:
        loop.alarm(0, then)
