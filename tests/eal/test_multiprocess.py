# SPDX-License-Identifier: BSD-3-Clause
"""A secondary process and its primary: what is shared, what is refused, and who hears of whose end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.multiprocess import MAX_REQUEST, MAX_SECONDARIES, primary_pid
from pollmode.eal.multiprocess.primary import ATTACH
from pollmode.eal.multiprocess.version import own_version
from pollmode.eal.telemetry_client import TelemetryClient, socket_path

CPU = min(os.sched_getaffinity(0))
PATIENCE = 60.0
PRIMARY = ["--no-huge", "-m", "32", "--lcores", f"0@{CPU}", "--file-prefix", "mp"]
SECONDARY = ["--proc-type=secondary", "--file-prefix", "mp"]

BEGIN = """
import json, sys
from pollmode.eal.environment import Environment
from pollmode.eal.errors import PollmodeError

def tell(**told):
    print(json.dumps(told), flush=True)
"""
ATTACHED = (
    BEGIN
    + """
try:
    environment = Environment.start(sys.argv[1:])
except PollmodeError as error:
    tell(error=str(error))
    raise SystemExit(1)
memory, primary = environment.memory, environment.primary
zone = memory.lookup("common")
mine = memory.reserve("mine", 64)
mine.array("i8")[0] = 77
tell(seen=int(zone.array("i8")[0]), address=zone.address, mine=mine.name, lcores=primary.lcores, pid=primary.pid)
zone.array("i8", 2)[1] = 43
for line in sys.stdin:
    if line.strip() == "wait":
        break
    try:
        tell(value=str(eval(line)))
    except PollmodeError as error:
        tell(error=str(error))
else:
    environment.close()
    raise SystemExit(0)
primary._thread.join()
tell(gone=str(primary.gone), lcores=environment.lcores.running)
environment.close()
raise SystemExit(1)
"""
)


class Child:
    """A process that does what it is told, one line at a time, and answers in JSON."""

    def __init__(self, script: str, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait(PATIENCE)}"
        told: dict[str, Any] = json.loads(line)
        return told

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str) -> dict[str, Any]:
        self.say(line)
        return self.read()

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return tmp_path / "dpdk"


@pytest.fixture
def primary() -> Iterator[Environment]:
    with Environment.start(PRIMARY) as started:
        started.memory.reserve("common", 64).array("i8")[0] = 42
        yield started


@contextlib.contextmanager
def secondary(*words: str, script: str = ATTACHED) -> Iterator[Child]:
    child = Child(script, *SECONDARY, *words)
    try:
        yield child
    finally:
        child.close()


def members_are_gone(primary: Environment) -> bool:
    assert primary.secondaries is not None
    end = time.monotonic() + PATIENCE
    while primary.secondaries.members and time.monotonic() < end:
        time.sleep(0.01)
    return not primary.secondaries.members


def zone_names(environment: Environment) -> list[str]:
    return [zone.name for zone in environment.memory.zones()]


def test_both_see_the_same_bytes_at_the_same_address(primary: Environment) -> None:
    common = primary.memory.lookup("common")
    with secondary() as child:
        told = child.read()
        assert (told["seen"], told["address"], told["pid"]) == (42, common.address, os.getpid())
        assert told["lcores"] == [1]
        assert told["mine"] == f"mine@{child.process.pid}"
        assert primary.memory.lookup(told["mine"]).array("i8")[0] == 77
        assert child.ask("memory.lookup('nothing')") == {"error": "no memory zone is named 'nothing'"}
        assert common.array("i8", 2)[1] == 43
        assert child.end() == 0
    assert members_are_gone(primary)
    assert zone_names(primary) == ["lcores", "common"]


def test_a_secondary_that_is_killed_leaves_nothing(primary: Environment) -> None:
    with secondary("--lcores", f"5@{CPU}") as child:
        told = child.read()
        assert told["lcores"] == [5]
        assert primary.secondaries is not None
        (member,) = primary.secondaries.members
        assert (member.pid, member.lcores) == (child.process.pid, (5,))
        child.process.send_signal(signal.SIGKILL)
        assert members_are_gone(primary)
    assert zone_names(primary) == ["lcores", "common"]
    with secondary("--lcores", f"5@{CPU}") as child:  # its lcores are free again
        assert child.read()["lcores"] == [5]


def test_a_primary_that_ends_lets_its_secondaries_go_first() -> None:
    with Environment.start(PRIMARY) as primary:
        primary.memory.reserve("common", 64)
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(secondary()) for _ in range(2)]
            for child in children:
                child.read()
                child.say("wait")
            primary.close()
            for child in children:
                told = child.read()
                assert told["gone"] == f"the primary process {os.getpid()} of file prefix 'mp' has ended"
                assert told["lcores"] == []
                assert child.process.wait(PATIENCE) == 1


def test_a_primary_that_is_killed_ends_its_secondary() -> None:
    begun = "e = Environment.start(sys.argv[1:])\ne.memory.reserve('common', 64)\ntell(up=1)\nsys.stdin.read()\n"
    first = Child(BEGIN + begun, *PRIMARY)
    try:
        assert first.read() == {"up": 1}
        with secondary() as child:
            child.read()
            first.process.send_signal(signal.SIGKILL)
            first.process.wait(PATIENCE)
            child.say("wait")
            assert child.read()["gone"] == f"the primary process {first.process.pid} of file prefix 'mp' has ended"
            assert child.process.wait(PATIENCE) == 1
    finally:
        first.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--lcores", f"(3,0)@{CPU}"], "lcores: lcore 0 is one of the primary process"),
        (["--base-virtaddr", "0x300000000"], "address: --base-virtaddr is 0x300000000, the primary's memory is at 0x"),
        (["--telemetry"], "--telemetry in a secondary process"),
    ],
)
def test_what_does_not_fit_is_named(primary: Environment, words: list[str], told: str) -> None:
    with secondary(*words) as child:
        assert told in child.read()["error"]
        assert child.process.wait(PATIENCE) == 1
    assert members_are_gone(primary)


def test_an_address_that_is_taken_is_named_with_what_lies_there(primary: Environment) -> None:
    base = primary.memory.regions()[0].address
    taking = f"""
import mmap, os
from pollmode.eal import libc
fd = os.memfd_create("in the way")
os.ftruncate(fd, 1 << 20)
libc.map_shared(fd, 1 << 20, {base} + (1 << 20))
"""
    with secondary(script=taking + ATTACHED) as child:
        told = child.read()["error"]
    assert f"address: the primary's 32 MiB of memory can't be mapped at {base:#x}" in told
    assert "memfd:in the way" in told
    assert "start the primary with another --base-virtaddr" in told
    assert members_are_gone(primary)


def test_another_version_is_named(primary: Environment) -> None:
    aged = "from pollmode.eal.multiprocess import version\nversion.own_version()['version'] = '0.0.9'\n"
    with secondary(script=aged + ATTACHED) as child:
        told = child.read()["error"]
    assert f"version: the primary process {os.getpid()} runs pollmode {own_version()['version']} " in told
    assert "this one 0.0.9" in told
    assert "start both from one installation" in told


def test_a_prefix_without_a_primary_is_named_with_those_that_have_one(primary: Environment, base: Path) -> None:
    (base / "dead").mkdir()
    (base / "dead" / "pollmode.lock").write_text("999999999\n")
    for prefix in ("nobody", "dead"):
        with pytest.raises(HostError, match=rf"prefix: no primary .* '{prefix}'; prefixes of running ones: mp; "):
            Environment.start(["--proc-type=secondary", "--file-prefix", prefix])
    assert primary_pid("dead") is None


def test_a_primary_without_telemetry_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pollmode.eal.multiprocess.secondary._STARTING", 0.0)
    with (
        Environment.start([*PRIMARY, "--no-telemetry"]),
        pytest.raises(HostError, match=r"serves no telemetry, by which one attaches; start it without --no-telemetry"),
    ):
        Environment.start(SECONDARY)


@pytest.mark.parametrize("alone", ["--in-memory", "--no-shconf"])
def test_a_secondary_leaves_no_files_anyway(alone: str) -> None:
    with pytest.raises(ConfigError, match="'proc-type=secondary' and"):
        Environment.start([*SECONDARY, alone])


def test_auto_is_a_primary_first_and_a_secondary_then() -> None:
    with Environment.start([*PRIMARY, "--proc-type=auto"]) as first:
        assert first.primary is None
        first.memory.reserve("common", 64)
        child = Child(ATTACHED, "--proc-type=auto", "--file-prefix", "mp")
        try:
            assert child.read()["pid"] == os.getpid()
        finally:
            child.close()
        assert members_are_gone(first)


@contextlib.contextmanager
def raw(hello: bool = False) -> Iterator[Any]:
    """An end of a socket pair whose other end the primary of this process has; says hello if asked."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    with TelemetryClient(socket_path("mp")) as client, theirs:
        answer = client.ask(ATTACH, None, theirs.fileno())
    assert answer == {"pid": os.getpid()}
    with ours, ours.makefile("r") as lines:

        def say(line: bytes) -> Any:
            ours.sendall(line)
            return json.loads(lines.readline() or "null")

        if hello:
            told = say(json.dumps({"ask": "hello", "lcores": None, **own_version()}).encode() + b"\n")
            assert told["value"]["pid"] == os.getpid()
        yield say


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"\n", "a request is no JSON"),
        (b"\xff\xfe\x00\n", "a request is no JSON"),
        (b"[" * 10000 + b"\n", "a request is no JSON"),
        (b"17\n", 'a request is an object with "ask"'),
        (b'{"ask": 3}\n', 'a request is an object with "ask"'),
        (b'{"ask": "zones"}\n', "says hello first"),
        (b'{"ask": "hello"}\n', "version: the primary process"),
        (b'{"ask": "hello", "version": [], "layouts": {}}\n', "version: the primary process"),
    ],
)
def test_bad_words_before_hello_are_answered(primary: Environment, line: bytes, told: str) -> None:
    with raw() as say:
        assert told in say(line)["error"]
        assert told in say(line)["error"]
    assert zone_names(primary) == ["lcores", "common"]


@pytest.mark.parametrize("lcores", [[], [0], [-1], [128], [True], ["1"], "all", {"1": 1}, [1 << 80]])
def test_bad_lcores_are_answered(primary: Environment, lcores: object) -> None:
    with raw() as say:
        hello = {"ask": "hello", "lcores": lcores, **own_version()}
        assert "lcore" in say(json.dumps(hello).encode() + b"\n")["error"]
    assert members_are_gone(primary)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"ask": "nonsense"}, "the primary has no 'nonsense' to ask for"),
        ({"ask": "reserve"}, "can't be answered: KeyError"),
        ({"ask": "reserve", "zone": "x", "size": -1, "align": 64}, "cannot reserve -1 bytes"),
        ({"ask": "reserve", "zone": "x", "size": 1 << 60, "align": 64}, "is used up"),
        ({"ask": "reserve", "zone": "x", "size": "many", "align": 64}, "a request can't be answered: ValueError"),
        ({"ask": "reserve", "zone": "x", "size": 64, "align": 3}, "no power of two"),
        ({"ask": "free", "zone": "common"}, "was not reserved by this process"),
        ({"ask": "free", "zone": ["lcores"]}, "was not reserved by this process"),
        ({"ask": "hello", **own_version()}, "attached already"),
    ],
)
def test_bad_words_after_hello_are_answered(primary: Environment, asked: dict[str, Any], told: str) -> None:
    with raw(hello=True) as say:
        assert told in say(json.dumps(asked).encode() + b"\n")["error"]
        assert len(say(b'{"ask": "zones"}\n')["value"]) == 2
        assert say(b'{"ask": "left"}\n') is None
    assert members_are_gone(primary)
    assert zone_names(primary) == ["lcores", "common"]


def test_what_the_host_refuses_is_answered(primary: Environment) -> None:
    def refuse(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    assert primary.secondaries is not None
    primary.secondaries.serve("look", refuse)
    with raw(hello=True) as say:
        told = {"error": "look: No such file or directory", "kind": "HostError", "errno": errno.ENOENT}
        assert say(b'{"ask": "look"}\n') == told
        assert len(say(b'{"ask": "zones"}\n')["value"]) == 2
        assert say(b'{"ask": "left"}\n') is None
    assert members_are_gone(primary)


def test_one_that_does_not_let_go_is_waited_for_and_told_of_once(
    primary: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[str] = []
    monkeypatch.setattr("pollmode.eal.multiprocess.primary.log.error", errors.append)
    monkeypatch.setattr("pollmode.eal.multiprocess.primary._PATIENCE", 1.0)
    secondaries = primary.secondaries
    assert secondaries is not None
    with secondary() as child:
        child.read()
        assert child.ask("environment.lcores.__setattr__('close', lambda: False)") == {"value": "None"}
        secondaries.send_away()
        assert [member.pid for member in secondaries.members] == [child.process.pid]
        monkeypatch.setattr("pollmode.eal.multiprocess.primary._PATIENCE", 1e6)
        secondaries.send_away()
        told = f"secondary process {child.process.pid} does not let go: the memory stays as it is until it ends"
        assert errors == [told]
        assert child.ask("primary._thread.join()") == {"value": "None"}
        assert [member.pid for member in secondaries.members] == [child.process.pid]
        child.process.kill()
        assert members_are_gone(primary)


RUNNING = (
    BEGIN
    + "environment = Environment.start(sys.argv[1:])\n"
    + "environment.memory.reserve('common', 64)\ntell(up=1)\nsys.stdin.read()\nenvironment.close()\n"
)


@contextlib.contextmanager
def another_primary() -> Iterator[Child]:
    child = Child(RUNNING, *PRIMARY)
    try:
        assert child.read() == {"up": 1}
        yield child
    finally:
        child.close()


def test_a_secondary_leaves_a_primary_that_is_stopped() -> None:
    with another_primary() as first, secondary() as child:
        child.read()
        first.process.send_signal(signal.SIGSTOP)
        try:
            assert child.end() == 0
        finally:
            first.process.send_signal(signal.SIGCONT)
        assert first.end() == 0


class Interrupted:
    """A queue of answers; the first wait for one is interrupted."""

    def __init__(self, answers: Any) -> None:
        self._answers, self.put, self.get = answers, answers.put, self._interrupt

    def _interrupt(self, **_: object) -> None:
        self.get = self._answers.get
        raise KeyboardInterrupt


def test_an_answer_to_an_interrupted_question_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    with another_primary(), Environment.start(SECONDARY) as environment:
        primary = environment.primary
        assert primary is not None
        monkeypatch.setattr(primary, "_answers", Interrupted(primary._answers))
        with pytest.raises(KeyboardInterrupt):
            primary.ask("zones")
        with pytest.raises(ConfigError, match="has no 'nonsense'"):
            primary.ask("nonsense")
        assert len(primary.ask("zones")) == 2


def test_an_interrupted_question_ends_the_attachment(monkeypatch: pytest.MonkeyPatch) -> None:
    with another_primary(), Environment.start(SECONDARY) as environment:
        primary = environment.primary
        assert primary is not None
        send = primary._channel.send

        def interrupt(*_: object) -> None:
            primary._channel.send = send  # type: ignore[method-assign]
            raise KeyboardInterrupt

        monkeypatch.setattr(primary._channel, "send", interrupt)
        with pytest.raises(KeyboardInterrupt):
            primary.ask("zones")
        with pytest.raises(HostError, match="was interrupted"):
            primary.ask("zones")


def test_a_line_without_an_end_is_hung_up_on(primary: Environment) -> None:
    with raw() as say, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert say(b"x" * (MAX_REQUEST + (1 << 17))) is None
    assert members_are_gone(primary)


def test_there_are_only_so_many(primary: Environment) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_SECONDARIES):
            stack.enter_context(raw())
        ours, theirs = socket.socketpair()
        with ours, theirs, TelemetryClient(socket_path("mp")) as client:
            answer = client.ask(ATTACH, None, theirs.fileno())
            assert answer == {"error": f"process {os.getpid()} takes no secondary process: it has 16 of them"}
            assert "a stream socket" in client.ask(ATTACH)["error"]
            with open("/dev/null") as null:
                assert "a stream socket" in client.ask(ATTACH, None, null.fileno())["error"]
