# SPDX-License-Identifier: BSD-3-Clause
"""testpmd as a secondary process: the primary's ports and pool, and queues of its own by --num-procs and --proc-id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pollmode.eal.errors import ConfigError
from pollmode.mbuf import mempool

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment
    from pollmode.eal.memory import Memory
    from pollmode.ethdev import Port
    from pollmode.mbuf import Mempool
    from pollmode.testpmd.plan import Plan
    from pollmode.testpmd.session import Session

__all__ = ["adopt", "check_primary", "give_queues_back", "primary_pool", "take_queues"]

FIRST_POOL = "mb_pool_0"


def primary_pool(memory: Memory) -> Mempool:
    """Return the pool of a primary testpmd, or the first of mbufs that another program has. Raises ConfigError."""
    pools = [pool for pool in mempool.lookup_all(memory) if pool.holds_mbufs]
    pools.sort(key=lambda pool: pool.name != FIRST_POOL)
    if not pools:
        raise ConfigError("the primary process has no mbuf pool yet; start this one when it has")
    return pools[0]


def adopt(session: Session) -> None:
    """Let the options say what the primary's ports are."""
    ports = [port for port in session.ports.available() if port.rx_queues or port.tx_queues]
    if ports:
        session.change(rxq=min(port.rx_queues for port in ports), txq=min(port.tx_queues for port in ports))


def take_queues(session: Session, plan: Plan) -> None:
    """Make the queues of a plan this process's own. Raises what the primary refuses; then none is."""
    if session.options.num_procs < 2:
        raise ConfigError(
            "no queue is this secondary process's: start it, and the primary, with --num-procs=N --proc-id=I"
        )
    try:
        for stream in plan.streams:
            _port(session, stream.rx_port).start_rx_queue(stream.rx_queue)
            _port(session, stream.tx_port).start_tx_queue(stream.tx_queue)
    except BaseException:
        give_queues_back(session, plan)
        raise


def give_queues_back(session: Session, plan: Plan) -> None:
    """Let the primary have the queues of a plan again."""
    for stream in plan.streams:
        _port(session, stream.rx_port).stop_rx_queue(stream.rx_queue)
        _port(session, stream.tx_port).stop_tx_queue(stream.tx_queue)


def check_primary(environment: Environment) -> None:
    """Raise HostError when this is a secondary process whose primary has ended."""
    if environment.primary is not None:
        environment.primary.check()


def _port(session: Session, number: int) -> Port:
    return session.ports[number]
