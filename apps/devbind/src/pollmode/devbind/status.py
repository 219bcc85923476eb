# SPDX-License-Identifier: BSD-3-Clause
"""What devices are bound to, line by line as dpdk-devbind.py prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pollmode.devbind.inventory import Entry, Inventory
from pollmode.host_report.pci_devices import KINDS, NET

__all__ = ["status"]


def status(inventory: Inventory, kinds: Iterable[str]) -> Iterator[str]:
    """Yield the lines for some of host_report's KINDS."""
    for kind in kinds:
        yield from _kind(inventory, kind)


def _kind(inventory: Inventory, kind: str) -> Iterator[str]:
    title = KINDS[kind]
    entries = inventory.of_kind(kind)
    if not entries:
        yield from _heading(f"No '{title}' devices detected")
        return
    # A device without a node takes the column from all of its kind.
    has_nodes = all(entry.device.numa_node >= 0 for entry in entries)
    blocks: tuple[tuple[str, Callable[[Entry], bool]], ...] = (
        (f"{title} devices using DPDK-compatible driver", lambda entry: entry.device.driver in inventory.passthrough),
        (f"{title} devices using kernel driver", lambda entry: _has_kernel_driver(inventory, entry)),
        (f"Other {title} devices", lambda entry: not entry.device.driver),
    )
    for heading, belongs in blocks:
        chosen = [entry for entry in entries if belongs(entry)]
        if chosen:
            yield from _heading(heading)
            yield from sorted(_line(inventory, entry, kind, has_nodes) for entry in chosen)


def _has_kernel_driver(inventory: Inventory, entry: Entry) -> bool:
    return bool(entry.device.driver) and entry.device.driver not in inventory.passthrough


def _heading(text: str) -> tuple[str, str, str]:
    return "", text, "=" * len(text)


def _line(inventory: Inventory, entry: Entry, kind: str, has_nodes: bool) -> str:
    device = entry.device
    in_kernel = _has_kernel_driver(inventory, entry)
    words = [device.address, f"'{entry.name} {device.ids.partition(':')[2]}'"]
    words += [f"numa_node={device.numa_node}"] if has_nodes else []
    words += [f"if={','.join(device.interfaces)}"] if in_kernel and kind == NET else []
    words += [f"drv={device.driver}"] if device.driver else []
    words += [f"unused={','.join(entry.unused)}"]
    if in_kernel:  # DPDK's line ends with the blank before a mark that is not there
        words += ["*Active*" if entry.active_itself and kind == NET else ""]
    return " ".join(words)
