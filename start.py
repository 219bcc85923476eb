#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Set everything up and start: needs Python 3.11 or newer with pip, nothing else.

    python3 start.py              a first run: two ports in one process, packets for ten seconds
    python3 start.py test         the tests; further words go to pytest
    python3 start.py setup        set up only
    python3 start.py doctor       what on this machine stops or slows a run, and the command that mends it
    python3 start.py testpmd ...  any command of the project: testpmd, l2fwd, doctor, nox, pytest, ...

The first start makes a virtual environment in .venv and installs the project into it, editable; later starts find it
there and take no time. It is made anew when a pyproject.toml changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

try:
    import tomllib
except ImportError:
    sys.exit(f"start.py: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
from pathlib import Path

ROOT = Path(__file__).resolve().parent
HOME = ROOT / ".venv"
STAMP = HOME / "pollmode-installed"
UNFINISHED = "unfinished"
FIRST_RUN = ["testpmd", "--demo"]
APPLICATIONS = ("testpmd", "l2fwd", "doctor")


def main(words: list[str]) -> int:
    """Set up what `words` need and run them; return the exit code."""
    needs_tests = bool(words) and words[0] not in APPLICATIONS
    try:
        set_up(with_tests=needs_tests)
    except KeyboardInterrupt:
        print("start.py: interrupted; the next start begins the set-up anew", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"start.py: the set-up failed: {error}; {ROOT} must be a folder of yours", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failed:
        print(
            f"start.py: the set-up failed at {' '.join(map(str, failed.cmd[:6]))} ...; "
            "mend what it says above and start again",
            file=sys.stderr,
        )
        return 1
    if words == ["setup"]:
        print(f"ready: {HOME / 'bin'} holds {', '.join(APPLICATIONS)}, pytest and nox")
        return 0
    command = FIRST_RUN if not words else ["pytest", *words[1:]] if words[0] == "test" else words
    program = HOME / "bin" / command[0]
    if not program.exists():
        known = ", ".join(APPLICATIONS)
        print(f"start.py: there is no command {command[0]!r}; try {known}, test or setup", file=sys.stderr)
        return 1
    if words[:1] == ["test"]:
        os.chdir(ROOT)
    return os.execv(program, [str(program), *command[1:]])


def set_up(*, with_tests: bool) -> None:
    """Make the virtual environment and install the project, unless that was done for these very files."""
    projects = sorted([*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("apps/*/pyproject.toml")])
    files = [ROOT / "pyproject.toml", *projects]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in files) + str(ROOT).encode()).hexdigest()
    done = STAMP.read_text().split() if STAMP.exists() else []
    if done[:1] == [wanted] and (not with_tests or "tests" in done):
        return
    if done == [UNFINISHED]:  # pip takes half an installed library for a whole one
        shutil.rmtree(HOME)
    HOME.mkdir(exist_ok=True)
    STAMP.write_text(UNFINISHED + "\n")
    say("making a virtual environment in .venv")
    run(sys.executable, "-m", "venv", str(HOME))
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    constraints = HOME / "constraints.txt"
    constraints.write_text("\n".join(settings["tool"]["uv"]["constraint-dependencies"]) + "\n")
    libraries = needed_libraries(files, with_tests=with_tests)
    say(f"installing {len(libraries)} libraries: numba, numpy, ...")
    pip("install", "--constraint", str(constraints), *libraries)
    say(f"installing {len(projects)} packages of the project")
    editable = [word for path in projects for word in ("--editable", str(path.parent))]
    pip("install", "--no-deps", "--no-build-isolation", *editable)
    STAMP.write_text(wanted + (" tests" if with_tests else "") + "\n")


def needed_libraries(files: list[Path], *, with_tests: bool) -> list[str]:
    """Return what the project's packages ask for beside each other, and what building them takes."""
    found = {"hatchling>=1.26", "editables>=0.5"}
    for path in files:
        project = tomllib.loads(path.read_text())["project"]
        found.update(word for word in project.get("dependencies", []) if not word.startswith("pollmode-"))
        if with_tests:
            found.update(project.get("optional-dependencies", {}).get("dev", []))
    return sorted(found)


def pip(*words: str) -> None:
    """Run pip in the environment, quietly; what goes wrong is shown."""
    run(str(HOME / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", *words)


def run(*command: str) -> None:
    """Run a command. Raises CalledProcessError when it fails; an interrupt ends it with all that it started."""
    # A group of its own: the SIGINT of a terminal is for us alone, and its trace is not shown.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0) as process:
        try:
            code = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if code:
        raise subprocess.CalledProcessError(code, command)


def say(text: str) -> None:
    """Tell how far the set-up is."""
    print(f"[{time.monotonic() - BEGUN:5.1f} s] {text} ...", file=sys.stderr, flush=True)


BEGUN = time.monotonic()

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
