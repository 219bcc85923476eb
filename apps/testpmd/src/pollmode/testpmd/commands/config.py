# SPDX-License-Identifier: BSD-3-Clause
"""Showing how testpmd is configured."""

from __future__ import annotations

from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.report import forward_config
from pollmode.testpmd.session import Session

__all__ = ["commands"]

commands = Commands("display")


@commands.add("show config fwd")
def show_forward_config(session: Session) -> None:
    """Show who forwards what."""
    print(forward_config(session.options, session.plan()))


@commands.add("show config rxtx")
def show_queue_config(session: Session) -> None:
    """Show how ports and queues are configured."""
    print(session.queue_config(session.burst()))


@commands.add("show config cores")
def show_cores(session: Session) -> None:
    """Show the configured lcores."""
    print(f"List of forwarding lcores:{''.join(f' {core:2}' for core in session.selection.cores)}")


@commands.add("show config txpkts")
def show_segments(session: Session) -> None:
    """Show the segments of a generated packet."""
    lengths = session.options.txpkts
    print(f"Number of segments: {len(lengths)}\nSegment sizes: {','.join(map(str, lengths))}\nSplit packet: off")


@commands.add("show config txtimes")
def show_times(session: Session) -> None:
    """Show the gaps between generated packets: there are none."""
    print("Interburst gap: 0\nIntraburst gap: 0")


@commands.add("show config {what:rxoffs|rxpkts|rxhdrs}")
def show_split(session: Session, what: str) -> None:
    """Show how received packets are split over buffers: they are not."""
    names = {"rxoffs": "offsets", "rxpkts": "segments", "rxhdrs": "segments"}
    print(f"Number of {names[what]}: 0")
