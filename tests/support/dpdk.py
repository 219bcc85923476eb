# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd as the peer: needs neither root nor hugepages.

Its threads print over each other, so nothing here waits for a prompt: a question is asked again until a whole answer
to it can be read.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Sequence

import pytest

from support.program import PATIENCE, Program

INSTALL = "apt-get install dpdk dpdk-dev"

_serial = itertools.count()

STATISTICS = re.compile(r"RX-packets: (\d+) .*?RX-missed: (\d+).*?TX-packets: (\d+) ", re.S)


def require_testpmd() -> None:
    """Skip the test where DPDK is not installed, or fail it where peers are required."""
    if shutil.which("dpdk-testpmd"):
        return
    if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
        pytest.fail(f"dpdk-testpmd is not installed: {INSTALL}")
    pytest.skip(f"dpdk-testpmd is not installed: {INSTALL}")


class DpdkTestpmd(Program):
    """dpdk-testpmd at its prompt with one or more vdevs; both of its lcores run on CPU `cpu`."""

    def __init__(self, *vdevs: str, cpu: int = 0, app: Sequence[str] = (), mbufs: int = 8192) -> None:
        eal = ["--lcores", f"0@{cpu},1@{cpu}", "--no-pci", "--no-huge", "-m", "256", "--log-level=lib.vhost.*:error"]
        eal += ["--file-prefix", f"peer{os.getpid()}x{next(_serial)}"]
        eal += [word for vdev in vdevs for word in ("--vdev", vdev)]
        # Without --no-flush-rx, `start` throws away what arrived before it.
        options = [
            "-i",
            "--no-flush-rx",
            "--nb-cores=1",
            "--no-mlockall",
            f"--total-num-mbufs={mbufs}",
            "--mask-event=all",
            *app,
        ]
        # What a killed DPDK leaves in its runtime folder goes with ours.
        self._runtime = tempfile.TemporaryDirectory(prefix="dpdk-")
        super().__init__(
            ["stdbuf", "-oL", "dpdk-testpmd", *eal, "--", *options],
            keyboard=True,
            environment={"RUNTIME_DIRECTORY": self._runtime.name},
        )
        try:
            self.wait_for(r"Done")
        except AssertionError:
            self.close()
            raise

    def close(self) -> None:
        """End it and remove what it left."""
        super().close()
        self._runtime.cleanup()

    def statistics(self, port: int = 0) -> tuple[int, int, int]:
        """Return packets received, missed and sent by `port`."""
        found = self._ask(f"show port stats {port}", STATISTICS)
        return int(found[1]), int(found[2]), int(found[3])

    def wait_for_link(self, port: int = 0) -> None:
        """Wait until `port` has its link."""
        self._ask(f"show port info {port}", re.compile(r"Link status: up"))

    def _ask(self, question: str, answer: re.Pattern[str]) -> re.Match[str]:
        """Type `question` until what is printed after it holds `answer`."""
        end = time.monotonic() + PATIENCE
        while True:
            before = len(self.output())
            self.type(question)
            patience = time.monotonic() + 1.0
            while time.monotonic() < patience:
                found = answer.search(self.output(), before)
                if found:
                    return found
                time.sleep(0.02)
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"dpdk-testpmd has no answer to {question!r}:\n{self.output()[-3000:]}")
