# SPDX-License-Identifier: BSD-3-Clause
"""Receive side scaling: the prompt does not change it yet, which is told in DPDK's words."""

from __future__ import annotations

import errno

from pollmode.ethdev import Port
from pollmode.testpmd.commands.chosen import one_port
from pollmode.testpmd.describe import RSS_TYPES
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn

__all__ = ["commands"]

commands = Commands("config")

TYPE_NAMES = "|".join(RSS_TYPES.values())
# Flow types by bit that a name of a group stands for (testpmd's rss_type_table); the others ask for no flow type.
GROUPS = {
    "ip": (2, 3, 7, 8, 9, 13, 15),
    "udp": (5, 11, 17),
    "tcp": (4, 10, 16),
    "sctp": (6, 12),
    "tunnel": (19, 20, 21),
    "vlan": (25, 26),
}
EVERY_FLOW = (*range(2, 18), *range(23, 31), 32, 33, 36)
NO_FLOWS = ("none", "default", "level-default", "level-outer", "level-inner")
KNOWN = ("all", *NO_FLOWS, *GROUPS, *RSS_TYPES.values())
FLOW_TYPES = 64
LARGEST_TABLE = 512


def _why(port: Port) -> str:
    if port.info().flow_type_rss_offloads == 0:
        return f"driver {port.device.driver_name} does not spread packets by hash"
    return "this prompt does not show or change RSS yet; a program can, with Port.set_rss_hash and Port.set_reta"


def _asked(types: str) -> int | None:
    """Return the flow types, as bits, that a name or a number asks for; None for a number that is none of a flow."""
    if types in NO_FLOWS:
        return 0
    if types.isdecimal():
        return 1 << int(types) if 0 < int(types) < FLOW_TYPES else None
    single = tuple(bit for bit, name in RSS_TYPES.items() if name == types)
    return sum(1 << bit for bit in (EVERY_FLOW if types == "all" else GROUPS.get(types, single)))


@commands.add(
    f"port config all rss {{types:{'|'.join(KNOWN)}}}",
    "port config all rss {types:word}",
)
def config_rss(session: Session, types: str) -> None:
    """Choose the flow types that packets are spread by."""
    if not types.isdecimal() and types not in KNOWN:
        warn("Unknown parameter")
        return
    if (asked := _asked(types)) is None:
        warn(f"flowtype_id should be greater than 0 and less than {FLOW_TYPES}.")
        return
    for port in session.ports.available():
        configured = asked & port.info().flow_type_rss_offloads
        if configured != asked:
            print(
                f"Port {port.id} modified RSS hash function based on hardware support,"
                f"requested:{asked:#x} configured:{configured:{'#' if configured else ''}x}"
            )
        warn(
            "Multi-queue RSS mode isn't enabled.\n"
            f"Configuration of RSS hash at ethernet port {port.id} failed with error ({errno.EOPNOTSUPP}): "
            f"Operation not supported.",
            _why(port),
        )


@commands.add("port config {port} rss reta {entries:rest}")
def config_table(session: Session, port: int, entries: str) -> None:
    """Set entries of a port's redirection table: (hash,queue)[,(hash,queue)]."""
    if (chosen := one_port(session, port, "{} info")) is not None:
        _tell_no_table(chosen)


def _tell_no_table(port: Port) -> None:
    size = port.info().reta_size
    if size == 0:
        warn("Redirection table size is 0 which is invalid for RSS", _why(port))
        return
    print(f"The reta size of port {port.id} is {size}")
    warn(f"Bad redirection table parameter, return code = -{errno.EOPNOTSUPP}", _why(port))


@commands.add(f"port config {{port}} rss-hash-key {{kind:{TYPE_NAMES}}} {{key:rest}}")
def config_key(session: Session, port: int, kind: str, key: str) -> None:
    """Set a port's hash key, in hexadecimal."""
    if (chosen := one_port(session, port, "{} info")) is None:
        return
    size = chosen.info().hash_key_size
    if size == 0:
        warn("dev_info did not provide a valid hash key size", _why(chosen))
    elif len(key) != 2 * size:
        warn(f"key length: {len(key)} invalid - key must be a string of {2 * size} hexa-decimal numbers")
    else:
        warn("Operation not supported", _why(chosen))


@commands.add("show port {port} rss reta {size:u16} {masks:rest}")
def show_table(session: Session, port: int, size: int, masks: str) -> None:
    """Show entries of a port's redirection table."""
    if (chosen := one_port(session, port, "{} info")) is None:
        return
    most = min(chosen.info().reta_size, LARGEST_TABLE)
    if not 0 < size <= most:
        warn(f"Invalid redirection table size: {size} (1-{most})", _why(chosen))
    else:
        warn(f"Failed to get RSS RETA info, return code = -{errno.EOPNOTSUPP}", _why(chosen))


@commands.add("show port {port} rss-hash", "show port {port} rss-hash {key:key}")
def show_hash(session: Session, port: int, key: str | None = None) -> None:
    """Show a port's hash functions, and its key."""
    if (chosen := one_port(session, port)) is None:
        return
    if chosen.info().hash_key_size == 0:
        warn("dev_info did not provide a valid hash key size", _why(chosen))
    else:
        warn("operation not supported by device", _why(chosen))
