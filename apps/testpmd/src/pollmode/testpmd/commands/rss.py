# SPDX-License-Identifier: BSD-3-Clause
"""Receive side scaling: no driver of this release spreads packets by hash, which is told in DPDK's words."""

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

NO_RSS = "the driver does not spread packets by hash"
TYPE_NAMES = "|".join(RSS_TYPES.values())
GROUPS = "all|default|none|level-default|level-outer|level-inner|ip|tcp|udp|sctp|tunnel|vlan"
LARGEST_TABLE = 512


@commands.add(f"port config all rss {{types:{GROUPS}|{TYPE_NAMES}}}")
def config_rss(session: Session, types: str) -> None:
    """Choose the flow types that packets are spread by."""
    for port in session.ports.available():
        warn(
            "Multi-queue RSS mode isn't enabled.\n"
            f"Configuration of RSS hash at ethernet port {port.id} failed with error ({errno.EOPNOTSUPP}): "
            f"Operation not supported.",
            NO_RSS,
        )


@commands.add("port config {port} rss reta {entries:rest}")
def config_table(session: Session, port: int, entries: str) -> None:
    """Set entries of a port's redirection table: (hash,queue)[,(hash,queue)]."""
    if (chosen := one_port(session, port)) is not None:
        _tell_no_table(chosen)


def _tell_no_table(port: Port) -> None:
    size = port.info().reta_size
    if size == 0:
        warn("Redirection table size is 0 which is invalid for RSS", NO_RSS)
        return
    print(f"The reta size of port {port.id} is {size}")
    warn(f"Bad redirection table parameter, return code = -{errno.EOPNOTSUPP}", NO_RSS)


@commands.add(f"port config {{port}} rss-hash-key {{kind:{TYPE_NAMES}}} {{key:rest}}")
def config_key(session: Session, port: int, kind: str, key: str) -> None:
    """Set a port's hash key, in hexadecimal."""
    if (chosen := one_port(session, port)) is None:
        return
    size = chosen.info().hash_key_size
    if size == 0:
        warn("dev_info did not provide a valid hash key size", NO_RSS)
    elif len(key) != 2 * size:
        warn(f"key length: {len(key)} invalid - key must be a string of {2 * size} hexa-decimal numbers")
    else:
        warn("Operation not supported", NO_RSS)


@commands.add("show port {port} rss reta {size:u16} {masks:rest}")
def show_table(session: Session, port: int, size: int, masks: str) -> None:
    """Show entries of a port's redirection table."""
    if (chosen := one_port(session, port)) is None:
        return
    most = min(chosen.info().reta_size, LARGEST_TABLE)
    if not 0 < size <= most:
        warn(f"Invalid redirection table size: {size} (1-{most})", NO_RSS)
    else:
        warn(f"Failed to get RSS RETA info, return code = -{errno.EOPNOTSUPP}", NO_RSS)


@commands.add("show port {port} rss-hash", "show port {port} rss-hash {key:key}")
def show_hash(session: Session, port: int, key: str | None = None) -> None:
    """Show a port's hash functions, and its key."""
    if (chosen := one_port(session, port)) is None:
        return
    if chosen.info().hash_key_size == 0:
        warn("dev_info did not provide a valid hash key size", NO_RSS)
    else:
        warn("operation not supported by device", NO_RSS)
