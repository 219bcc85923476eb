# SPDX-License-Identifier: BSD-3-Clause
"""What all checks found, and what follows from it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version

from pollmode.host_report import Check, Finding, Host, Verdict, examine

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """The findings in the order of the table of checks."""

    findings: tuple[tuple[Check, Finding], ...]

    @classmethod
    def of(cls, host: Host) -> Report:
        """Examine a machine."""
        return cls(tuple(examine(host)))

    def count(self, verdict: Verdict) -> int:
        """Return how many findings have a verdict."""
        return Counter(finding.verdict for _, finding in self.findings)[verdict]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return next((verdict for verdict in reversed(Verdict) if self.count(verdict)), Verdict.GREEN)

    @property
    def exit_code(self) -> int:
        """1 when something stops a first run, else 0."""
        return int(self.verdict is Verdict.RED)

    @property
    def summary(self) -> str:
        """One line: how many of each, and what that means for a first run."""
        counts = ", ".join(f"{self.count(verdict)} {verdict}" for verdict in reversed(Verdict))
        outcome = "mend what is red first" if self.exit_code else "a first run will work: testpmd --demo"
        return f"{counts}: {outcome}"

    def json(self) -> str:
        """Return the report as JSON: verdict, counts, and the findings with check, looks_at, verdict, text, mend."""
        findings = [
            {
                "check": check.name,
                "looks_at": check.looks_at,
                "verdict": finding.verdict,
                "text": finding.text,
                "mend": finding.mend or None,
            }
            for check, finding in self.findings
        ]
        counts = {verdict: self.count(verdict) for verdict in Verdict}
        told = {"version": version("pollmode-doctor"), "verdict": self.verdict, "counts": counts, "findings": findings}
        return json.dumps(told, indent=2)
