# SPDX-License-Identifier: BSD-3-Clause
"""Looking into the environment: memory, pools, rings, lcores, log types, devices."""

from __future__ import annotations

import json
from typing import Any

from pollmode.eal import logs
from pollmode.mbuf.layout import MBUF, MEMPOOL, RING
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn

__all__ = ["commands"]

commands = Commands("display")

MEGABYTE = 1 << 20


def _ask(session: Session, request: str) -> Any:
    """Return the answer of a telemetry command of this process."""
    answer: dict[str, Any] = json.loads(session.environment.telemetry.answer(request.encode()))
    return next(iter(answer.values()))


@commands.add("dump_physmem")
def dump_physmem(session: Session) -> None:
    """Show the regions of the environment's memory."""
    memory = session.environment.memory
    for place, region in enumerate(memory.regions()):
        print(
            f"Segment {place}-0: IOVA:{memory.iova(region.address):#x}, len:{region.size}, virt:{region.address:#x}, "
            f"socket_id:0, hugepage_sz:{region.page_size}, nchannel:0, nrank:0 fd:{region.fd}"
        )


@commands.add("dump_memzone")
def dump_memzone(session: Session) -> None:
    """Show the named pieces of the environment's memory."""
    for place, zone in enumerate(session.environment.memory.zones()):
        print(f"Zone {place}: name:<{zone.name}>, len:{zone.size:#x}, virt:{zone.address:#x}, socket_id:0, flags:0")


@commands.add("dump_socket_mem")
def dump_socket_mem(session: Session) -> None:
    """Show how much of the environment's memory is used."""
    memory = session.environment.memory
    zones = memory.zones()
    total, used = sum(region.size for region in memory.regions()), sum(zone.size for zone in zones)
    for name in ("Socket 0:", "Total   :"):
        print(
            f"{name} size(M) total: {total / MEGABYTE:.6f} alloc: {used / MEGABYTE:.6f}({100 * used / total:.3f}%) "
            f"free: {(total - used) / MEGABYTE:.6f} \tcount alloc: {len(zones)}"
        )


@commands.add("dump_struct_sizes")
def dump_struct_sizes(session: Session) -> None:
    """Show the sizes of the structures in memory."""
    for name, kind in (("rte_mbuf", MBUF), ("rte_mempool", MEMPOOL), ("rte_ring", RING)):
        print(f"sizeof(struct {name}) = {kind.itemsize}")


@commands.add("dump_ring", "dump_ring {name:word}")
def dump_ring(session: Session, name: str | None = None) -> None:
    """Show the rings, or the one of that name."""
    _dump_all(session, "ring", name)


@commands.add("dump_mempool", "dump_mempool {name:word}")
def dump_mempool(session: Session, name: str | None = None) -> None:
    """Show the pools of mbufs, or the one of that name."""
    _dump_all(session, "mempool", name)


def _dump_all(session: Session, kind: str, name: str | None) -> None:
    names = _ask(session, f"/{kind}/list")
    if name is not None and name not in names:
        warn(f"Cannot find {kind}", f"there is no {kind} {name}; dump_{kind} shows all")
        return
    for each in names if name is None else [name]:
        told = _ask(session, f"/{kind}/info,{each}")
        zone = session.environment.memory.lookup(told.pop("mz_name"))
        print(f"{kind} <{told.pop('name')}>@{zone.address:#x}")
        for key, value in told.items():
            if not key.startswith("mz_"):
                print(f"  {key}={value}")


@commands.add("dump_devargs")
def dump_devargs(session: Session) -> None:
    """Show the devices and their arguments."""
    print("User device list:")
    for port in session.ports.available():
        devargs = port.device.devargs
        if devargs is not None:
            name, _, arguments = devargs.text.partition(",")
            print(f"  [{devargs.bus}]: {name.removeprefix(f'{devargs.bus}:')} {arguments}")


@commands.add("dump_log_types")
def dump_log_types(session: Session) -> None:
    """Show the log types and their levels."""
    print("global log level is debug")
    for place, (name, level) in enumerate(logs.types().items()):
        print(f"id {place}: {name}, level is {level}")


@commands.add("dump_lcores")
def dump_lcores(session: Session) -> None:
    """Show the lcores and what they run on."""
    lcores = session.environment.lcores
    for lcore in lcores.all:
        role = "MAIN" if lcore is lcores.main else "RTE"
        cpus = ",".join(map(str, sorted(lcore.cpus)))
        running = " running" if lcore.id in lcores.running else ""
        print(f"lcore {lcore.id}, socket {lcore.socket}, role {role}, cpuset {cpus}{running}")
