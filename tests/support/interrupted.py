# SPDX-License-Identifier: BSD-3-Clause
"""A command that gets a signal at the moment it imports a certain module: early, and at the same place every time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

PROGRAM = """
import os, sys
module, at, number = sys.argv[1], sys.argv[2], int(sys.argv[3])

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == at:
            os.kill(os.getpid(), number)

sys.argv[1:] = sys.argv[4:]
main = __import__(module + ".__main__", fromlist=["main"]).main
sys.meta_path.insert(0, Finder)
main()
print("the signal did not end it", file=sys.stderr)
"""


def at_import(module: str, at: str, number: int, words: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command of `module` with `words`; it gets signal `number` when it begins to import module `at`."""
    command = [sys.executable, "-c", PROGRAM, module, at, str(int(number)), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
