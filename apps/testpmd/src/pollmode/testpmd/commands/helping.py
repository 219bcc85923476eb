# SPDX-License-Identifier: BSD-3-Clause
"""Help, made of the grammar."""

from __future__ import annotations

from pollmode.testpmd.prompt.grammar import Command, Commands
from pollmode.testpmd.session import Session

__all__ = ["commands"]

commands = Commands("control")

SECTIONS = {
    "control": ("Control forwarding", "Start and stop forwarding."),
    "display": ("Display", "Displaying port, stats and config information."),
    "config": ("Configuration", "Configuration information."),
    "ports": ("Port Operations", "Configuring ports."),
    "filters": ("filters", "Filters configuration help."),
    "traffic_management": ("Traffic Management", "Traffic Management commands."),
    "devices": ("Device Operations", "Device related commands."),
    "drivers": ("Driver specific", "Driver specific commands."),
}


@commands.add("help")
def show_sections(session: Session) -> None:
    """Show the sections of the help."""
    print("\nHelp is available for the following sections:\n")
    for name, (_, meaning) in SECTIONS.items():
        print(f"    help {name:<27}: {meaning}")
    print(f"    help {'all':<27}: All of the above sections.\n")


@commands.add(f"help {{section:all|{'|'.join(SECTIONS)}}}")
def show_section(session: Session, section: str) -> None:
    """Show the commands of a section."""
    from pollmode.testpmd.commands import grammar

    for name, (title, _) in SECTIONS.items():
        if section in (name, "all"):
            print(f"\n{title}:\n{'-' * (len(title) + 1)}\n")
            made = [command for command in grammar().commands if command.section == name]
            print("\n".join(map(_described, made)) or "(no commands of this section in this release)\n")


def _described(command: Command) -> str:
    forms = "\n".join(str(form) for form in command.forms)
    return f"{forms}\n    {command.meaning}\n"
