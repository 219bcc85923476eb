# SPDX-License-Identifier: BSD-3-Clause
"""The forward modes by name, and how each is put together."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from pollmode.eal.jit import compile_now
from pollmode.testpmd.engines.addresses import edit_5tswap, edit_io, edit_mac, edit_macswap, edit_rxonly
from pollmode.testpmd.engines.csum import make_csum
from pollmode.testpmd.engines.generate import make_flowgen, make_txonly
from pollmode.testpmd.engines.icmpecho import edit_icmpecho
from pollmode.testpmd.engines.loop import Edit, Loop, Step, make_forward, make_loop, make_receive, make_send

__all__ = ["Engine", "Features", "make"]


@dataclass(frozen=True)
class Features:
    """What an engine is specialised for.

    `lengths` are those of the segments of a generated packet, `room` the bytes an mbuf holds behind its headroom;
    `*_offload` leave that checksum to the transmit port in mode csum.
    """

    core_cycles: bool = False
    burst_stats: bool = False
    retry: bool = False
    lengths: tuple[int, ...] = (64,)
    room: int = 2048
    txonly_flows: int = 1
    flowgen_flows: int = 1024
    ip_offload: bool = False
    udp_offload: bool = False
    tcp_offload: bool = False


@dataclass(frozen=True)
class Engine:
    """A forward mode ready to run. `to_sender` says that answers leave by the queue's own port."""

    mode: str
    loop: Loop
    generates: bool = False
    to_sender: bool = False
    counts_checksums: bool = False


_EDITS: dict[str, Callable[[Features], Edit]] = {
    "io": lambda features: edit_io,
    "mac": lambda features: edit_mac,
    "macswap": lambda features: edit_macswap,
    "5tswap": lambda features: edit_5tswap,
    "rxonly": lambda features: edit_rxonly,
    "icmpecho": lambda features: edit_icmpecho,
    "csum": lambda features: make_csum(features.ip_offload, features.udp_offload, features.tcp_offload),
}


def _step(mode: str, features: Features) -> Step:
    receive = make_receive(features.burst_stats)
    send = make_send(features.burst_stats, features.retry)
    if mode == "txonly":
        return make_txonly(send, features.lengths, features.txonly_flows, features.room)
    if mode == "flowgen":
        return make_flowgen(receive, send, features.lengths, features.flowgen_flows, features.room)
    return make_forward(receive, _EDITS[mode](features), send)


@functools.cache
def make(mode: str, features: Features) -> Engine:
    """Return the engine of a forward mode (a name of `option_table.MODES`), compiled for exactly these features."""
    loop = make_loop(_step(mode, features), features.core_cycles)
    compile_now(loop, 2)
    return Engine(
        mode,
        loop,
        generates=mode in ("txonly", "flowgen"),
        to_sender=mode == "icmpecho",
        counts_checksums=mode == "csum",
    )
