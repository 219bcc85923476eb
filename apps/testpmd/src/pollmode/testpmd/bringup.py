# SPDX-License-Identifier: BSD-3-Clause
"""From options to started ports: the pool, every port's configuration and queues, links, and back down again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError
from pollmode.ethdev import DeviceInfo, Port, PortConfig, Ports, QueueConfig, RxOffload, TxOffload
from pollmode.mbuf import Mempool, create_pool
from pollmode.testpmd.options import Options, Thresholds
from pollmode.testpmd.report import PortConfigLines, mac_text
from pollmode.testpmd.values import MAX_BURST

__all__ = ["Bringup", "burst_size"]

LEAST_MBUFS = 8192
LINK_CHECKS, LINK_CHECK_SECONDS = 90, 0.1


@dataclass(frozen=True)
class Sizes:
    """Descriptors of one port's queues."""

    rx: int
    tx: int


def burst_size(options: Options, ports: Sequence[Port]) -> int:
    """Return the packets of a burst. Raises ConfigError when the drivers are asked and have no advice."""
    if options.burst:
        return options.burst
    advice = [port.info().default_rx_burst_size for port in ports]
    if not advice or min(advice) == 0:
        raise ConfigError(f"PMD does not recommend a burst size. Provided value must be between 1 and {MAX_BURST}")
    return min(*advice, MAX_BURST)


def _check_queues(options: Options, ports: Sequence[Port]) -> None:
    for name, asked, field in (("rxq", options.rxq, "max_rx_queues"), ("txq", options.txq, "max_tx_queues")):
        for port in ports:
            most = getattr(port.info(), field)
            if asked > most:
                raise ConfigError(
                    f"Fail: input {name} ({asked}) can't be greater than {field} ({most}) of port {port.id}: "
                    f"{name} {asked} invalid - must be >= 0 && <= {most}"
                )


def _queue_config(thresholds: Thresholds, drop: bool = False) -> QueueConfig:
    return QueueConfig(
        free_threshold=thresholds.free,
        rs_threshold=thresholds.rs,
        pthresh=thresholds.pthresh,
        hthresh=thresholds.hthresh,
        wthresh=thresholds.wthresh,
        drop=drop,
    )


def _port_config(options: Options, info: DeviceInfo) -> PortConfig:
    rx = options.rx_offloads
    for name in options.rx_offload_names:
        rx |= RxOffload[name]
    # One pool, no clones: what the driver frees may go straight back. DPDK's testpmd asks for it too.
    tx = options.tx_offloads | (TxOffload.MBUF_FAST_FREE & info.tx_offload_capa)
    if len(options.txpkts) > 1 and options.forward_mode in ("txonly", "flowgen"):
        tx |= TxOffload.MULTI_SEGS & info.tx_offload_capa
    lsc, rmv = options.lsc_interrupt and info.lsc, options.rmv_interrupt and info.rmv
    return PortConfig(rx_offloads=int(rx), tx_offloads=int(tx), mtu=options.mtu, lsc=lsc, rmv=rmv)


class Bringup:
    """The ports of a run, ready to move packets, and the pool they share."""

    def __init__(self, environment: Environment, ports: Ports, options: Options) -> None:
        self._environment = environment
        self._options = options
        self.ports = ports.available()
        self._sizes: dict[int, Sizes] = {}
        _check_queues(options, self.ports)
        for port in self.ports:
            info = port.info()
            self._sizes[port.id] = Sizes(
                options.rxd or info.default_rx_ring_size, options.txd or info.default_tx_ring_size
            )
        self.pool = self._make_pool()

    def _make_pool(self) -> Mempool:
        options = self._options
        count = options.total_num_mbufs or self._needed_mbufs()
        name = "mb_pool_0"
        print(f"testpmd: create a new mbuf pool <{name}>: n={count}, size={options.mbuf_size}, socket=0")
        memory = self._environment.memory
        return create_pool(memory, name, count, cache_size=options.mbcache, data_room=options.mbuf_size)

    def _needed_mbufs(self) -> int:
        """Return enough to fill every ring, every lcore's cache (1.5 times its size) and a burst on each."""
        options = self._options
        rings = sum(options.rxq * sizes.rx + options.txq * sizes.tx for sizes in self._sizes.values())
        lcores = len(self._environment.lcores.all) + 1
        return max(LEAST_MBUFS, rings + lcores * (options.mbcache * 3 // 2 + MAX_BURST))

    def start(self) -> None:
        """Configure and start every port. Raises what a port refuses."""
        for port in self.ports:
            self._start(port)

    def _start(self, port: Port) -> None:
        options, sizes = self._options, self._sizes[port.id]
        print(f"Configuring Port {port.id} (socket 0)", flush=True)
        port.configure(options.rxq, options.txq, _port_config(options, port.info()))
        for queue in range(options.txq):
            port.setup_tx_queue(queue, sizes.tx, _queue_config(options.tx_thresholds))
        for queue in range(options.rxq):
            port.setup_rx_queue(queue, sizes.rx, self.pool, _queue_config(options.rx_thresholds, options.drop))
        port.start()
        print(f"Port {port.id}: {mac_text(port.mac)}", flush=True)

    def describe(self, port: Port) -> PortConfigLines:
        """Return what the start of forwarding tells about a port."""
        sizes = self._sizes[port.id]
        rx, tx = port.config.rx_offloads, port.config.tx_offloads
        return PortConfigLines(port.id, port.rx_queues, port.tx_queues, sizes.rx, sizes.tx, rx, tx)

    def stop(self) -> None:
        """Stop and close every port, with DPDK's words, and give the pool back."""
        for port in self.ports:
            print(f"\nStopping port {port.id}...\nStopping ports...", flush=True)
            port.stop()
            print("Done")
        for port in self.ports:
            print(f"\nShutting down port {port.id}...\nClosing ports...", flush=True)
            port.close()
            print(f"Port {port.id} is closed\nDone")
        self.pool.free()
