# SPDX-License-Identifier: BSD-3-Clause
"""Ports made ready to move packets: the pool they share, each one's configuration and queues.

What a port is to be configured as stands in its `PortSetup`; commands change it, and the port's next start applies it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError
from pollmode.ethdev import DeviceInfo, Port, PortConfig, QueueConfig, RxOffload, State, TxOffload
from pollmode.mbuf import Mempool, create_pool
from pollmode.testpmd.options import Options, Thresholds
from pollmode.testpmd.report import PortConfigLines
from pollmode.testpmd.secondary import primary_pool
from pollmode.testpmd.values import MAX_BURST

__all__ = ["Bringup", "PortSetup", "QueueSetup", "burst_size", "check_queues"]

LEAST_MBUFS = 8192
PROMPT_ROOM = 2
"""How many times what the ports need the pool of an interactive session is: ports come and grow while it runs."""


@dataclass
class QueueSetup:
    """What a queue is to be; the offloads are those beyond its port's."""

    descriptors: int
    thresholds: Thresholds
    drop: bool = False
    deferred: bool = False
    offloads: int = 0

    def config(self) -> QueueConfig:
        """Return what ethdev is asked for."""
        values = self.thresholds
        return QueueConfig(
            offloads=self.offloads,
            free_threshold=values.free,
            rs_threshold=values.rs,
            pthresh=values.pthresh,
            hthresh=values.hthresh,
            wthresh=values.wthresh,
            drop=self.drop,
            deferred_start=self.deferred,
        )


@dataclass
class PortSetup:
    """What a port is to be; `reconfigure` and `renew_queues` say that it is not so yet."""

    rx: list[QueueSetup]
    tx: list[QueueSetup]
    rx_offloads: int
    tx_offloads: int
    mtu: int
    lsc: bool
    rmv: bool
    reconfigure: bool = True
    renew_queues: bool = True

    def config(self) -> PortConfig:
        """Return what ethdev is asked for."""
        return PortConfig(
            rx_offloads=self.rx_offloads, tx_offloads=self.tx_offloads, mtu=self.mtu, lsc=self.lsc, rmv=self.rmv
        )


def burst_size(options: Options, ports: Sequence[Port]) -> int:
    """Return the packets of a burst. Raises ConfigError when the drivers are asked and have no advice."""
    if options.burst:
        return options.burst
    advice = [port.info().default_rx_burst_size for port in ports]
    if not advice or min(advice) == 0:
        raise ConfigError(f"PMD does not recommend a burst size. Provided value must be between 1 and {MAX_BURST}")
    return min(*advice, MAX_BURST)


def check_queues(options: Options, ports: Sequence[Port]) -> None:
    """Raise ConfigError, in DPDK's words, when a port has fewer queues than are asked for."""
    for name, asked, field in (("rxq", options.rxq, "max_rx_queues"), ("txq", options.txq, "max_tx_queues")):
        for port in ports:
            most = getattr(port.info(), field)
            if asked > most:
                raise ConfigError(
                    f"Fail: input {name} ({asked}) can't be greater than {field} ({most}) of port {port.id}: "
                    f"{name} {asked} invalid - must be >= 0 && <= {most}"
                )


def _setup(options: Options, info: DeviceInfo) -> PortSetup:
    rx = options.rx_offloads
    for name in options.rx_offload_names:
        rx |= RxOffload[name]
    # One pool, no clones: what the driver frees may go straight back. DPDK's testpmd asks for it too.
    tx = options.tx_offloads | (TxOffload.MBUF_FAST_FREE & info.tx_offload_capa)
    if len(options.txpkts) > 1 and options.forward_mode in ("txonly", "flowgen"):
        tx |= TxOffload.MULTI_SEGS & info.tx_offload_capa
    rxd, txd = options.rxd or info.default_rx_ring_size, options.txd or info.default_tx_ring_size
    return PortSetup(
        rx=[QueueSetup(rxd, options.rx_thresholds, options.drop) for _ in range(options.rxq)],
        tx=[QueueSetup(txd, options.tx_thresholds) for _ in range(options.txq)],
        rx_offloads=int(rx),
        tx_offloads=int(tx),
        mtu=options.mtu,
        lsc=options.lsc_interrupt and info.lsc,
        rmv=options.rmv_interrupt and info.rmv,
    )


class Bringup:
    """The set-ups of a session's ports, and the pool they share."""

    def __init__(self, environment: Environment, ports: Sequence[Port], options: Options) -> None:
        check_queues(options, ports)
        self._environment = environment
        self._setups: dict[Port, PortSetup] = {}
        for port in ports:
            self.renew(port, options)
        self.pool = self._make_pool(options) if environment.primary is None else primary_pool(environment.memory)
        self.doing = ""

    def __getitem__(self, port: Port) -> PortSetup:
        return self._setups[port]

    def renew(self, port: Port, options: Options) -> PortSetup:
        """Set a port up as the options say, from its next start on."""
        setup = self._setups[port] = _setup(options, port.info())
        return setup

    def forget(self, port: Port) -> None:
        """Drop the set-up of a port that is gone."""
        self._setups.pop(port, None)

    def _make_pool(self, options: Options) -> Mempool:
        count = options.total_num_mbufs or self._needed_mbufs(options)
        name = "mb_pool_0"
        print(f"testpmd: create a new mbuf pool <{name}>: n={count}, size={options.mbuf_size}, socket=0")
        memory = self._environment.memory
        return create_pool(memory, name, count, cache_size=options.mbcache, data_room=options.mbuf_size)

    def _needed_mbufs(self, options: Options) -> int:
        """Return enough to fill every ring, every lcore's cache (1.5 times its size) and a burst on each."""
        rings = sum(queue.descriptors for setup in self._setups.values() for queue in (*setup.rx, *setup.tx))
        lcores = len(self._environment.lcores.all) + 1
        needed = max(LEAST_MBUFS, rings + lcores * (options.mbcache * 3 // 2 + MAX_BURST))
        return needed * PROMPT_ROOM if options.interactive else needed

    def apply(self, port: Port) -> None:
        """Configure a port and set up its queues, as far as its set-up was changed. Raises what the port refuses.

        `doing` tells then which step it refused.
        """
        setup = self._setups[port]
        if setup.reconfigure or port.state is State.ATTACHED:
            print(f"Configuring Port {port.id} (socket 0)", flush=True)
            self.doing = f"configure port {port.id}"
            port.configure(len(setup.rx), len(setup.tx), setup.config())
            setup.reconfigure, setup.renew_queues = False, True
        if setup.renew_queues:
            self.doing = f"configure port {port.id} tx queues"
            for number, queue in enumerate(setup.tx):
                port.setup_tx_queue(number, queue.descriptors, queue.config())
            self.doing = f"configure port {port.id} rx queues"
            for number, queue in enumerate(setup.rx):
                port.setup_rx_queue(number, queue.descriptors, self.pool, queue.config())
            setup.renew_queues = False
        self.doing = f"start port {port.id}"

    def describe(self, port: Port) -> PortConfigLines:
        """Return what the start of forwarding tells about a port."""
        setup = self._setups[port]
        rx, tx = setup.rx[:1], setup.tx[:1]
        return PortConfigLines(
            port.id,
            len(setup.rx),
            len(setup.tx),
            rx[0].descriptors if rx else 0,
            tx[0].descriptors if tx else 0,
            setup.rx_offloads,
            setup.tx_offloads,
            rx[0].thresholds if rx else Thresholds(),
            tx[0].thresholds if tx else Thresholds(),
        )
