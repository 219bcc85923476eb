# SPDX-License-Identifier: BSD-3-Clause
"""Starting and stopping to forward, files of commands, the end of the session."""

from __future__ import annotations

from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session

__all__ = ["commands"]

commands = Commands("control")


@commands.add("start")
def start(session: Session) -> None:
    """Start packet forwarding with the current configuration."""
    session.start()


@commands.add("start tx_first", "start tx_first {bursts:u32}")
def start_tx_first(session: Session, bursts: int = 1) -> None:
    """Start packet forwarding after sending bursts of packets on every port."""
    session.start(bursts)


@commands.add("stop")
def stop(session: Session) -> None:
    """Stop packet forwarding and show the accumulated statistics."""
    session.stop()


@commands.add("quit")
def quit_session(session: Session) -> None:
    """End the session."""
    session.over = True


@commands.add("load {path:word}")
def load(session: Session, path: str) -> None:
    """Run the commands of a file."""
    from pollmode.testpmd.prompt import shell

    shell.load(session, path)


@commands.add("load_echo {path:word}")
def load_echo(session: Session, path: str) -> None:
    """Run the commands of a file, showing them."""
    from pollmode.testpmd.prompt import shell

    shell.load(session, path, echo=True)
