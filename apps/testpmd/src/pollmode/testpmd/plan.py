# SPDX-License-Identifier: BSD-3-Clause
"""Who forwards what: ports, cores and streams, from the options and from what there is. Plain arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pollmode.eal.errors import ConfigError
from pollmode.testpmd.options import Options

__all__ = [
    "CorePlan",
    "Plan",
    "Stream",
    "check_mode",
    "forwarding_cores",
    "forwarding_ports",
    "plan_streams",
    "transmit_port",
]


@dataclass(frozen=True)
class Stream:
    """What arrives at one receive queue leaves by one transmit queue, to `peer`."""

    rx_port: int
    rx_queue: int
    tx_port: int
    tx_queue: int
    peer: bytes


@dataclass(frozen=True)
class CorePlan:
    """The streams of one lcore."""

    lcore: int
    streams: tuple[Stream, ...]


@dataclass(frozen=True)
class Plan:
    """The forwarding ports in order, and what each lcore does."""

    ports: tuple[int, ...]
    cores: tuple[CorePlan, ...]

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All streams, in the order of their lcores."""
        return tuple(stream for core in self.cores for stream in core.streams)


def check_mode(options: Options) -> None:
    """Raise ConfigError when the forward mode needs queues that there are none of."""
    mode = options.forward_mode
    if (mode == "rxonly" and not options.rxq) or (mode == "txonly" and not options.txq):
        raise ConfigError(f"{mode[:2]}q are 0, cannot use {mode} fwd mode")
    if mode not in ("rxonly", "txonly") and not (options.rxq and options.txq):
        raise ConfigError(f"Either rxq or txq are 0, cannot use {mode} fwd mode")


def forwarding_ports(options: Options, available: Sequence[int]) -> tuple[int, ...]:
    """Return the ports that forward. Raises ConfigError for one that is not there."""
    chosen = tuple(options.ports if options.ports is not None else available)
    for port in chosen:
        if port not in available:
            raise ConfigError(f"Invalid port {port}. The valid ports array is [ {' '.join(map(str, available))} ]")
    if options.nb_ports is not None:
        if not 0 < options.nb_ports <= len(chosen):
            raise ConfigError(f"Invalid port {options.nb_ports}: nb-ports must be > 0 and <= {len(chosen)}")
        chosen = chosen[: options.nb_ports]
    return chosen


def forwarding_cores(options: Options, main: int, workers: Sequence[int]) -> tuple[int, ...]:
    """Return the lcores that forward: workers, or the main lcore where it is the only one.

    DPDK keeps the main lcore for its prompt; here the prompt's thread is no lcore's, so a single core suffices.
    """
    enabled = tuple(workers) or (main,)
    if options.coremask is not None:
        return _cores_of_mask(options.coremask, main, enabled)
    count = 1 if options.nb_cores is None else options.nb_cores
    if not 0 < count <= len(enabled):
        raise ConfigError(f"nb-cores should be > 0 and <= {len(enabled)}")
    return enabled[:count]


def _cores_of_mask(mask: int, main: int, enabled: tuple[int, ...]) -> tuple[int, ...]:
    if mask == 0:
        raise ConfigError("Invalid fwd core mask: it names no core")
    cores = tuple(core for core in range(mask.bit_length()) if mask >> core & 1)
    for core in cores:
        if core not in enabled:
            why = "is the main lcore and does not forward" if core == main else "is not enabled; see -l"
            raise ConfigError(f"coremask is not valid: lcore {core} {why}")
    return cores


def transmit_port(topology: str, place: int, count: int) -> int:
    """Return the place, among `count` forwarding ports, of the port that the one at `place` sends to."""
    if topology == "loop":
        return place
    if topology == "chained":
        return (place + 1) % count
    partner = place ^ 1
    return partner if partner < count else place


def default_peer(port: int) -> bytes:
    """Return testpmd's destination for what goes out of a port: 02:00:00:00:00:<port>."""
    return bytes((2, 0, 0, 0, 0, port))


def plan_streams(options: Options, ports: Sequence[int], cores: Sequence[int], *, to_sender: bool = False) -> Plan:
    """Pair queues and share the streams among cores, in DPDK's order; with `to_sender` each port answers by itself.

    Of several processes each has its share of the queues."""
    queues = max(1, min(options.rxq, options.txq))
    topology = "loop" if to_sender else options.port_topology
    streams = []
    first, end = (queues * process // options.num_procs for process in (options.proc_id, options.proc_id + 1))
    for queue in range(first, end):
        for place, port in enumerate(ports):
            out = ports[transmit_port(topology, place, len(ports))]
            peer = options.eth_peers.get(out, default_peer(out))
            streams.append(Stream(port, queue, out, queue, peer))
    return Plan(tuple(ports), _share(streams, cores))


def _share(streams: list[Stream], cores: Sequence[int]) -> tuple[CorePlan, ...]:
    """Give each core as many streams as the others; what is left over goes to the last ones, as in DPDK."""
    used = cores[: len(streams)]
    if not used:
        return ()
    each, rest = divmod(len(streams), len(used))
    shared, start = [], 0
    for place, core in enumerate(used):
        end = start + each + (place >= len(used) - rest)
        shared.append(CorePlan(core, tuple(streams[start:end])))
        start = end
    return tuple(shared)
