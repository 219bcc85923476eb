# SPDX-License-Identifier: BSD-3-Clause
"""testpmd's own command line: from words to `Options`. What depends on ports and cores is checked in `plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.grammar import Grammar
from pollmode.testpmd import values
from pollmode.testpmd.option_table import EXCLUSIONS, OPTIONS, RX_OFFLOAD_OPTIONS

__all__ = ["DEFAULT_EVENTS", "GENERATED_HEADERS", "Options", "Thresholds", "check_shares", "parse"]

GENERATED_HEADERS = 42
"""Bytes of the Ethernet, IPv4 and UDP headers that txonly and flowgen write."""

DEFAULT_EVENTS = frozenset(
    {"unknown", "intr_lsc", "intr_reset", "intr_rmv", "err_recovering"}
    | {
        "recovery_success",
        "recovery_failed",
        "macsec",
        "flow_aged",
    }
)
"""Events printed unless masked: testpmd's event_print_mask."""

ETHER_OVERHEAD = 18


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of one direction's queues; 0 is the driver's choice."""

    pthresh: int = 0
    hthresh: int = 0
    wthresh: int = 0
    free: int = 0
    rs: int = 0


@dataclass(frozen=True)
class Options:
    """What testpmd's command line said; the defaults are DPDK's. None means that nothing was said."""

    help: bool = False
    interactive: bool = False
    auto_start: bool = False
    tui: bool = False
    command_files: tuple[tuple[str, bool], ...] = ()
    device_start: bool = True
    tx_first: int = 0
    stats_period: int = 0
    display_xstats: tuple[str, ...] = ()
    link_check: bool = True
    lsc_interrupt: bool = True
    rmv_interrupt: bool = True
    events: frozenset[str] = DEFAULT_EVENTS
    nb_cores: int | None = None
    nb_ports: int | None = None
    coremask: int | None = None
    ports: tuple[int, ...] | None = None
    numa: bool = True
    port_topology: str = "paired"
    mbuf_size: int = 2048 + 128
    total_num_mbufs: int | None = None
    mbcache: int = 250
    max_pkt_len: int | None = None
    forward_mode: str = "io"
    eth_peers: Mapping[int, bytes] = field(default_factory=dict)
    tx_ip: tuple[int, int] = (0xC6120001, 0xC6120002)
    tx_udp: tuple[int, int] = (9, 9)
    txpkts: tuple[int, ...] = (64,)
    txonly_flows: int = 1
    flowgen_flows: int = 1024
    retry: bool = False
    retry_count: int = 64
    retry_microseconds: int = 1
    rxq: int = 1
    txq: int = 1
    rxd: int | None = None
    txd: int | None = None
    burst: int = 32
    rx_thresholds: Thresholds = Thresholds()
    tx_thresholds: Thresholds = Thresholds()
    flush_rx: bool = True
    rx_offload_names: tuple[str, ...] = ()
    rx_offloads: int = 0
    tx_offloads: int = 0
    drop: bool = False
    record_core_cycles: bool = False
    record_burst_stats: bool = False
    num_procs: int = 1
    proc_id: int = 0

    @property
    def packet_length(self) -> int:
        """Bytes of a generated packet."""
        return sum(self.txpkts)

    @property
    def mtu(self) -> int:
        """The MTU that --max-pkt-len asks for, 0 for the device's own."""
        return 0 if self.max_pkt_len is None else self.max_pkt_len - ETHER_OVERHEAD


_SAME_NAME = (
    "stats-period",
    "display-xstats",
    "nb-cores",
    "nb-ports",
    "coremask",
    "port-topology",
    "mbuf-size",
    "total-num-mbufs",
    "mbcache",
    "max-pkt-len",
    "forward-mode",
    "tx-ip",
    "tx-udp",
    "txpkts",
    "flowgen-flows",
    "retry",
    "rxq",
    "txq",
    "rxd",
    "txd",
    "burst",
    "rx-offloads",
    "tx-offloads",
    "tx-first",
    "record-core-cycles",
    "record-burst-stats",
    "num-procs",
    "proc-id",
)


def parse(words: Sequence[str]) -> Options:
    """Parse the application's words. Raises ConfigError and UnsupportedError."""
    given = Grammar(OPTIONS).parse(words)
    if "help" in given:
        return Options(help=True)
    for one, other in EXCLUSIONS:
        if one in given and other in given:
            raise ConfigError(f"Invalid option combination, {one} and {other}")
    same: dict[str, Any] = {key.replace("-", "_"): given[key] for key in _SAME_NAME if key in given}
    offloads = [name for key, names in RX_OFFLOAD_OPTIONS.items() if key in given for name in names]
    options = Options(
        interactive="interactive" in given,
        auto_start="auto-start" in given,
        tui="tui" in given,
        command_files=_command_files(given),
        device_start="disable-device-start" not in given,
        link_check="disable-link-check" not in given,
        lsc_interrupt="no-lsc-interrupt" not in given,
        rmv_interrupt="no-rmv-interrupt" not in given,
        events=_events(given),
        ports=_ports(given),
        numa="no-numa" not in given,
        eth_peers=_eth_peers(given),
        txonly_flows=_txonly_flows(given),
        rx_thresholds=_thresholds(given, "rx"),
        tx_thresholds=_thresholds(given, "tx"),
        flush_rx="no-flush-rx" not in given,
        rx_offload_names=tuple(dict.fromkeys(offloads)),
        drop="enable-drop-en" in given,
        **same,
    )
    _check(options)
    return options


def _command_files(given: dict[str, Any]) -> tuple[tuple[str, bool], ...]:
    """Return the files of commands, those that are echoed first."""
    keys = (("cmdline-file", True), ("cmdline-file-noecho", False))
    return tuple((path, echo) for key, echo in keys for path in given.get(key, ()))


def check_shares(options: Options) -> None:
    """Raise ConfigError when a primary process has fewer queues than processes are to share them."""
    if options.num_procs > max(1, min(options.rxq, options.txq)):
        there = f"there are rxq={options.rxq} and txq={options.txq}"
        raise ConfigError(f"num-procs {options.num_procs}: each process needs a queue, {there}")


def _check(options: Options) -> None:
    if options.interactive and options.tx_first:
        raise ConfigError("--tx-first cannot be used on interactive mode; type start tx_first")
    if options.rxq == 0 and options.txq == 0:
        raise ConfigError("Either rx or tx queues should be non-zero")
    if options.proc_id >= options.num_procs:
        raise ConfigError(f"proc-id {options.proc_id} must be below num-procs {options.num_procs}")
    if options.packet_length < GENERATED_HEADERS:
        raise ConfigError(f"total packet length={options.packet_length} < {GENERATED_HEADERS} - give up: --txpkts")
    for place, length in enumerate(options.txpkts):
        room = options.mbuf_size - 128  # the headroom stays free
        if length > room:
            raise ConfigError(f"length[{place}]={length} > mbuf_data_size={room} - give up: --txpkts, --mbuf-size")
    if options.txpkts[0] < GENERATED_HEADERS:
        raise ConfigError(f"bad txpkts: the first segment must hold the headers, {GENERATED_HEADERS} bytes")
    if 0 in options.txpkts:
        raise ConfigError("bad txpkts: a segment must not be empty")


def _events(given: dict[str, Any]) -> frozenset[str]:
    printed = set(DEFAULT_EVENTS)
    for name in given.get("print-event", ()):
        printed |= set(values.EVENTS) if name == "all" else {name}
    for name in given.get("mask-event", ()):
        printed -= set(values.EVENTS) if name == "all" else {name}
    return frozenset(printed)


def _ports(given: dict[str, Any]) -> tuple[int, ...] | None:
    if "portlist" in given:
        listed: tuple[int, ...] = given["portlist"]
        return listed
    if "portmask" not in given:
        return None
    mask = given["portmask"]
    if not 0 < mask < 1 << values.MAX_PORTS:
        raise ConfigError(f"Invalid fwd port mask: {mask:#x}, ports are 0 to {values.MAX_PORTS - 1}")
    return tuple(port for port in range(values.MAX_PORTS) if mask >> port & 1)


def _txonly_flows(given: dict[str, Any]) -> int:
    if "txonly-multi-flow" in given:
        return int(given.get("txonly-flows", 64))
    if "txonly-flows" in given:
        raise ConfigError("txonly-flows needs --txonly-multi-flow")
    return 1


def _thresholds(given: dict[str, Any], way: str) -> Thresholds:
    prefetch, host, write_back, free, status = (given.get(way + end, 0) for end in ("pt", "ht", "wt", "freet", "rst"))
    return Thresholds(prefetch, host, write_back, free, status)


def _eth_peers(given: dict[str, Any]) -> dict[int, bytes]:
    if "eth-peers-configfile" in given:
        return _read_peers(given["eth-peers-configfile"])
    return dict(given.get("eth-peer", ()))


def _read_peers(path: str) -> dict[int, bytes]:
    try:
        with open(path, encoding="ascii") as file:
            lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(
            f"Failed to open eth config file {path!r}: {error}", errno=getattr(error, "errno", None)
        ) from None
    if len(lines) > values.MAX_PORTS:
        raise ConfigError(f"{path}: {len(lines)} addresses, at most {values.MAX_PORTS}")
    return {port: values.mac(line) for port, line in enumerate(lines)}
