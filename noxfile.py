# SPDX-License-Identifier: BSD-3-Clause
"""Every check a developer or CI runs. `nox -l` lists them; all run in the environment that `start.py setup` made."""

import os
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
BIN = Path(sys.executable).parent

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "layers", "docs", "tests_python", "tests_bounds", "tests"]

PACKAGES = sorted(path.name for folder in ("packages", "apps") for path in (ROOT / folder).iterdir() if path.is_dir())
# Peers are other people's compiled programs: they see no difference between the ways our code runs.
UNITS = [
    str(path) for path in sorted((ROOT / "tests").iterdir()) if path.is_dir() and path.name not in ("peers", "support")
]


def tool(session: nox.Session, name: str, *words: str, **variables: str) -> None:
    session.run(str(BIN / name), *words, external=True, env={**os.environ, **variables})


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    tool(session, "ruff", "check", ".")
    tool(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    tool(session, "mypy", *(word for name in PACKAGES for word in ("-p", f"pollmode.{name}")))


@nox.session
def layers(session: nox.Session) -> None:
    """Imports go down only."""
    tool(session, "lint-imports", "--no-cache")


@nox.session
def docs(session: nox.Session) -> None:
    """The pages, without a warning."""
    tool(session, "sphinx-build", "-W", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, compiled code compiled, peers included."""
    tool(session, "pytest", *session.posargs)


@nox.session
def tests_python(session: nox.Session) -> None:
    """The tests of our own code with compiled code as plain Python."""
    tool(session, "pytest", "-q", *(session.posargs or UNITS), NUMBA_DISABLE_JIT="1")


@nox.session
def tests_bounds(session: nox.Session) -> None:
    """The tests of our own code with every array access checked."""
    tool(session, "pytest", "-q", *(session.posargs or UNITS), NUMBA_BOUNDSCHECK="1")


@nox.session
def peers(session: nox.Session) -> None:
    """Against software that is not ours; a missing peer fails."""
    tool(session, "pytest", "tests/peers", *session.posargs, POLLMODE_REQUIRE_PEERS="1")


@nox.session
def bench(session: nox.Session) -> None:
    """Side by side with DPDK's programs, in turn; table, JSON and picture in benchmarks/results."""
    tool(session, "python", "-m", "benchmarks.side_by_side", *session.posargs)
    tool(session, "python", "-m", "benchmarks.micro")
