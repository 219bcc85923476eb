# SPDX-License-Identifier: BSD-3-Clause
"""Draw dashboard.svg: `python docs/pictures/dashboard.py`, which takes a minute.

It is the program's own screen after a minute of real packets between a vhost and a virtio port, of which a fault
injector drops some; the numbers are those of the machine that drew it.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path

from pollmode.eal.environment import Environment
from pollmode.eal.stopper import Stopper
from pollmode.testpmd.dashboard.app import Dashboard
from pollmode.testpmd.dashboard.messages import Messages
from pollmode.testpmd.lifecycle import close_ports, start_ports, stop_ports
from pollmode.testpmd.options import parse
from pollmode.testpmd.session import Session

PICTURE = Path(__file__).with_suffix(".svg")
SIZE = (80, 24)
SECONDS = 62
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
OPTIONS = ["--forward-mode=flowgen", "--record-core-cycles"]


def eal_words(folder: str) -> list[str]:
    """Return the options of the environment: two lcores, two ports on a socket in `folder`, faults on one."""
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    words = ["--no-huge", "--in-memory", "--no-pci", "--no-telemetry", "--lcores", f"(0-1)@({cpus})"]
    vdevs = (
        f"net_vhost0,iface={folder}/socket",
        f"net_virtio_user0,path={folder}/socket",
        "net_fault0,port=net_virtio_user0,rx_drop=0.1%",
    )
    return [*words, *(word for vdev in vdevs for word in ("--vdev", vdev))]


async def screen(session: Session, seconds: float, size: tuple[int, int]) -> str:
    """Return the dashboard as SVG after so many seconds."""
    app = Dashboard(session, Messages(sys.stdout, sys.stderr))
    async with app.run_test(size=size) as pilot:
        await pilot.pause(seconds)
        return app.export_screenshot(title="testpmd -- --tui")


def picture(seconds: float = SECONDS, size: tuple[int, int] = SIZE) -> str:
    """Return the picture as SVG, after so many seconds of forwarding."""
    with tempfile.TemporaryDirectory() as folder, Stopper() as stopper, Environment.start(eal_words(folder)) as eal:
        session = Session(eal, parse(OPTIONS), stopper)
        session.bus.probe_all()
        session.set_up()
        start_ports(session, session.ports.available(), strict=True)
        session.start()
        drawn = asyncio.run(screen(session, seconds, size))
        session.stop()
        stop_ports(session, session.ports.available(), look=False)
        close_ports(session, session.ports.available())
        session.close()
    # Letters come from the reader's machine, not from a server: each run of text has its width.
    return "\n".join(line.rstrip() for line in FONTS.sub("", drawn).splitlines()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture())
