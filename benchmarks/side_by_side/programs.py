# SPDX-License-Identifier: BSD-3-Clause
"""Start one testpmd, ours or DPDK's, and read its rates: both print the same pages."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PAGE = re.compile(r"NIC statistics for port (\d+).*?Rx-pps:\s+(\d+).*?Tx-pps:\s+(\d+)", re.S)

OURS = (str(Path(sys.executable).parent / "testpmd"),)
# It buffers what it prints to a file; stdbuf makes it print lines.
DPDK = ("stdbuf", "-oL", "dpdk-testpmd")


_FOLDER = tempfile.TemporaryDirectory(prefix="bench-")  # goes with this process
RUNTIME = Path(_FOLDER.name) / "dpdk"
"""The folder above the programs' runtime folders, their telemetry sockets within; what DPDK leaves there goes too."""


class Testpmd:
    """A running testpmd that prints its statistics every second; `argv` is its whole command line."""

    def __init__(self, argv: Sequence[str], commands: str = "") -> None:
        self.argv = list(argv)
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        keyboard = subprocess.PIPE if commands else subprocess.DEVNULL
        self.process = subprocess.Popen(
            self.argv,
            stdin=keyboard,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RUNTIME_DIRECTORY": _FOLDER.name},
        )
        if commands:
            self.say(commands)

    def say(self, commands: str) -> None:
        """Type lines at the prompt."""
        assert self.process.stdin is not None
        self.process.stdin.write(commands.encode())
        self.process.stdin.flush()

    def output(self) -> str:
        """Return everything printed until now."""
        return os.pread(self._printed.fileno(), 1 << 26, 0).decode(errors="replace")

    def wait_for(self, pattern: str, count: int = 1, seconds: float = 60.0) -> str:
        """Return the output once `pattern` is in it `count` times. Raises RuntimeError when that takes too long."""
        end = time.monotonic() + seconds
        while len(re.findall(pattern, output := self.output())) < count:
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"{' '.join(self.argv)}\nnever printed {pattern!r}:\n{output[-3000:]}")
            time.sleep(0.05)
        return output

    def pages(self) -> list[tuple[int, float, float]]:
        """Return (port, Rx Mpps, Tx Mpps) of every page printed until now."""
        return [(int(port), int(rx) / 1e6, int(tx) / 1e6) for port, rx, tx in PAGE.findall(self.output())]

    def end(self) -> str:
        """Stop the program and return everything it printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        return self.output()

    def close(self) -> None:
        """Stop the program and forget what it printed."""
        self.end()
        self._printed.close()


@contextlib.contextmanager
def running(argv: Sequence[str], commands: str = "") -> Iterator[Testpmd]:
    """Run a testpmd for the length of the block."""
    program = Testpmd(argv, commands)
    try:
        yield program
    finally:
        program.close()


def rates(program: Testpmd, ports: int, seconds: int) -> tuple[float, float]:
    """Return Rx and Tx Mpps, summed over `ports` ports, as medians of `seconds` pages after the first two."""
    program.wait_for("Tx-pps", ports * (seconds + 2), seconds + 90.0)
    pages = program.pages()[2 * ports : (seconds + 2) * ports]
    rounds = [pages[start : start + ports] for start in range(0, len(pages), ports)]
    received = statistics.median(sum(page[1] for page in round_) for round_ in rounds)
    sent = statistics.median(sum(page[2] for page in round_) for round_ in rounds)
    return received, sent
