# SPDX-License-Identifier: BSD-3-Clause
"""Meeting at a path: stale and live sockets, impossible paths, second peers, peers that come back."""

import errno
import os
import socket
import subprocess
import sys

import pytest
from support.vhost import Recorder, settle, until

from pollmode.eal.errors import ConfigError, HostError
from pollmode.vhost import server
from pollmode.vhost.server import LONGEST_REFUSAL, MAX_PATH, Connector, Listener, connect
from pollmode.vhost.session import Session
from pollmode.vhost.testing import WAIT, ScriptedFrontend


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # pytest's own paths can be longer than a socket's may be
    return "vhost.sock"


class Host:
    """A listener or connector whose peers are sessions of recorders."""

    def __init__(self, loop):
        self.loop = loop
        self.sessions = []
        self.owners = []

    def connected(self, sock):
        owner = Recorder()
        session = Session(sock, owner)
        session.attach(self.loop)
        self.owners.append(owner)
        self.sessions.append(session)
        return session

    def close(self):
        for session in self.sessions:
            session.close()


@pytest.fixture
def host(loop):
    made = Host(loop)
    yield made
    made.close()


def dial(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(WAIT)
    sock.connect(path)
    return ScriptedFrontend(sock)


def test_front_ends_are_served_one_after_the_other(path, loop, host):
    listener = Listener(path)
    listener.serve(loop, host.connected)
    for number in range(3):
        with dial(path) as front:
            settle(front)
        until(lambda number=number: len(host.owners) > number and bool(host.owners[number].closed))
    listener.close()
    assert not os.path.exists(path)


def test_second_peer_is_sent_away_and_the_first_goes_on(path, loop, host, capfd):
    listener = Listener(path)
    listener.serve(loop, host.connected)
    with dial(path) as first, dial(path) as second:
        settle(first)
        assert second.closed()
        settle(first)
    assert len(host.sessions) == 1
    assert "a second peer was sent away" in capfd.readouterr().err
    listener.close()


def test_second_peer_that_comes_again_and_again_does_not_fill_the_log(path, loop, host, capfd):
    listener = Listener(path)
    listener.serve(loop, host.connected)
    with dial(path) as first:
        settle(first)
        for _ in range(20):
            with dial(path) as second:
                assert second.closed()
        settle(first)
    assert capfd.readouterr().err.count("a second peer was sent away") == 5  # 1, 2, 4, 8, 16 times
    listener.close()


def test_peer_that_died_unnoticed_makes_room_for_its_successor(path, host):
    class Deaf:
        """A loop that notices new connections only."""

        def register(self, fd, callback):
            self.callback = self.__dict__.get("callback", callback)

        def unregister(self, fd):
            return True

        def alarm(self, seconds, callback):
            return None

        def cancel(self, handle):
            return True

    deaf = Deaf()
    listener = Listener(path)
    listener.serve(deaf, host.connected)
    host.loop = deaf
    first = dial(path)
    deaf.callback()
    first.close()
    with dial(path) as second:
        deaf.callback()
        assert len(host.sessions) == 2
        assert host.owners[0].closed == ["the peer closed its end"]
        assert not host.sessions[1].closed
        second.close()
    listener.close()


def test_socket_left_behind_by_a_dead_process_is_replaced(path):
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.bind({path!r}); s.listen()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert os.path.exists(path)
    listener = Listener(path)
    with connect(path):
        accepted = listener.accept(WAIT)
        assert accepted is not None
        accepted.close()
    listener.close()


def test_socket_of_a_live_process_is_an_error_that_names_it(path):
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.bind({path!r}); s.listen(); print(flush=True); input()"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as live:
        live.stdout.readline()
        with pytest.raises(ConfigError, match=f"'vhost.sock' is in use by process {live.pid}; end it or") as caught:
            Listener(path)
        assert caught.value.errno == errno.EADDRINUSE
        assert os.path.exists(path)
        live.communicate(b"\n", WAIT)


def test_socket_of_this_process_is_an_error_that_does_not_say_end_it(path):
    first = Listener(path)
    with pytest.raises(ConfigError, match=r"in use by this process itself; give every port a path of its own"):
        Listener(path)
    first.close()
    Listener(path).close()


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_path_that_is_something_else_is_refused_and_kept(path, kind):
    if kind == "directory":
        os.mkdir(path)
    else:
        with open(path, "w") as file:
            file.write("precious")
    text = "is a directory" if kind == "directory" else "is a file that is no socket"
    for attempt in (Listener, connect):
        with pytest.raises(ConfigError, match=text):
            attempt(path)
    assert os.path.exists(path)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ("", "is empty"),
        ("a\0b", "zero byte"),
        ("x" * (MAX_PATH + 1), "has 108 bytes; a socket's path has at most 107"),
        ("ü" * 54, "has 108 bytes"),
        ("no/such/place/sock", "there is no directory 'no/such/place'"),
    ],
)
def test_impossible_paths_are_refused_with_the_reason(path, loop, bad, text):
    for attempt in (Listener, connect, lambda p: Connector(p, loop, lambda sock: None)):
        with pytest.raises(ConfigError, match=text):
            attempt(bad)


def test_longest_path_is_possible(path):
    name = "x" * MAX_PATH
    listener = Listener(name)
    assert os.path.exists(name)
    listener.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run the tests as an ordinary user")
def test_directory_without_permission_is_an_error_of_the_machine(path):
    os.mkdir("closed", 0o500)
    with pytest.raises(HostError, match="check the permissions of 'closed'"):
        Listener("closed/sock")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may go everywhere: run the tests as an ordinary user")
def test_directory_that_may_not_be_entered_is_not_called_missing(path):
    os.mkdir("closed", 0o600)
    for attempt in (Listener, connect):
        with pytest.raises(HostError, match="directory 'closed': Permission denied; check its permissions"):
            attempt("closed/sock")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect everywhere: run the tests as an ordinary user")
def test_socket_without_permission_says_so(path):
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(path)
        live.listen()
        os.chmod(path, 0o400)
        for attempt in (Listener, connect):
            with pytest.raises(HostError, match="Permission denied; check the permissions"):
                attempt(path)


def test_connecting_where_nobody_listens_says_what_to_do(path):
    with pytest.raises(HostError, match="there is no such socket; start the peer first"):
        connect(path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(HostError, match="nobody listens there; start the peer first"):
        connect(path)


def test_accept_waits_no_longer_than_told(path):
    listener = Listener(path)
    assert listener.accept(0.02) is None
    listener.close()
    assert listener.accept(WAIT) is None
    listener.close()


def test_closing_leaves_a_successors_socket_alone(path):
    listener = Listener(path)
    os.rename(path, "other.sock")
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(path)
        listener.close()
        assert os.path.exists(path)


def test_listener_survives_running_out_of_descriptors(path, loop, host, monkeypatch, capfd):
    listener = Listener(path)
    listener.serve(loop, host.connected)
    monkeypatch.setattr(server, "_PAUSE", 0.01)
    errors = [errno.EMFILE] * 5 + [errno.ENOMEM] * 3
    accept = socket.socket.accept

    def failing(self):
        if errors:
            error = errors.pop(0)
            raise OSError(error, os.strerror(error))
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    with dial(path) as front:
        settle(front)
    told = capfd.readouterr().err
    assert told.count("no connection can be taken: Too many open files") == 1
    assert told.count("no connection can be taken: Cannot allocate memory") == 1
    assert told.count("connections are taken again") == 1
    listener.close()


def test_connector_survives_running_out_of_descriptors(path, loop, host, monkeypatch):
    told = []
    monkeypatch.setattr(server.log, "info", told.append)
    left = [errno.EMFILE] * 3
    listener = Listener(path)
    create = socket.socket

    def failing(*words, **named):
        if left and words == (socket.AF_UNIX, socket.SOCK_STREAM):
            raise OSError(left.pop(), os.strerror(errno.EMFILE))
        return create(*words, **named)

    monkeypatch.setattr(server.socket, "socket", failing)
    connector = Connector(path, loop, host.connected)
    connector.start()
    with ScriptedFrontend(listener.accept(WAIT)) as front:
        settle(front)
    assert [text for text in told if "Too many open files" in text] == told[:1]
    connector.close()
    listener.close()


def test_connector_keeps_trying_and_comes_back(path, loop, host):
    connector = Connector(path, loop, host.connected)
    connector.start()
    for number in range(3):
        listener = Listener(path)
        sock = listener.accept(WAIT)
        with ScriptedFrontend(sock) as front:
            settle(front)
        listener.close()
        until(lambda number=number: bool(host.owners[number].closed))
        connector.reconnect()
    connector.close()
    assert len(host.owners) == 3


class Clock:
    """A loop that notes when alarms are due and rings them when told."""

    def __init__(self):
        self.waits = []

    def alarm(self, seconds, callback):
        self.waits.append(seconds)
        self.ring = callback


def test_connector_leaves_a_peer_that_ends_every_connection_alone_for_longer_each_time(path):
    clock = Clock()
    listener = Listener(path)
    connector = Connector(path, clock, lambda sock: sock.close())
    connector.start()
    for _ in range(10):
        clock.ring()
        assert listener.accept(WAIT) is not None
        connector.reconnect()
    waits = clock.waits[1:]
    assert waits == sorted(waits)
    assert waits[0] < 0.2 < LONGEST_REFUSAL == waits[-1]
    connector._since -= 60.0  # a connection that lasted
    connector.reconnect()
    assert clock.waits[-1] < 0.2
    listener.close()


def test_connector_comes_back_at_once_to_a_peer_whose_rings_ran_however_often_it_dies(path):
    clock = Clock()
    listener = Listener(path)
    connector = Connector(path, clock, lambda sock: sock.close())
    connector.start()
    for _ in range(10):
        clock.ring()
        assert listener.accept(WAIT) is not None
        connector.reconnect(served=True)
    assert max(clock.waits) < 0.2
    listener.close()


def test_connector_that_was_closed_tries_no_more(path, loop, host):
    connector = Connector(path, loop, host.connected)
    connector.start()
    connector.close()
    connector.close()
    listener = Listener(path)
    assert listener.accept(0.2) is None
    listener.close()
