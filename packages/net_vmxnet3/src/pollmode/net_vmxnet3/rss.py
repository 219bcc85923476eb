# SPDX-License-Identifier: BSD-3-Clause
"""Receive-side scaling as the application wants it: flow types, key, redirection table. A start sets it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pollmode.eal import logs
from pollmode.eal.errors import DeviceFault
from pollmode.ethdev import PortConfig, RssHash, RssType

from .abilities import hash_types, rss_fields, table_size
from .layout import CMD_SET_RSS_FIELDS, CMD_UPDATE_RSSIDT

if TYPE_CHECKING:
    from .hardware import Hardware
    from .shared import Shared

__all__ = ["DEFAULT_KEY", "Rss"]

log = logs.get("pmd.net.vmxnet3.driver")

# Microsoft's example key ("Verifying the RSS hash calculation"), which DPDK's driver uses too.
DEFAULT_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
TCP = RssType.NONFRAG_IPV4_TCP | RssType.NONFRAG_IPV6_TCP


class Rss:
    """RSS of one device; `active` while it was configured for more than one queue."""

    def __init__(self, hardware: Hardware) -> None:
        self._hw = hardware
        self.hash = RssHash(0, DEFAULT_KEY)
        self.table: list[int] = []
        self.active = False

    def configure(self, config: PortConfig, rx_queues: int) -> None:
        """Begin with what the port was configured with, and a table that goes around the queues."""
        self.active = bool(config.rss_hf) and rx_queues > 1
        self.table = [index % rx_queues for index in range(table_size(self._hw.revision))]
        self.hash = RssHash(self._types(config.rss_hf), config.rss_key or DEFAULT_KEY)

    def _types(self, types: int) -> int:
        if self._hw.revision >= 4 and types and types & TCP != TCP:
            log.notice("the device always hashes TCP with revision 4 and later: it is added to the flow types")
            return int(types | TCP)
        return types

    def describe(self, shared: Shared) -> None:
        """Write the configuration into the shared area."""
        if self.active:
            shared.set_rss(hash_types(self.hash.types), self.hash.key, self.table)

    def set_fields(self, shared: Shared) -> None:
        """Tell an active device which fields to hash. Raises DeviceFault when it refuses."""
        if self.active and self._hw.revision >= 4:
            shared.set_rss_fields(rss_fields(self.hash.types))
            if self._hw.command(CMD_SET_RSS_FIELDS) != 0:
                raise DeviceFault(f"the device refuses to hash the flow types {self.hash.types:#x}")

    def change(self, shared: Shared, running: bool, types: int, key: bytes, table: list[int]) -> None:
        """Change everything; when a running device refuses, all is as before and DeviceFault is raised."""
        before = self.hash, self.table
        self.hash, self.table = RssHash(self._types(types), key), table
        if not (running and self.active):
            return
        try:
            self._hand_over(shared)
        except DeviceFault:
            self.hash, self.table = before
            self.describe(shared)
            self._hw.command(CMD_UPDATE_RSSIDT)
            raise

    def _hand_over(self, shared: Shared) -> None:
        self.describe(shared)
        if self._hw.command(CMD_UPDATE_RSSIDT) != 0:
            raise DeviceFault("the device refuses the RSS configuration")
        self.set_fields(shared)
