# SPDX-License-Identifier: BSD-3-Clause
"""The demonstration: a vhost port and a virtio port joined in one process, with packets going round between them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from pollmode.eal.errors import ConfigError
from pollmode.eal.stopper import Stopper
from pollmode.testpmd.options import parse

__all__ = ["run"]

BURSTS = 8
"""Bursts put on the way at the start: as many packets as circulate, less than a ring of 256 holds."""


def run(words: Sequence[str], seconds: float) -> int:
    """Forward for so many seconds, with `words` added to testpmd's own options; return the exit code.

    Needs neither root nor hugepages, and leaves nothing behind: the socket is in a private temporary folder.
    """
    if not 0 < seconds <= 86400:
        raise ConfigError(f"--seconds is {seconds:g}, it must be above 0 and at most 86400")
    options = parse([f"--tx-first={BURSTS}", "--stats-period=1", *words])
    from pollmode.testpmd import application  # slow: until a Stopper is there a signal ends the process at once

    with Stopper(), tempfile.TemporaryDirectory(prefix="testpmd-") as folder:
        socket = os.path.join(folder, "vhost.sock")
        # Ports close in order, so the virtio port sees its vhost port go: nothing to warn of here.
        eal_words = ["--no-huge", "--in-memory", "--no-pci", "--log-level=pmd.net.virtio.*:critical"]
        eal_words += ["--vdev", f"net_vhost0,iface={socket}", "--vdev", f"net_virtio_user0,path={socket}"]
        return application.run(eal_words, options, seconds=seconds)
