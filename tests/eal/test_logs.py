# SPDX-License-Identifier: BSD-3-Clause
"""Logs: level rules by name, glob and expression, before and after a type exists, and what a line looks like."""

import errno
import io
import itertools
import re
from collections.abc import Iterator

import pytest

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError
from pollmode.eal.logs import DEBUG, INFO, NOTICE, WARNING, LevelRule

_names = (f"pmd.net.made{number}.driver" for number in itertools.count())


@pytest.fixture
def type_name() -> str:
    """A log type no other test uses: types live as long as the process."""
    return next(_names)


@pytest.fixture(autouse=True)
def _plain_lines() -> Iterator[None]:
    yield
    logs.configure()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("debug", LevelRule("", DEBUG)),
        ("deb", LevelRule("", DEBUG)),
        ("8", LevelRule("", DEBUG)),
        ("pmd.net.virtio*:info", LevelRule("pmd.net.virtio*", INFO)),
        ("lib.eal:5", LevelRule("lib.eal", WARNING)),
        ("lib\\..*,notice", LevelRule("lib\\..*", NOTICE, regex=True)),
    ],
)
def test_level_rules(text: str, wanted: LevelRule) -> None:
    assert LevelRule.parse(text) == wanted


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("0", "levels are 1"),
        ("9", "levels are 1"),
        ("lib.eal:99", "levels are 1"),
        ("²", "levels are emergency"),
        ("lib.eal:", "levels are"),
        ("x:debgu", "did you mean 'debug'"),
        ("(,debug", "the expression"),
    ],
)
def test_a_wrong_level_is_refused(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        LevelRule.parse(text)


def test_the_default_level_prints_notices_and_hides_the_rest(
    type_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logs.get(type_name)
    log.notice("seen")
    log.info("hidden")
    captured = capsys.readouterr()
    assert captured.err == f"{type_name.split('.')[2].upper()}_DRIVER: seen\n"
    assert captured.out == ""


def test_every_level_has_its_method(type_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    log = logs.get(type_name, default=DEBUG)
    for name in logs.LEVELS:
        getattr(log, name)(name)
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == list(logs.LEVELS)


@pytest.mark.parametrize("regex", [False, True])
def test_a_rule_changes_types_that_exist_and_types_to_come(type_name: str, regex: bool) -> None:
    before, after = type_name + ".before", type_name + ".after"
    logs.get(before)
    pattern = type_name.replace(".", "\\.") + ".*" if regex else type_name + ".*"
    logs.configure([LevelRule(pattern, DEBUG, regex)])
    assert logs.get(before).level == DEBUG
    assert logs.get(after).level == DEBUG
    assert logs.get(next(_names)).level == NOTICE


def test_the_last_rule_that_matches_wins(type_name: str) -> None:
    logs.configure([LevelRule(type_name, DEBUG), LevelRule(type_name, WARNING)])
    assert logs.get(type_name).level == WARNING
    assert logs.types()[type_name] == "warning"


def test_one_type_has_one_logger(type_name: str) -> None:
    assert logs.get(type_name) is logs.get(type_name)


@pytest.mark.parametrize(
    ("type_name", "prefix"),
    [("lib.vhost.config", "VHOST_CONFIG"), ("lib.eal", "EAL"), ("pmd.net.virtio.init", "VIRTIO_INIT"), ("app", "APP")],
)
def test_prefixes_are_the_short_upper_names(type_name: str, prefix: str) -> None:
    assert logs.Logger(type_name, NOTICE).prefix == prefix


@pytest.mark.parametrize(
    ("form", "looks"),
    [
        ("reltime", r"\[ *\d+\.\d{6}\] \w+: m"),
        ("delta", r"\[< *\d+\.\d{6}>\] \w+: m"),
        ("ctime", r"\[\w{3} \w{3} .*\] \w+: m"),
        ("iso", r"\[\d{4}-\d\d-\d\dT.*\] \w+: m"),
    ],
)
def test_timestamps(type_name: str, form: str, looks: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(timestamp=form)
    logs.get(type_name).error("m")
    assert re.match(looks, capsys.readouterr().err)


def test_color_is_added_only_when_asked_for(type_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.get(type_name).error("plain")
    logs.configure(color="always")
    logs.get(type_name).error("red")
    plain, red = capsys.readouterr().err.splitlines()
    assert "\x1b" not in plain
    assert red.startswith("\x1b[31m")
    assert red.endswith("\x1b[0m")


def test_a_rule_that_matches_no_type_is_told(type_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.get(type_name)
    glob, regex = LevelRule(type_name[:-1] + "*", DEBUG), LevelRule(type_name[:4], DEBUG, regex=True)
    logs.warn_unmatched([LevelRule("", DEBUG), LevelRule(type_name, DEBUG), glob, regex])
    assert capsys.readouterr().err == ""
    logs.warn_unmatched([LevelRule(type_name + "x", DEBUG), LevelRule("nothing.*", INFO)])
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(
        f"EAL: --log-level: no log type matches '{type_name}x' (did you mean '{type_name}'?); there"
    )
    assert "no log type matches 'nothing.*'; there are " in second
    assert type_name in second


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else(
    type_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            tried.append(text)
            raise OSError(errno.ENOSPC, "No space left on device")

    log = logs.get(type_name)
    with monkeypatch.context() as patched:
        patched.setattr("sys.stderr", Full())
        log.error("lost")
    log.error("seen")
    assert [text.endswith(": lost\n") for text in tried] == [True]
    assert capsys.readouterr().err.endswith(": seen\n")


@pytest.mark.parametrize(
    ("terminal", "environment", "colored"),
    [
        (True, {"TERM": "xterm"}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (True, {}, False),
    ],
)
def test_color_is_for_terminals_that_have_it(
    type_name: str,
    terminal: bool,
    environment: dict[str, str],
    colored: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    logs.get(type_name).error("x")
    assert ("\x1b[31m" in capsys.readouterr().err) is colored
