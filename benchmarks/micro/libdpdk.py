# SPDX-License-Identifier: BSD-3-Clause
"""libdpdk's side: the C program, compiled when it is needed and asked for one loop at a time."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from pollmode.eal.errors import HostError

SOURCE = Path(__file__).with_name("libdpdk.c")
MEND = "apt-get install gcc pkg-config libdpdk-dev"


def build(folder: Path, *, native: bool) -> Path:
    """Compile the program: with the flags pkg-config gives, or for this machine. Raises HostError when that fails."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or shutil.which("pkg-config") is None:
        raise HostError("libdpdk's figures need a C compiler and pkg-config", mend=MEND)
    asked = subprocess.run(["pkg-config", "--cflags", "--libs", "libdpdk"], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise HostError("pkg-config does not know libdpdk", mend=MEND)
    program = folder / ("libdpdk-native" if native else "libdpdk")
    flags = [*asked.stdout.split(), *(["-march=native"] if native else [])]
    made = subprocess.run(
        [compiler, "-O3", "-o", str(program), str(SOURCE), *flags], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise HostError(f"libdpdk.c does not compile: {made.stderr.strip().splitlines()[-1]}", mend=MEND)
    return program


# With hugepages libdpdk is faster than without: it gets them when there are any, whatever ours gets.
MEMORY = (["--in-memory", "-m", "128"], ["--no-huge", "-m", "128", "--no-shconf"])


class Libdpdk:
    """The running C program, pinned to one core; it computes only when asked. Raises HostError when it can't start."""

    def __init__(self, program: Path, core: int) -> None:
        for memory in MEMORY:
            self._process = subprocess.Popen(
                [str(program), *memory, "--no-pci", "--no-telemetry", "-l", str(core), "--log-level", "1"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            while line := self._answer():
                if line == "ready":
                    return
            self.close()
        raise HostError(f"{program.name} did not start: exit code {self._process.returncode}")

    def cycles(self, loop: str, rounds: int) -> float:
        """Return the cycles that one operation of the loop takes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{loop} {rounds}\n")
        self._process.stdin.flush()
        answer = self._answer()
        if not answer:
            raise HostError(f"libdpdk's program ended with {self._process.wait()} in {loop}")
        return float(answer)

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def __enter__(self) -> Libdpdk:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
