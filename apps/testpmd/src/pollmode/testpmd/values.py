# SPDX-License-Identifier: BSD-3-Clause
"""How the texts of testpmd's options become values, and DPDK's words for those that cannot."""

from __future__ import annotations

import re

from pollmode.eal.errors import ConfigError, UnsupportedError, nearest
from pollmode.eal.grammar import Convert
from pollmode.net import address
from pollmode.net import mac as net_mac

__all__ = [
    "EVENTS",
    "MAX_BURST",
    "MAX_PORTS",
    "MAX_QUEUES",
    "MAX_SEGMENTS",
    "burst",
    "descriptors",
    "eth_peer",
    "event",
    "mac",
    "mask",
    "max_packet_length",
    "mbuf_size",
    "names",
    "port_list",
    "queues",
    "segments",
    "stats_period",
    "topology",
    "total_mbufs",
    "tx_ip",
    "tx_udp",
]

MAX_BURST = 512
MAX_PORTS = 32  # RTE_MAX_ETHPORTS
MAX_QUEUES = 1024  # RTE_MAX_QUEUES_PER_PORT
MAX_SEGMENTS = 255  # RTE_MAX_SEGS_PER_PKT
MIN_FRAME = 64  # RTE_ETHER_MIN_LEN
MAX_FRAME = 65535
MOST_MBUFS = 1 << 30
MAX_DESCRIPTORS = 65535
LEAST_MBUFS = 1024
LONGEST_PERIOD = 1 << 31

EVENTS = (
    "unknown",
    "intr_lsc",
    "queue_state",
    "intr_reset",
    "vf_mbox",
    "macsec",
    "intr_rmv",
    "dev_probed",
    "dev_released",
    "flow_aged",
    "err_recovering",
    "recovery_success",
    "recovery_failed",
    "all",
)


def _number(text: str, message: str) -> int:
    if not re.fullmatch(r"-?[0-9]+", text):
        raise ConfigError(message)
    return int(text)


def stats_period(text: str) -> int:
    """Read a number of seconds; 0 is never."""
    wrong = f"Invalid stats-period value {text!r}, it must be 0 (never) to {LONGEST_PERIOD} seconds"
    period = _number(text, wrong)
    if not 0 <= period <= LONGEST_PERIOD:
        raise ConfigError(wrong)
    return period


def names(text: str) -> tuple[str, ...]:
    """Read names between commas."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise ConfigError(f"display-xstats: {text!r} holds an empty name")
    return found


def event(text: str) -> str:
    """Read the name of an event, or all."""
    if text not in EVENTS:
        raise ConfigError(f"Invalid event {text!r}, it must be one of {', '.join(EVENTS)}{nearest(text, EVENTS)}")
    return text


def mask(message: str) -> Convert:
    """Return a converter of a hexadecimal mask; `message` is its error."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,32}", text):
            raise ConfigError(f"{message}: {text!r} is not hexadecimal")
        return int(text, 16)

    return convert


def port_list(text: str) -> tuple[int, ...]:
    """Read ports and ranges between commas, in order, each once."""
    ports: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if found is None:
            raise ConfigError(f"Invalid portlist: cannot read {part!r} in {text!r}; write 0,2-3")
        ports.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    if not ports or len(set(ports)) != len(ports) or max(ports) >= MAX_PORTS:
        raise ConfigError(f"Invalid portlist {text!r}: ports are 0 to {MAX_PORTS - 1}, each once")
    return tuple(ports)


def topology(text: str) -> str:
    """Read how ports are put together."""
    if text not in ("paired", "chained", "loop"):
        raise ConfigError(f"port-topology {text} invalid - must be: paired, chained or loop")
    return text


def mbuf_size(text: str) -> int:
    """Read the size of an mbuf's buffer."""
    if "," in text:
        raise UnsupportedError(f"--mbuf-size={text} is not supported yet: there is one mbuf pool, give one size")
    size = _number(text, f"bad mbuf-size {text!r}")
    if not 0 < size < 65536:
        raise ConfigError(f"mbuf-size should be > 0 and < 65536, not {text}")
    return size


def total_mbufs(text: str) -> int:
    """Read the number of mbufs."""
    wrong = f"total-num-mbufs should be > {LEAST_MBUFS} and <= {MOST_MBUFS}, not {text}"
    count = _number(text, wrong)
    if not LEAST_MBUFS < count <= MOST_MBUFS:
        raise ConfigError(wrong)
    return count


def max_packet_length(text: str) -> int:
    """Read the longest frame."""
    length = _number(text, f"Invalid max-pkt-len={text} - should be > {MIN_FRAME}")
    if length < MIN_FRAME:
        raise ConfigError(f"Invalid max-pkt-len={length} - should be > {MIN_FRAME}")
    if length > MAX_FRAME:
        raise ConfigError(f"Invalid max-pkt-len={length} - should be <= {MAX_FRAME}")
    return length


def queues(name: str) -> Convert:
    """Return a converter of a number of queues; the port's own limit is checked when the ports are known."""

    def convert(text: str) -> int:
        count = _number(text, f"{name} {text} invalid - must be >= 0 && <= {MAX_QUEUES}")
        if not 0 <= count <= MAX_QUEUES:
            raise ConfigError(f"{name} {count} invalid - must be >= 0 && <= {MAX_QUEUES}")
        return count

    return convert


def descriptors(name: str) -> Convert:
    """Return a converter of a number of descriptors."""

    def convert(text: str) -> int:
        count = _number(text, f"{name}({text}) invalid - must be > 0 and <= {MAX_DESCRIPTORS}")
        if not 0 < count <= MAX_DESCRIPTORS:
            raise ConfigError(f"{name}({count}) invalid - must be > 0 and <= {MAX_DESCRIPTORS}")
        return count

    return convert


def burst(text: str) -> int:
    """Read the size of a burst; 0 is the driver's choice."""
    wrong = f"burst must be between1 and {MAX_BURST}, not {text}"  # DPDK's text, blank missing and all
    count = _number(text, wrong)
    if not 0 <= count <= MAX_BURST:
        raise ConfigError(wrong)
    return count


def mac(text: str) -> bytes:
    """Read six bytes of a MAC address."""
    try:
        return net_mac.parse(text)
    except ConfigError:
        raise ConfigError(f"Invalid ethernet address: {text}") from None


def eth_peer(text: str) -> tuple[int, bytes]:
    """Read a port and the MAC address of its peer."""
    port, comma, address = text.partition(",")
    if not comma or not port.strip().isdigit():
        raise ConfigError(f"eth-peer: {text!r} is not PORT,MAC")
    if int(port) >= MAX_PORTS:
        raise ConfigError(f"eth-peer: port {int(port)} >= RTE_MAX_ETHPORTS({MAX_PORTS})")
    return int(port), mac(address)


def _ipv4(text: str, which: str) -> int:
    try:
        return address.parse_ipv4(text)
    except ConfigError:
        raise ConfigError(f"Invalid {which} IP address: {text}") from None


def tx_ip(text: str) -> tuple[int, int]:
    """Read a source and a destination IPv4 address as numbers."""
    source, comma, destination = text.partition(",")
    found = _ipv4(source, "source")
    if not comma:
        raise ConfigError(f"Missing destination IP address: --tx-ip is {text}, it must be SOURCE,DESTINATION")
    return found, _ipv4(destination, "destination")


def tx_udp(text: str) -> tuple[int, int]:
    """Read a source and a destination UDP port; one port is both."""
    source, comma, destination = text.partition(",")
    ports = (source, destination) if comma else (source, source)
    for port in ports:
        if not port.isdigit() or int(port) > 65535:
            raise ConfigError(f"Invalid UDP port: {port}")
    return int(ports[0]), int(ports[1])


def segments(name: str) -> Convert:
    """Return a converter of lengths between commas."""

    def convert(text: str) -> tuple[int, ...]:
        lengths = text.split(",")
        if not all(length.isdigit() for length in lengths):
            raise ConfigError(f"bad {name}: {text!r} is not a list of lengths such as 64,128")
        if len(lengths) > MAX_SEGMENTS:
            raise ConfigError(f"bad {name}: {len(lengths)} segments, at most {MAX_SEGMENTS}")
        return tuple(int(length) for length in lengths)

    return convert
