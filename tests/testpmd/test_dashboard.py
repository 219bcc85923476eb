# SPDX-License-Identifier: BSD-3-Clause
"""The dashboard over a session of this process: what it reads, what keys do, what comes and goes while it runs."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from pollmode.eal.environment import Environment
from pollmode.eal.errors import DeviceFault
from pollmode.eal.stopper import Stopper
from pollmode.ethdev import Link, QueueCount, State, Stats
from pollmode.ethdev.testing import ModelDevice
from pollmode.testpmd import live
from pollmode.testpmd.dashboard.app import Dashboard
from pollmode.testpmd.dashboard.messages import Messages
from pollmode.testpmd.dashboard.observer import Observer
from pollmode.testpmd.lifecycle import close_ports, start_ports, stop_ports
from pollmode.testpmd.options import parse
from pollmode.testpmd.session import Session

# A first run compiles, which a busy machine takes minutes for.
pytestmark = pytest.mark.timeout(600)

PATIENCE = 30.0
_serial = itertools.count()

Screen = Pilot[int]


@pytest.fixture
def session() -> Iterator[Session]:
    """A started net_null and a started net_ring port; nothing is forwarded."""
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    eal = ["--no-huge", "--in-memory", "--no-pci", "-m", "64", "--lcores", f"(0-1)@({cpus})"]
    eal += ["--file-prefix", f"tui{os.getpid()}x{next(_serial)}", "--vdev", "net_null0", "--vdev", "net_ring1"]
    options = parse(["--total-num-mbufs=4096", "--mbcache=64", "--record-core-cycles"])
    with Stopper() as stopper, Environment.start(eal) as environment:
        made = Session(environment, options, stopper)
        made.bus.probe_all()
        made.set_up()
        start_ports(made, made.ports.available(), strict=True)
        yield made
        if made.running:
            made.stop()
        stop_ports(made, [port for port in made.ports.available() if port.state is State.STARTED], look=False)
        close_ports(made, made.ports.available())
        made.close()


def add_model(session: Session) -> ModelDevice:
    """Make a device that tells what it is told to a started port of the session."""
    device = ModelDevice("model2")
    port = session.ports.add(device)
    port.configure(1, 1)
    port.setup_rx_queue(0, 0, session.bringup.pool)
    port.setup_tx_queue(0, 0)
    port.start()
    return device


class Clock:
    """The clock of samples, which goes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: self.now))


# What it reads.


def test_it_reads_the_counters_of_every_other_view(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, device, observer = Clock(monkeypatch), add_model(session), Observer(session)
    device.counts = {("rx", 0): QueueCount(3, 512)}
    observer.look()
    clock.now += 1
    device.counted = Stats(ipackets=500, ibytes=32000, ierrors=4, q_ipackets=(500,), q_errors=(4,))
    device.own_xstats = {"rx_q0_short_errors": 4, "rx_q0_long_errors": 0}
    port = observer.look().ports[2]
    assert (port.id, port.name, port.driver, port.state, port.speed) == (2, "model2", "model", "up", "10 Gbps")
    assert port.totals.ipackets == 500
    assert (port.history.rate("ipackets"), port.history.rate("ibytes")) == (500, 32000)
    rx, tx = port.queues
    assert (rx.way, rx.number, rx.running, rx.errors, rx.ring) == ("rx", 0, True, 4, QueueCount(3, 512))
    assert (rx.packets.count, rx.packets.rate, tx.ring) == (500, 500, None)
    assert [(each.name, each.count, each.rate) for each in port.lost] == [("rx_q0_short_errors", 4, 4)]
    assert "rx_good_bytes" in [each.name for each in port.counted]


def test_it_tells_the_states_of_ports_apart(session: Session) -> None:
    device, observer = add_model(session), Observer(session)
    assert [port.state for port in observer.look().ports] == ["up", "up", "up"]
    device.present_link = Link(up=False)
    assert observer.look().ports[2].state == "down"
    device.broken = [DeviceFault("Rx queue 0 is broken", queue=0)]
    session.ports[2].poll()
    broken = observer.look().ports[2]
    assert (broken.state, broken.faults) == ("broken", ("Rx queue 0 is broken",))
    session.ports[2].stop()
    assert observer.look().ports[2].state == "stopped"
    session.ports[2].close()
    assert [port.id for port in observer.look().ports] == [0, 1]


def test_a_port_of_a_used_number_begins_anew(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, device, observer = Clock(monkeypatch), add_model(session), Observer(session)
    device.counted = Stats(ipackets=500)
    observer.look()
    session.ports[2].stop()
    session.ports.remove(session.ports[2])
    clock.now += 1
    add_model(session).counted = Stats(ipackets=900)
    assert observer.look().ports[2].history.rate("ipackets") == 0


def test_forwarding_is_told_by_lcore_and_stream(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    observer = Observer(session)
    assert (observer.look().cores, observer.look().running) == ((), False)
    session.start()
    for _ in range(2):
        before = sum(stream.rx_packets for stream in session.forward_summary().streams)
        while sum(stream.rx_packets for stream in session.forward_summary().streams) < before + 1000:
            pass
        seen = observer.look()
    (core,) = seen.cores
    assert [(each.stream.rx_port, each.stream.tx_port) for each in core.streams] == [(0, 1), (1, 0)]
    assert core.streams[0].received > 0
    assert core.busy is not None
    assert 0 < core.busy <= 1
    session.stop()
    assert observer.look().cores, "what was forwarded last"
    capsys.readouterr()


# What keys do.


class Shown:
    """The dashboard at a terminal that is not there, 80 by 24 unless told."""

    def __init__(self, pilot: Screen, app: Dashboard, messages: Messages) -> None:
        self.pilot, self.app, self.messages = pilot, app, messages

    def text(self, name: str = "body") -> str:
        return str(self.app.query_one(f"#{name}", Static).render())

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until it is true."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                await self.pilot.pause(0.02)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


Act = Callable[[Shown], Awaitable[None]]


def play(session: Session, act: Act, size: tuple[int, int] = (80, 24)) -> Dashboard:
    """Show the dashboard and act on it; returns it when it was left."""
    messages = Messages(io.StringIO(), io.StringIO())
    app = Dashboard(session, messages)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await act(Shown(pilot, app, messages))

    asyncio.run(run())
    return app


def test_at_80_by_24_nothing_is_cut_off(session: Session) -> None:
    async def act(shown: Shown) -> None:
        await shown.until(shown.text)
        for name in ("title", "tabs", "body", "message", "keys"):
            widget = shown.app.query_one(f"#{name}", Static)
            lines = shown.text(name).split("\n")
            assert widget.size.height == (20 if name == "body" else 1)
            assert len(lines) <= widget.size.height
            assert all(len(line) <= 80 for line in lines), lines
        assert "io forwarding is stopped   2 ports" in shown.text("title")
        assert ">0  net_null0        up" in shown.text()
        assert " 1  net_ring1        up" in shown.text()
        assert "s start  c clear" in shown.text("keys")

    play(session, act)


def test_keys_choose_views_and_ports(session: Session) -> None:
    async def act(shown: Shown) -> None:
        await shown.press("2")
        assert shown.text().startswith("Port 0 net_null0, driver net_null: 1 RX and 1 TX queues")
        await shown.press("down")
        assert shown.text().startswith("Port 1 net_ring1")
        assert "RX 0   running" in shown.text()
        assert "0/1023" in shown.text()
        await shown.press("down")
        assert shown.text().startswith("Port 0"), "round"
        await shown.press("tab")
        assert shown.text().startswith("Lost packets")
        await shown.press("a")
        assert shown.text().startswith("Counters")
        await shown.press("4")
        assert "No lcore forwards yet" in shown.text()
        await shown.press("question_mark")
        assert shown.text().startswith("Keys\n")
        assert "[help]" in shown.text("tabs")
        await shown.press("1")
        assert "[1 Overview]" in shown.text("tabs")

    play(session, act)


def test_a_key_starts_and_stops_what_the_prompt_would(session: Session) -> None:
    async def act(shown: Shown) -> None:
        await shown.press("s")
        await shown.until(lambda: session.running and "forwarding runs" in shown.text("title"))
        await shown.until(lambda: session.ports[1].stats().opackets > 1000)
        await shown.press("s")
        await shown.until(lambda: not session.running and "is stopped" in shown.text("title"))
        await shown.press("5")
        said = shown.messages.lines()
        assert any("io packet forwarding - ports=2" in line for line in said)
        assert any("Accumulated forward statistics for all ports" in line for line in said)
        assert shown.text().rstrip().endswith("Done."), "messages are shown from their end"
        await shown.press("pageup")
        assert not shown.text().rstrip().endswith("Done.")

    play(session, act)


def test_what_cannot_be_started_is_told(session: Session) -> None:
    session.ports[1].stop()

    async def act(shown: Shown) -> None:
        await shown.press("s")
        await shown.until(lambda: "Not all ports were started" in shown.text("message"))
        assert not session.running

    play(session, act)


def test_a_key_clears_the_counters(session: Session) -> None:
    async def act(shown: Shown) -> None:
        await shown.press("s")
        await shown.until(lambda: session.ports[1].stats().opackets > 1000)
        await shown.press("s")
        await shown.until(lambda: not session.running)
        await shown.press("c")
        await shown.until(lambda: session.ports[1].stats().opackets == 0)
        assert session.forward_summary().ports[0].ipackets == 0

    play(session, act)


@pytest.mark.parametrize(("key", "number"), [("q", 0), ("escape", 0), ("ctrl+c", 2)])
def test_keys_leave(session: Session, key: str, number: int) -> None:
    async def act(shown: Shown) -> None:
        await shown.press(key)

    assert play(session, act).return_value == number


def test_a_signal_before_it_runs_leaves_at_once(session: Session) -> None:
    app = Dashboard(session, Messages(io.StringIO(), io.StringIO()))
    app.end_soon()

    async def run() -> Any:
        return await app.run_async(headless=True)

    assert asyncio.run(run()) == 0


# What comes and goes while it runs.


def test_a_port_that_is_removed_leaves_the_table(session: Session) -> None:
    add_model(session)

    async def act(shown: Shown) -> None:
        await shown.until(lambda: "model2" in shown.text())
        await shown.press("up")
        assert ">2  model2" in shown.text()
        session.ports[2].stop()
        session.ports.remove(session.ports[2])
        await shown.until(lambda: "model2" not in shown.text())
        assert ">1  net_ring1" in shown.text()

    play(session, act)


def test_all_ports_may_go(session: Session) -> None:
    async def act(shown: Shown) -> None:
        stop_ports(session, session.ports.available(), look=False)
        close_ports(session, session.ports.available())
        await shown.until(lambda: "There are no ports." in shown.text())
        for key in ("2", "3", "a", "4", "5", "up", "1"):
            await shown.press(key)
        assert "0 ports" in shown.text("title")

    play(session, act)


def test_the_terminal_may_change_its_size(session: Session) -> None:
    async def act(shown: Shown) -> None:
        for columns, rows in ((200, 60), (30, 8), (1, 1), (80, 24)):
            await shown.pilot.resize_terminal(columns, rows)
            await shown.until(lambda rows=rows: len(shown.text().split("\n")) <= max(1, rows - 4))
            await shown.until(lambda cut=columns: all(len(line) <= cut for line in shown.text().split("\n")))
        await shown.until(lambda: "60 s ago" in shown.text())

    play(session, act, size=(100, 30))


def test_what_is_printed_meanwhile_is_kept_for_afterwards() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, file = Terminal(), io.StringIO()
    messages = Messages(screen, file)
    messages.stdout.write("one\ntw")
    messages.stderr.write("a log line\n")
    messages.stdout.write("o\n\nthree")
    assert messages.lines() == ["one", "a log line", "two", ""]
    assert messages.last == "two"
    assert (screen.getvalue(), file.getvalue()) == ("", "a log line\n"), "a file gets its lines at once"
    messages.replay()
    assert screen.getvalue() == "one\ntwo\n\nthree\n"
    assert file.getvalue() == "a log line\n"
    assert messages.lines() == []
