# SPDX-License-Identifier: BSD-3-Clause
"""What a machine offers to Pollmode, what stops a start, and the command that mends it."""

from pollmode.host_report.devices import why_no_ports
from pollmode.host_report.finding import Check, Finding, Verdict
from pollmode.host_report.host import Host
from pollmode.host_report.leftovers import Leftover, dead_leftovers, remove
from pollmode.host_report.table import CHECKS, examine

__all__ = [
    "CHECKS",
    "Check",
    "Finding",
    "Host",
    "Leftover",
    "Verdict",
    "dead_leftovers",
    "examine",
    "remove",
    "why_no_ports",
]
