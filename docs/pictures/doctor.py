# SPDX-License-Identifier: BSD-3-Clause
"""Draw doctor.svg: `python docs/pictures/doctor.py`.

It is the program's own report and drawing, of a made machine: one that has something to mend, the same everywhere.
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from rich.console import Console

from pollmode.doctor.drawing import draw
from pollmode.doctor.report import Report
from pollmode.host_report.testing import FakeHost, sound_machine

PICTURE = Path(__file__).with_suffix(".svg")
WIDTH = 100
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def machine(folder: Path) -> FakeHost:
    """Return a machine that has some of everything."""
    host = sound_machine(folder)
    for name in ("nr", "free"):
        host.write(f"/sys/kernel/mm/hugepages/hugepages-2048kB/{name}_hugepages", 0)
    host.mounts = []
    host.write(f"{host.cache_base}/{host.digest}/loop.nbc", "." * (3 << 20))
    host.write("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave")
    host.replace("/proc/self/limits", "file size             unlimited ", "file size             1073741824")
    host.add_pci("0000:03:00.0", "15ad:07b0", "0x020000", "vmxnet3", "ens192", group="12")
    host.add_process(4711, "/usr/bin/dpdk-testpmd", "--file-prefix", "peer")
    return host


def picture() -> str:
    """Return the picture as SVG."""
    console = Console(
        file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor", record=True, highlight=False
    )
    with tempfile.TemporaryDirectory() as folder:
        draw(Report.of(machine(Path(folder))), console)
    drawn = console.export_svg(title="doctor", unique_id="doctor")
    # Letters come from the reader's machine, not from a server: rich gives each run of text its width.
    return "\n".join(line.rstrip() for line in FONTS.sub("", drawn).splitlines()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture())
