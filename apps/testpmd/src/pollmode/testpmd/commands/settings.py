# SPDX-License-Identifier: BSD-3-Clause
"""Settings of forwarding: mode, bursts, generated packets, ports and lcores. They count from the next start on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError
from pollmode.eal.lcore import MAX_LCORE
from pollmode.net import mac as net_mac
from pollmode.testpmd.commands.chosen import chosen_queue, one_port, still_running
from pollmode.testpmd.commands.lists import read_list
from pollmode.testpmd.option_table import MODES
from pollmode.testpmd.options import GENERATED_HEADERS
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import explain, warn
from pollmode.testpmd.values import MAX_BURST, MAX_PORTS, MAX_SEGMENTS

__all__ = ["commands"]

commands = Commands("config")

RETRYING = tuple(mode for mode in MODES if mode != "rxonly")
QUEUE_COUNTERS = 16  # RTE_ETHDEV_QUEUE_STAT_CNTRS


def _at_next_start(session: Session) -> None:
    """Say that a change waits, while packets are being forwarded."""
    if session.running:
        explain("forwarding goes on as it was started: stop and start for this to count")


@commands.add("set fwd {mode}", f"set fwd {{mode:{'|'.join(RETRYING)}}} {{retry:retry}}")
def set_mode(session: Session, mode: str, retry: str | None = None) -> None:
    """Choose the forward mode; with retry, what a port does not take is offered again."""
    session.change(forward_mode=mode, retry=retry is not None)
    print(f"Set {mode} packet forwarding mode{' with retry' if retry else ''}")
    _at_next_start(session)


@commands.add("set burst tx delay {microseconds:u32} retry {count:u32}")
def set_retry(session: Session, microseconds: int, count: int) -> None:
    """Choose how often, and how many microseconds apart, set fwd MODE retry offers packets again."""
    session.change(retry_microseconds=microseconds, retry_count=count)
    _at_next_start(session)


@commands.add("set burst {count:u16}")
def set_burst(session: Session, count: int) -> None:
    """Set the packets of a burst."""
    if count > MAX_BURST:
        warn(f"nb pkt per burst: {count} > {MAX_BURST} (maximum packet per burst)  ignored")
        return
    session.change(burst=count)
    print(f"Number of packets per burst set to {count}")
    _at_next_start(session)


@commands.add("set verbose {level:u16}")
def set_verbose(session: Session, level: int) -> None:
    """Print received packets (1), sent ones (2), both (3) or none (0)."""
    print(f"Change verbose level from {session.verbose.level} to {level}", flush=True)
    session.verbose.set(level, session.ports.available())


@commands.add("set nbport {count:u16}")
def set_port_count(session: Session, count: int) -> None:
    """Let only the first of the configured ports forward."""
    most = len(session.selection.ports)
    if count > most:
        warn(f"nb fwd ports {count} > {most} (number of configured ports) - ignored")
        return
    session.selection.nb_ports = count
    print(f"Number of forwarding ports set to {count}")
    session.plan()
    _at_next_start(session)


@commands.add("set nbcore {count:u16}")
def set_core_count(session: Session, count: int) -> None:
    """Let only the first of the configured lcores forward."""
    most = len(session.selection.cores)
    if still_running(session):
        return
    if count > most:
        warn(f"nb fwd cores {count} > {most} (max. number of configured lcores) - ignored")
    else:
        session.selection.nb_cores = count
        print(f"Number of forwarding cores set to {count}")


def _choose_ports(session: Session, ports: Sequence[int]) -> None:
    if session.selection.set_ports(ports, [port.id for port in session.ports.available()]):
        session.plan()


@commands.add("set portlist {ports:list}")
def set_port_list(session: Session, ports: str) -> None:
    """Choose the ports that forward, in order: 0,2,3."""
    if still_running(session):
        return
    chosen = read_list(ports, "port", MAX_PORTS, unique=True)
    if chosen:
        _choose_ports(session, chosen)


@commands.add("set corelist {cores:list}")
def set_core_list(session: Session, cores: str) -> None:
    """Choose the lcores that forward, in order: 1,3."""
    if still_running(session):
        return
    chosen = read_list(cores, "core", MAX_LCORE, unique=True)
    if chosen:
        session.selection.set_cores(chosen)


@commands.add("set portmask {mask:u64}")
def set_port_mask(session: Session, mask: int) -> None:
    """Choose the ports that forward by a mask, such as 0x3."""
    if still_running(session):
        return
    if mask == 0:
        warn("Invalid NULL mask of ports")
    else:
        _choose_ports(session, [port.id for port in session.ports.available() if mask >> port.id & 1])


@commands.add("set coremask {mask:u64}")
def set_core_mask(session: Session, mask: int) -> None:
    """Choose the lcores that forward by a mask, such as 0x3."""
    if still_running(session):
        return
    if mask == 0:
        warn("Invalid NULL mask of cores")
    else:
        session.selection.set_cores([core for core in range(mask.bit_length()) if mask >> core & 1])


@commands.add("set txpkts {lengths:list}")
def set_segments(session: Session, lengths: str) -> None:
    """Set the lengths of a generated packet's segments: 64,128."""
    chosen = read_list(lengths, "segment lengths", MAX_SEGMENTS)
    if not chosen:
        return
    room = session.options.mbuf_size
    for place, length in enumerate(chosen):
        if length > room:
            warn(f"length[{place}]={length} > mbuf_data_size={room} - give up")
            return
    if sum(chosen) < GENERATED_HEADERS:
        warn(f"total packet length={sum(chosen)} < {GENERATED_HEADERS} - give up")
        return
    if chosen[0] < GENERATED_HEADERS or 0 in chosen or max(chosen) > room - 128:
        raise ConfigError(
            f"the first segment holds the headers ({GENERATED_HEADERS} bytes), none is empty, and each fits behind the "
            f"headroom of an mbuf ({room - 128} bytes)"
        )
    session.change(txpkts=tuple(chosen))
    _at_next_start(session)


@commands.add("set eth-peer {port} {address:word}")
def set_peer(session: Session, port: int, address: str) -> None:
    """Set the destination of what forward modes send out of a port."""
    if port not in {known.id for known in session.ports.available()}:
        warn(f"Error: Invalid port number {port}")
        return
    try:
        mac = net_mac.parse(address)
    except ConfigError as error:
        warn(f"Error: Invalid ethernet address: {address}", error)
        return
    session.change(eth_peers={**session.options.eth_peers, port: mac})
    _at_next_start(session)


@commands.add("set flush_rx {state:on|off}")
def set_flush(session: Session, state: str) -> None:
    """Choose whether a start drops what arrived before it."""
    session.change(flush_rx=state == "on")


@commands.add("set link_check {state:on|off}")
def set_link_check(session: Session, state: str) -> None:
    """Choose whether links are looked at when ports are started or stopped."""
    session.change(link_check=state == "on")


@commands.add("set record-core-cycles {state:on|off}")
def set_core_cycles(session: Session, state: str) -> None:
    """Count the cycles spent on packets."""
    session.change(record_core_cycles=state == "on")
    _at_next_start(session)


@commands.add("set record-burst-stats {state:on|off}")
def set_burst_stats(session: Session, state: str) -> None:
    """Count bursts by size."""
    session.change(record_burst_stats=state == "on")
    _at_next_start(session)


@commands.add("set xstats-hide-zero {state:on|off}")
def set_hide_zero(session: Session, state: str) -> None:
    """Leave counters that are zero out of show port xstats."""
    session.hide_zero_xstats = state == "on"


@commands.add("set stat_qmap {way:rx|tx} {port} {queue} {counter:u8}")
def set_queue_counter(session: Session, way: str, port: int, queue: int, counter: int) -> None:
    """Map a queue to a counter of its port (no driver here has such counters: every queue has its own)."""
    if one_port(session, port) is None or not chosen_queue(session, f"{way}q", queue):
        return
    if counter >= QUEUE_COUNTERS:
        warn(f"map_value not in required range 0..{QUEUE_COUNTERS - 1}")
        return
    warn(f"failed to set {way} queue stats mapping.", f"every queue has counters of its own: show port xstats {port}")


@commands.add("set default")
def set_default(session: Session) -> None:
    """Let all ports forward on one lcore, to the default destinations."""
    session.selection.reset([port.id for port in session.ports.available()])
    session.change(eth_peers={})
    print("Reset to default forwarding configuration...")


@commands.add("set log {name:word} {level:u32}")
def set_log(session: Session, name: str, level: int) -> None:
    """Set the level, 1 to 8, of the log types that an expression matches, or of all ("global")."""
    if not 1 <= level <= logs.DEBUG:
        warn("Unable to set log level", f"levels are 1 (emergency) to {logs.DEBUG} (debug)")
        return
    rule = logs.LevelRule("" if name == "global" else name, level, regex=name != "global")
    try:
        re.compile(name)
    except re.error as error:
        warn("Unable to set log level", f"{name}: {error}")
        return
    known = [kind for kind in logs.types() if rule.matches(kind)]
    logs.configure([rule])
    if not known:
        explain(f"no log type matches {name} now; dump_log_types lists them")
