# SPDX-License-Identifier: BSD-3-Clause
"""The command as its user sees it: table, plain lines, JSON, exit code, and what it removes."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pollmode.doctor import cli
from pollmode.doctor.drawing import draw
from pollmode.doctor.report import Report
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.runtime import LOCK
from pollmode.host_report import CHECKS, Verdict
from pollmode.host_report.testing import FakeHost, sound_machine, touched

HOUR = 3600.0
GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return sound_machine(tmp_path / "machine")


def drawn(host: FakeHost, width: int, *, terminal: bool, color: bool = False) -> str:
    out = io.StringIO()
    system = "truecolor" if color else None
    console = Console(file=out, width=width, force_terminal=terminal, color_system=system, highlight=False)  # type: ignore[arg-type]
    draw(Report.of(host), console)
    return out.getvalue()


def make_red_and_yellow(host: FakeHost) -> None:
    host.write(GOVERNOR, "powersave")
    host.denied.add("/run/user/1000")


def test_a_sound_machine_ends_with_0(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.command_line([], host) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "green  system: Linux 6.12.0 on x86_64"
    assert lines[-1] == f"0 red, 0 yellow, {len(lines) - 1} green: a first run will work: testpmd --demo"


def test_yellow_ends_with_0_and_red_with_1(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    host.write(GOVERNOR, "powersave")
    assert cli.command_line([], host) == 0
    assert "0 red, 1 yellow, " in capsys.readouterr().out
    make_red_and_yellow(host)
    assert cli.command_line([], host) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("green: mend what is red first")


def test_plain_lines_carry_the_commands_whole(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    make_red_and_yellow(host)
    cli.command_line([], host)
    lines = capsys.readouterr().out.splitlines()
    found = lines.index("yellow governor: performance, powersave: cpus start slow")
    assert lines[found + 1] == (
        "       mend: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    )
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_gets_a_table_with_the_commands_below_red_ones_first(host: FakeHost) -> None:
    make_red_and_yellow(host)
    text = drawn(host, 80, terminal=True)
    lines = [line.rstrip() for line in text.splitlines()]
    table = lines[: lines.index("")]
    assert max(map(len, table)) <= 80
    assert {check.name for check in CHECKS} <= {line[8:22].strip() for line in table}
    commands = lines[lines.index("") + 1 :]
    assert commands[0] == "To mend runtime:"
    assert commands[2:4] == [
        "To mend governor:",
        "  echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    ]


def test_a_narrow_terminal_gets_lines_that_it_can_wrap(host: FakeHost) -> None:
    make_red_and_yellow(host)
    text = drawn(host, 40, terminal=True)
    assert "─" not in text
    assert "       mend: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor\n" in text


def test_colors_are_for_terminals_and_never_the_only_sign(host: FakeHost) -> None:
    make_red_and_yellow(host)
    colored = drawn(host, 80, terminal=True, color=True)
    assert "\x1b[1;31mred" in colored
    assert "\x1b[33myellow" in colored
    assert re.search("^red +runtime", drawn(host, 80, terminal=True), re.MULTILINE)


def test_texts_with_brackets_are_printed_as_they_are(host: FakeHost) -> None:
    host.replace("/proc/cpuinfo", "Example cpu", "[bold]Example[/bold] cpu [0]")
    assert "[bold]Example[/bold] cpu [0]" in drawn(host, 200, terminal=False)
    assert "[bold]Example[/bold] cpu [0]" in drawn(host, 200, terminal=True)


def test_json_holds_every_finding(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    make_red_and_yellow(host)
    assert cli.command_line(["--json"], host) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "red"
    assert told["counts"]["red"] == told["counts"]["yellow"] == 1
    assert sum(told["counts"].values()) == len(told["findings"])
    assert {finding["check"] for finding in told["findings"]} == {check.name for check in CHECKS}
    (governor,) = [finding for finding in told["findings"] if finding["check"] == "governor"]
    assert governor == {
        "check": "governor",
        "looks_at": "cpufreq",
        "verdict": "yellow",
        "text": "performance, powersave: cpus start slow",
        "mend": "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    }
    assert all(finding["mend"] is None for finding in told["findings"] if finding["verdict"] == "green")


def leave(host: FakeHost, prefix: str) -> str:
    folder = f"{host.runtime_base}/{prefix}"
    host.write(f"{folder}/{LOCK}", 4_194_305)
    for path in (f"{folder}/{LOCK}", folder):
        touched(host, path, HOUR)
    return folder


def test_leftovers_stay_until_they_are_asked_away(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    folder = leave(host, "old")
    assert cli.command_line([], host) == 0
    assert "mend: doctor --fix-leftovers" in capsys.readouterr().out
    assert host.exists(folder)
    assert cli.command_line(["--fix-leftovers"], host) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"removed runtime directory {folder}"
    assert "green  leftovers: none" in lines
    assert not host.exists(folder)


def test_json_stays_json_while_leftovers_go(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    folder = leave(host, "old")
    assert cli.command_line(["--fix-leftovers", "--json"], host) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "green"
    assert not host.exists(folder)


def test_what_cannot_be_removed_is_told_after_the_others_went(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = leave(host, "a"), leave(host, "b")
    real = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name == "a":
            raise PermissionError(1, "Operation not permitted", str(path))
        real(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(HostError, match="/a: Operation not permitted; run: sudo doctor --fix-leftovers"):
            cli.command_line(["--fix-leftovers"], host)
    assert host.exists(first)
    assert not host.exists(second)


def test_a_wrong_word_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"No such option: --jsom.*\(see doctor --help\)"):
        cli.command_line(["--jsom"])


def run_doctor(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pollmode.doctor", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=120,
    )


def test_on_this_machine_it_says_something_of_everything(tmp_path: Path) -> None:
    done = run_doctor("--json", RUNTIME_DIRECTORY=str(tmp_path))
    told = json.loads(done.stdout)
    assert done.stderr == ""
    assert done.returncode == int(told["verdict"] == Verdict.RED)
    assert {finding["check"] for finding in told["findings"]} == {check.name for check in CHECKS}


def test_a_runtime_directory_that_cannot_be_is_red_on_this_machine_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_doctor(RUNTIME_DIRECTORY=str(tmp_path / "file"))
    assert done.returncode == 1
    assert f"red    runtime: {tmp_path}/file/dpdk" in done.stdout
    assert 'mend: export RUNTIME_DIRECTORY="$(mktemp -d)"' in done.stdout


def test_a_reader_that_ends_early_gets_no_trace() -> None:
    words = f"{sys.executable} -m pollmode.doctor | head -1"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("green  system: ")
    assert "Traceback" not in done.stderr


def test_neither_help_nor_the_report_load_the_compiler() -> None:
    code = (
        "import sys; from pollmode.doctor import cli; cli.main(sys.argv[1:])\n"
        "print('heavy:', sorted({'numba', 'numpy', 'structlog'} & set(sys.modules)))"
    )
    for words in (["--help"], []):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120)
        assert done.stdout.endswith("heavy: []\n")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("doctor ")
