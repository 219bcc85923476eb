# SPDX-License-Identifier: BSD-3-Clause
"""The telemetry socket: who may have its name, how many it serves, and clients that do everything wrong."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pollmode.eal.errors import HostError
from pollmode.eal.interrupts import Interrupts
from pollmode.eal.telemetry import Telemetry
from pollmode.eal.telemetry_client import TelemetryClient
from pollmode.eal.telemetry_server import MAX_CLIENTS, SOCKET_NAME, TelemetryServer

PATIENCE = 60.0


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    thread = Interrupts()
    yield thread
    thread.close()


@pytest.fixture
def telemetry() -> Telemetry:
    commands = Telemetry()
    commands.register("/long", lambda _: ["x" * 127] * 100, "Returns much")
    return commands


@pytest.fixture
def server(telemetry: Telemetry, interrupts: Interrupts, tmp_path: Path) -> Iterator[TelemetryServer]:
    serving = TelemetryServer(telemetry, interrupts, tmp_path / "rte")
    yield serving
    serving.close()


def connect(server: TelemetryServer) -> socket.socket:
    """Return a raw connection that was greeted."""
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    raw.settimeout(PATIENCE)
    raw.connect(str(server.path))
    assert json.loads(raw.recv(1024))["pid"] == os.getpid()
    return raw


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def serves(server: TelemetryServer) -> bool:
    with contextlib.suppress(HostError), TelemetryClient(server.path) as client:
        return "/info" in client.ask("/")
    return False


def test_the_socket_is_where_dpdks_clients_look_and_for_its_owner_alone(server: TelemetryServer) -> None:
    assert server.path.name == "dpdk_telemetry.v2"
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
    assert serves(server)


def test_nothing_is_left_after_close(telemetry: Telemetry, interrupts: Interrupts, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    server = TelemetryServer(telemetry, interrupts, tmp_path / "rte")
    raw = connect(server)
    server.close()
    server.close()
    assert raw.recv(10) == b""
    raw.close()
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_ten_clients_are_served_and_the_eleventh_is_sent_away(server: TelemetryServer) -> None:
    clients = [TelemetryClient(server.path) for _ in range(MAX_CLIENTS)]
    for _ in range(3):
        with pytest.raises(HostError, match="it hung up; it serves ten clients"):
            TelemetryClient(server.path)
        assert all(client.ask("/info")["pid"] == os.getpid() for client in clients)
    clients.pop().close()
    until(lambda: serves(server))
    for client in clients:
        client.close()


def test_ten_clients_at_once_get_their_own_answers(telemetry: Telemetry, server: TelemetryServer) -> None:
    telemetry.register("/echo", lambda parameters: parameters, "")
    wrong: list[object] = []

    def talk(number: int) -> None:
        try:
            with TelemetryClient(server.path) as client:
                wrong.extend(
                    word for n in range(200) if (word := client.ask("/echo", f"{number}x{n}")) != f"{number}x{n}"
                )
        except HostError as error:
            wrong.append(error)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(MAX_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []


def test_junk_harms_nothing(server: TelemetryServer) -> None:
    dice = random.Random(7)
    with TelemetryClient(server.path) as bystander, connect(server) as raw:
        for _ in range(300):
            raw.send(dice.randbytes(dice.choice([1, 2, 55, 56, 57, 1023, 1024, 1025, 60000])))
            assert len(json.loads(raw.recv(20000))) == 1
            assert bystander.ask("/info")["pid"] == os.getpid()


def test_an_empty_message_ends_the_connection(server: TelemetryServer) -> None:
    with connect(server) as raw:
        raw.send(b"")
        assert raw.recv(10) == b""
    assert serves(server)


def test_a_client_that_fetches_nothing_holds_up_nobody_and_loses_nothing(server: TelemetryServer) -> None:
    with connect(server) as slow, TelemetryClient(server.path) as quick:
        slow.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):  # until neither its requests nor its answers find room
            while sent < 100_000:
                slow.send(b"/long")
                sent += 1
                assert quick.ask("/info")["pid"] == os.getpid()
        assert 10 < sent < 100_000
        slow.settimeout(PATIENCE)
        for _ in range(sent):
            assert len(json.loads(slow.recv(20000))["/long"]) == 100
        slow.send(b"/info")
        assert json.loads(slow.recv(20000))["/info"]["pid"] == os.getpid()


def test_clients_that_end_in_the_middle_free_their_places(server: TelemetryServer) -> None:
    for _ in range(5 * MAX_CLIENTS):
        until(lambda: serves(server))
        raw = connect(server)
        for _ in range(30):
            with contextlib.suppress(BlockingIOError):
                raw.send(b"/long", socket.MSG_DONTWAIT)
        raw.close()
    until(lambda: serves(server))


def test_a_second_process_gets_a_name_of_its_own(
    telemetry: Telemetry, interrupts: Interrupts, server: TelemetryServer
) -> None:
    other = TelemetryServer(telemetry, interrupts, server.path.parent)
    assert other.path.name == "dpdk_telemetry.v2:1"
    assert serves(server)
    assert serves(other)
    server.close()
    assert os.listdir(server.path.parent) == ["dpdk_telemetry.v2:1"]
    other.close()
    assert not server.path.parent.exists()


HOLDER = """
import sys
from pathlib import Path
from pollmode.eal.interrupts import Interrupts
from pollmode.eal.telemetry import Telemetry
from pollmode.eal.telemetry_server import TelemetryServer
server = TelemetryServer(Telemetry(), Interrupts(), Path(sys.argv[1]))
print(server.path.name, flush=True)
sys.stdin.read()
"""


def test_a_dead_process_s_socket_is_replaced_and_a_live_one_s_is_not(
    telemetry: Telemetry, interrupts: Interrupts, tmp_path: Path
) -> None:
    directory = tmp_path / "rte"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(directory)], **pipes) as holder:  # type: ignore[call-overload]
        assert holder.stdout.readline() == b"dpdk_telemetry.v2\n"
        beside = TelemetryServer(telemetry, interrupts, directory)
        assert beside.path.name == "dpdk_telemetry.v2:1"
        beside.close()
        with TelemetryClient(directory / SOCKET_NAME) as client:
            assert client.info["pid"] == holder.pid
        holder.send_signal(signal.SIGKILL)
        holder.wait(PATIENCE)
    assert (directory / SOCKET_NAME).is_socket()
    server = TelemetryServer(telemetry, interrupts, directory)
    assert server.path.name == "dpdk_telemetry.v2"
    assert serves(server)
    server.close()
    assert os.listdir(tmp_path) == []


def test_processes_that_start_and_end_at_once_never_take_each_other_s_name(tmp_path: Path) -> None:
    directory, wrong = tmp_path / "rte", []

    def come_and_go(thread: Interrupts) -> None:
        for _ in range(40):
            server = TelemetryServer(Telemetry(), thread, directory)
            if not serves(server):
                wrong.append(server.path.name)
            server.close()

    with contextlib.ExitStack() as stack:
        loops = [Interrupts() for _ in range(4)]
        for loop in loops:
            stack.callback(loop.close)
        threads = [threading.Thread(target=come_and_go, args=(loop,)) for loop in loops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert wrong == []
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_no_socket_stays(telemetry: Telemetry, interrupts: Interrupts, tmp_path: Path) -> None:
    (tmp_path / SOCKET_NAME).write_text("mine")
    server = TelemetryServer(telemetry, interrupts, tmp_path)
    assert server.path.name == "dpdk_telemetry.v2:1"
    server.close()
    assert (tmp_path / SOCKET_NAME).read_text() == "mine"


def test_a_socket_that_somebody_else_put_there_stays(server: TelemetryServer) -> None:
    server.path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(server.path))
        server.close()
        assert server.path.is_socket()


def test_a_process_out_of_descriptors_serves_when_it_has_some_again(server: TelemetryServer) -> None:
    with TelemetryClient(server.path) as client:
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            raw.connect(str(server.path))
            until(lambda: server._pause is not None)
            assert client.ask("/info")["pid"] == os.getpid()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        raw.settimeout(PATIENCE)
        assert json.loads(raw.recv(1024))["pid"] == os.getpid()
        raw.close()


def test_a_client_is_told_that_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"no process answers at .*nowhere: No such file"):
        TelemetryClient(tmp_path / "nowhere")


def test_a_client_is_told_when_the_process_ends(server: TelemetryServer) -> None:
    with TelemetryClient(server.path) as client:
        server.close()
        with pytest.raises(HostError, match="does not answer"):
            client.ask("/info")
