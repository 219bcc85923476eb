# SPDX-License-Identifier: BSD-3-Clause
"""What ports are to be configured as at their next start, and what of it can change at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pollmode.eal.errors import ConfigError, PollmodeError
from pollmode.ethdev import Port, State
from pollmode.testpmd.bringup import check_queues
from pollmode.testpmd.commands.chosen import one_port
from pollmode.testpmd.options import Thresholds
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn
from pollmode.testpmd.values import MAX_BURST, MIN_FRAME

__all__ = ["commands"]

commands = Commands("ports")

THRESHOLDS = {
    "rxpt": ("rx", "pthresh"),
    "rxht": ("rx", "hthresh"),
    "rxwt": ("rx", "wthresh"),
    "rxfreet": ("rx", "free"),
    "txpt": ("tx", "pthresh"),
    "txht": ("tx", "hthresh"),
    "txwt": ("tx", "wthresh"),
    "txfreet": ("tx", "free"),
    "txrst": ("tx", "rs"),
}
ETHERNET_OVERHEAD = 18


def _all_stopped(session: Session) -> bool:
    if any(port.state is State.STARTED for port in session.ports.available()):
        warn("Please stop all ports first")
        return False
    return True


@commands.add("port config all {what:rxq|txq} {count:u16}")
def config_queues(session: Session, what: str, count: int) -> None:
    """Set the number of receive or transmit queues of every port."""
    if not _all_stopped(session):
        return
    changed: dict[str, Any] = {what: count}
    wanted = replace(session.options, **changed)
    if wanted.rxq == wanted.txq == 0:
        warn("Warning: Either rx or tx queues should be non zero")
        return
    try:
        check_queues(wanted, session.ports.available())
    except ConfigError as error:
        warn(str(error).rpartition(": ")[0])
        return
    session.change(**{what: count})
    session.renew_setups()


@commands.add("port config all {what:rxd|txd} {count:u16}")
def config_descriptors(session: Session, what: str, count: int) -> None:
    """Set the number of descriptors of every receive or transmit queue; 0 is the driver's choice."""
    if not _all_stopped(session):
        return
    for port in session.ports.available():
        limits = port.info().rx_desc_lim if what == "rxd" else port.info().tx_desc_lim
        if limits.maximum and count > limits.maximum:
            warn(f"Fail: input {what} ({count}) can't be greater than max_{what}s ({limits.maximum}) of port {port.id}")
            return
        if 0 < count < limits.minimum:
            warn(f"Fail: input {what} ({count}) can't be less than min_{what}s ({limits.minimum}) of port {port.id}")
            return
    session.change(**{what: count or None})
    session.renew_setups()


@commands.add(f"port config all {{what:{'|'.join(THRESHOLDS)}}} {{value:u16}}")
def config_threshold(session: Session, what: str, value: int) -> None:
    """Set a threshold of every queue; 0 is the driver's choice."""
    if not _all_stopped(session):
        return
    way, field = THRESHOLDS[what]
    present: Thresholds = getattr(session.options, f"{way}_thresholds")
    session.change(**{f"{way}_thresholds": replace(present, **{field: value})})
    session.renew_setups()


@commands.add("port config all burst {count:u16}")
def config_burst(session: Session, count: int) -> None:
    """Set the packets of a burst; 0 is the driver's choice."""
    if not _all_stopped(session):
        return
    if count > MAX_BURST:
        warn(f"burst must be >= 1 && <= {MAX_BURST}")
        return
    if count == 0:
        ports = session.ports.available()
        advice = ports[0].info().default_rx_burst_size if ports else 0
        if advice == 0:
            print(f"PMD does not recommend a burst size.\nUser provided value must be between 1 and {MAX_BURST}")
            return
        count = min(advice, MAX_BURST)
        print(f"Using PMD-provided burst value of {count}")
    session.change(burst=count)


@commands.add("port config all drop-en {state:on|off}")
def config_drop(session: Session, state: str) -> None:
    """Choose whether a receive queue without descriptors drops packets."""
    if _all_stopped(session):
        session.change(drop=state == "on")
        session.renew_setups()


@commands.add("port config all max-pkt-len {length:u32}")
def config_max_packet_length(session: Session, length: int) -> None:
    """Set the longest frame of every port, in bytes."""
    if not _all_stopped(session):
        return
    if length < MIN_FRAME:
        warn(f"max-pkt-len can not be less than {MIN_FRAME}")
        return
    session.change(max_pkt_len=length)
    session.renew_setups()


@commands.add("port config mtu {port} {mtu:u16}")
def config_mtu(session: Session, port: int, mtu: int) -> None:
    """Set the MTU of a port, in bytes."""
    chosen = one_port(session, port)
    if chosen is None:
        return
    info = chosen.info()
    if mtu < info.min_mtu:
        warn(f"MTU ({mtu}) < device min MTU ({info.min_mtu}) for port_id {port}")
    elif mtu > info.max_mtu:
        warn(f"MTU ({mtu}) > device max MTU ({info.max_mtu}) for port_id {port}")
    elif mtu + ETHERNET_OVERHEAD > info.max_rx_pktlen:
        warn(
            f"Frame size ({mtu + ETHERNET_OVERHEAD}) > device max frame size ({info.max_rx_pktlen}) for port_id {port}"
        )
    else:
        _set_mtu(session, chosen, mtu)


def _set_mtu(session: Session, port: Port, mtu: int) -> None:
    setup = session.bringup[port]
    if not setup.reconfigure or session.environment.primary is not None:
        try:
            port.set_mtu(mtu)
        except PollmodeError as error:
            warn(f"Set MTU failed. diag={-error.errno}", error)
            return
    setup.mtu = mtu
