# SPDX-License-Identifier: BSD-3-Clause
"""A hostile or failing back end at the other end of the socket: refused in one line, nothing hangs, no mbuf is lost,
and in server mode the next one is welcome.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.errors import PollmodeError
from pollmode.ethdev import Event, Port, Ports
from pollmode.mbuf import Mempool, create_pool
from pollmode.net_virtio import user
from pollmode.vhost.attacks import BACKEND_ATTACKS
from pollmode.vhost.faults import PeerTimeout, WaitInterrupted
from pollmode.vhost.frontend import Frontend
from pollmode.vhost.messages import Request
from pollmode.vhost.testing import HONEST_FEATURES, Answer, ScriptedBackend
from pollmode.vhost.virtqueue import VIRTIO_NET_F_MQ, features

PATIENCE = 30.0


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.005)


class Stage:
    """A process with a virtio-user port, and scripted back ends for it."""

    def __init__(self, environment: Environment, path: Path) -> None:
        self.ports = Ports(environment)
        self.bus = VdevBus(environment, self.ports)
        self.path = str(path)
        self.pool: Mempool = create_pool(environment.memory, "user", 512, cache_size=0)
        self.backends: list[ScriptedBackend] = []

    def listen(self, answers: dict[int, Answer], feature_word: int = HONEST_FEATURES, queue_pairs: int = 1) -> None:
        """Have a scripted back end take the next connection."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.path)
        listening.listen(1)
        listening.settimeout(PATIENCE)

        def take() -> None:
            with listening, contextlib.suppress(TimeoutError):
                taken = ScriptedBackend(listening.accept()[0], answers, feature_word, queue_pairs=queue_pairs)
                self.backends.append(taken)

        threading.Thread(target=take, daemon=True).start()

    def connect(self, answers: dict[int, Answer], feature_word: int = HONEST_FEATURES) -> ScriptedBackend:
        """Connect a scripted back end to the port, which listens."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        self.backends.append(ScriptedBackend(sock, answers, feature_word))
        return self.backends[-1]

    def attach(self, arguments: str = "") -> Port:
        return self.bus.attach(f"net_virtio_user0,path={self.path},queue_size=32{arguments}")  # type: ignore[no-any-return]

    def start(self, port: Port) -> Port:
        port.configure(1, 1)
        port.setup_rx_queue(0, 32, self.pool)
        port.setup_tx_queue(0, 32)
        port.start()
        return port

    def close(self) -> None:
        for port in list(self.ports):
            if port.state.value == "started":
                port.stop()
            self.bus.detach(port)
        for backend in self.backends:
            backend.join()
        self.ports.close()
        assert self.pool.audit().out == 0


@pytest.fixture
def stage(environment: Environment, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(environment, tmp_path / "socket")
    yield made
    made.close()


@pytest.mark.parametrize("attack", sorted(BACKEND_ATTACKS))
def test_a_client_refuses_a_hostile_back_end(stage: Stage, attack: str) -> None:
    stage.listen(BACKEND_ATTACKS[attack])
    only_at_the_end = Request.GET_VRING_BASE in BACKEND_ATTACKS[attack]
    with contextlib.nullcontext() if only_at_the_end else pytest.raises(PollmodeError, match=r"^net_virtio_user0: .*$"):
        stage.start(stage.attach()).stop()
    assert stage.pool.audit().out == 0


@pytest.mark.parametrize("attack", sorted(BACKEND_ATTACKS))
def test_a_server_sends_a_hostile_back_end_away_and_takes_the_next(stage: Stage, attack: str) -> None:
    port = stage.start(stage.attach(",server=1"))
    hostile = stage.connect(BACKEND_ATTACKS[attack])
    until(lambda: port.link().up or not hostile._thread.is_alive(), "an outcome")
    with contextlib.suppress(OSError):
        hostile.sock.shutdown(socket.SHUT_RDWR)
    until(lambda: not port.link().up, "the link to be down")
    stage.connect({})
    until(lambda: port.link().up, "the next back end")


def test_messages_come_in_an_order_a_back_end_can_follow(stage: Stage) -> None:
    stage.listen({})
    port = stage.start(stage.attach())
    port.stop()
    heard = [Request(message.request).name for message in stage.backends[0].heard]
    wanted = [
        "SET_OWNER", "GET_FEATURES", "GET_PROTOCOL_FEATURES", "SET_PROTOCOL_FEATURES", "SET_FEATURES", "SET_MEM_TABLE",
        "SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ADDR", "SET_VRING_CALL", "SET_VRING_KICK", "SET_VRING_NUM",
        "SET_VRING_KICK", "SET_VRING_ENABLE", "SET_VRING_ENABLE", "SET_VRING_ENABLE", "SET_VRING_ENABLE",
        "GET_VRING_BASE", "GET_VRING_BASE",
    ]  # fmt: skip
    place = iter(heard)
    assert all(name in place for name in wanted), heard


def test_a_back_end_that_refuses_the_features_is_named(stage: Stage) -> None:
    stage.listen({Request.SET_FEATURES: Answer(payload=(1).to_bytes(8, "little"))})
    with pytest.raises(PollmodeError, match=r"net_virtio_user0: the back end answered no; phase: .* SET_FEATURES"):
        stage.start(stage.attach())


def test_several_queues_need_multiqueue_of_the_back_end(stage: Stage) -> None:
    stage.listen({})
    with pytest.raises(PollmodeError, match="queues=2 needs VIRTIO_NET_F_MQ"):
        stage.attach(",queues=2")


@pytest.mark.parametrize("pairs", [0, 2])
def test_several_queues_need_as_many_of_the_back_end(stage: Stage, pairs: int) -> None:
    stage.listen({}, HONEST_FEATURES | features(VIRTIO_NET_F_MQ), queue_pairs=pairs)
    with pytest.raises(PollmodeError, match=f"queues=4, but the back end has {pairs} queue pairs"):
        stage.attach(",queues=4")


@pytest.mark.parametrize("pairs", [129, 1 << 32, (1 << 64) - 1])
def test_a_back_end_that_claims_any_number_of_queue_pairs_gets_those_asked_for(stage: Stage, pairs: int) -> None:
    stage.listen({}, HONEST_FEATURES | features(VIRTIO_NET_F_MQ), queue_pairs=pairs)
    port = stage.start(stage.attach(",queues=2"))
    assert port.info().max_rx_queues == 2
    assert port.link().up


def test_a_failed_start_leaves_nothing_and_can_be_tried_again(stage: Stage) -> None:
    stage.listen({Request.SET_MEM_TABLE: Answer(close=True)})
    port = stage.attach()
    with pytest.raises(PollmodeError):
        stage.start(port)
    assert stage.pool.audit().out == 0
    Path(stage.path).unlink()
    stage.listen({})
    port.start()
    assert port.link().up


def in_time(do: Callable[[], None], what: str) -> None:
    """Do something that must not wait for a back end, whose time limit the test has set far beyond PATIENCE."""
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    until(lambda: not thread.is_alive(), what)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "Frontend", functools.partial(Frontend, timeout=10 * PATIENCE))
    monkeypatch.setattr(user, "_START_SECONDS", 10 * PATIENCE)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("request_", [Request.SET_VRING_ENABLE, Request.GET_VRING_BASE, Request.SET_STATUS])
def test_a_back_end_that_answers_no_more_does_not_hold_up_the_stop(
    stage: Stage, capfd: pytest.CaptureFixture[str], request_: Request
) -> None:
    answers: dict[int, Answer] = {}
    stage.listen(answers)
    port = stage.start(stage.attach())
    answers[request_] = Answer(silent=True)
    in_time(port.stop, "the port to stop")
    assert stage.pool.audit().out == 0
    err = capfd.readouterr().err
    # Not "went away": the model of a back end closes its end after some time, and that is not to be waited for.
    assert f"the vhost back end did not stop its rings: {port.name}: no answer within" in err
    assert request_.name in err


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("request_", [Request.GET_FEATURES, Request.SET_MEM_TABLE])
def test_a_back_end_that_comes_and_says_nothing_holds_up_neither_stop_nor_close(
    stage: Stage, capfd: pytest.CaptureFixture[str], request_: Request
) -> None:
    port = stage.start(stage.attach(",server=1"))
    came = stage.connect({request_: Answer(silent=True)})
    until(lambda: any(heard.request == request_ for heard in came.heard), "the request without an answer")
    in_time(port.stop, "the port to stop")
    assert "did not answer within 2 s while the port is to stop" in capfd.readouterr().err
    came = stage.connect({Request.GET_FEATURES: Answer(silent=True)})
    until(lambda: came.heard, "the next back end")
    in_time(lambda: stage.bus.detach(port), "the port to close")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("request_", [Request.GET_FEATURES, Request.SET_MEM_TABLE])
def test_a_back_end_that_is_silent_ends_the_start_in_one_line_that_says_what_is_awaited(
    stage: Stage, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request_: Request
) -> None:
    monkeypatch.setattr(user, "_TELL_SECONDS", 0.1)
    stage.listen({request_: Answer(silent=True)})

    def start() -> None:
        if request_ == Request.GET_FEATURES:
            monkeypatch.setattr(user, "_START_SECONDS", 0.5)
            stage.attach()
        port = stage.attach()
        monkeypatch.setattr(user, "_START_SECONDS", 0.5)
        stage.start(port)

    with pytest.raises(PeerTimeout) as caught:
        start()
    told = str(caught.value)
    assert told.startswith("net_virtio_user0: no answer within the 0.5 s of all requests together; phase: ")
    assert told.endswith(f"is what listens at {stage.path!r} a vhost-user back end?")
    assert "\n" not in told
    assert f"waiting for the vhost back end at {stage.path!r} to answer " in capfd.readouterr().err
    assert stage.pool.audit().out == 0


@pytest.mark.usefixtures("patient")
def test_a_signal_ends_the_wait_for_a_silent_back_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "stop_requested", lambda: True)
    stage.listen({Request.SET_OWNER: Answer(silent=True), Request.GET_FEATURES: Answer(silent=True)})
    with pytest.raises(WaitInterrupted, match=r"told to stop while waiting for the vhost back end at .* GET_FEATURES"):
        stage.attach()


def test_a_back_end_lost_in_a_reset_is_told_as_a_change_of_the_link(stage: Stage) -> None:
    port = stage.start(stage.attach(",server=1"))
    told: list[bool] = []
    port.on(Event.INTR_LSC, lambda port, event, link: told.append(link.up))
    stage.connect({Request.GET_VRING_BASE: Answer(close=True)})
    until(lambda: told == [True], "the link up")
    port.reset()
    assert told == [True, False]
    assert not port.link().up
    stage.connect({})
    until(lambda: told == [True, False, True], "the link up again")
    port.reset()
    assert told == [True, False, True], "a back end that stays is no change"


def test_a_server_out_of_descriptors_tries_again_at_leisure(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    accept = socket.socket.accept
    short = threading.Event()
    refused: list[float] = []

    def failing(self: socket.socket) -> object:
        if short.is_set():
            refused.append(time.monotonic())
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(self)

    port = stage.start(stage.attach(",server=1"))
    short.set()
    monkeypatch.setattr(socket.socket, "accept", failing)
    stage.connect({})
    until(lambda: len(refused) >= 3, "three attempts")
    short.clear()
    until(lambda: port.link().up, "the link")
    assert refused[2] - refused[0] > 0.5, "it must not try as fast as it can"
