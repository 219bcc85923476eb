# SPDX-License-Identifier: BSD-3-Clause
"""Single queues: started and stopped while their port runs, set up anew, looked at."""

from __future__ import annotations

from pollmode.eal.errors import ConfigError, PollmodeError, UnsupportedError
from pollmode.ethdev import Port, State
from pollmode.testpmd.commands.chosen import chosen_queue, one_port, still_running, stopped_port
from pollmode.testpmd.describe import rx_queue_info, tx_queue_info
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn

__all__ = ["commands"]

commands = Commands("ports")


@commands.add("port {port} {way:rxq|txq} {queue} {action:start|stop}")
def switch_queue(session: Session, port: int, way: str, queue: int, action: str) -> None:
    """Start or stop a queue of a started port."""
    if still_running(session):
        return
    chosen = one_port(session, port)
    if chosen is None:
        return
    if chosen.state is not State.STARTED:
        warn(f"Please start port {port} first")
        return
    if chosen_queue(session, way, queue):
        switch = getattr(chosen, f"{action}_{way[:2]}_queue")
        try:
            switch(queue)
        except UnsupportedError as error:
            warn("Function not supported in PMD", error)


def _stopped(session: Session, port: int, way: str, queue: int) -> Port | None:
    chosen = stopped_port(session, port)
    return chosen if chosen is not None and chosen_queue(session, way, queue) else None


@commands.add("port {port} {way:rxq|txq} {queue} deferred_start {state:on|off}")
def defer_queue(session: Session, port: int, way: str, queue: int, state: str) -> None:
    """Choose whether a queue stays stopped when its port is started."""
    chosen = _stopped(session, port, way, queue)
    if chosen is not None:
        setup = session.bringup[chosen]
        (setup.rx if way == "rxq" else setup.tx)[queue].deferred = state == "on"
        setup.renew_queues = True


@commands.add("port {port} {way:rxq|txq} {queue} setup")
def set_up_queue(session: Session, port: int, way: str, queue: int) -> None:
    """Set a queue of a stopped port up again."""
    chosen = one_port(session, port)
    if chosen is None or not chosen_queue(session, way, queue):
        if chosen is not None:
            warn(f"Invalid {way[:2]} queue")
        return
    setup = session.bringup[chosen]
    try:
        if way == "rxq":
            rx = setup.rx[queue]
            chosen.setup_rx_queue(queue, rx.descriptors, session.bringup.pool, rx.config())
        else:
            tx = setup.tx[queue]
            chosen.setup_tx_queue(queue, tx.descriptors, tx.config())
    except PollmodeError as error:
        warn(f"Failed to setup {way[:2].upper()} queue", error)


@commands.add("port config {port} {way:rxq|txq} {queue} ring_size {count:u16}")
def config_ring(session: Session, port: int, way: str, queue: int, count: int) -> None:
    """Set the number of descriptors of one queue, from its port's next start on."""
    chosen = one_port(session, port)
    if chosen is None or not chosen_queue(session, way, queue):
        return
    threshold = session.options.rx_thresholds.free
    if way == "rxq" and 0 < count <= threshold:
        warn(f"Invalid rx ring_size, must > rx_free_thresh: {threshold}")
        return
    setup = session.bringup[chosen]
    (setup.rx if way == "rxq" else setup.tx)[queue].descriptors = count
    setup.renew_queues = True


@commands.add("show {way:rxq|txq} info {port} {queue}")
def show_queue(session: Session, way: str, port: int, queue: int) -> None:
    """Show how a queue was set up."""
    numbers = {chosen.id: chosen for chosen in session.ports.available()}
    try:
        describe = rx_queue_info if way == "rxq" else tx_queue_info
        print(describe(session.ports[port] if port not in numbers else numbers[port], queue))
    except PollmodeError as error:
        reason = ("No such device", -19) if port not in numbers else ("Invalid argument", -22)
        warn(
            f"Failed to retrieve information for port: {port}, {way[:2].upper()} queue: {queue}\n"
            f"error desc: {reason[0]}({reason[1]})",
            error,
        )


@commands.add("show port {port} {way:rxq|txq} {queue} desc {descriptor:u16} status")
def show_descriptor(session: Session, port: int, way: str, queue: int, descriptor: int) -> None:
    """Show the state of a descriptor (no driver here tells it)."""
    if one_port_quietly(session, port) is None:
        warn(f"invalid port id {port}")
        return
    warn(f"Invalid input: queue id = {queue}, desc id = {descriptor}", "the driver does not tell of descriptors")


@commands.add("show port {port} rxq {queue} desc used count")
def show_used_count(session: Session, port: int, queue: int) -> None:
    """Show how many descriptors hold received packets that nobody has fetched, where the driver can tell."""
    chosen = one_port_quietly(session, port)
    if chosen is None:
        warn(f"invalid port id {port}")
        return
    try:
        count = chosen.rx_queue_count(queue)
    except ConfigError as error:
        warn(f"Invalid queueid = {queue}", error)
        return
    if count is None:
        warn(f"Invalid queueid = {queue}", "the port is stopped, its peer is away, or the driver cannot tell")
        return
    print(f"Used desc count = {count.used}")


def one_port_quietly(session: Session, number: int) -> Port | None:
    """Return the port of that number, None for a number that is no port."""
    return next((port for port in session.ports.available() if port.id == number), None)
