# SPDX-License-Identifier: BSD-3-Clause
"""The primary's side: who is attached, what they ask, and what is done when one of them is gone, however it went.

A secondary comes through the telemetry socket: its request carries one end of a socket pair, and the pair is the life
of the attachment, as with captures. Each member is served by a thread of its own, so one that stands still holds up
nobody. That a member is gone is believed when it says so or when the kernel does (pidfd), never because it hung up: its
lcores might still run.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, HostError, PollmodeError
from pollmode.eal.lcore_layout import MAX_LCORE
from pollmode.eal.memzone import Memzone
from pollmode.eal.multiprocess.channel import MAX_REQUEST, Channel, error_of
from pollmode.eal.multiprocess.version import own_version

if TYPE_CHECKING:
    from pollmode.eal.lcore import Lcores
    from pollmode.eal.memory import Memory
    from pollmode.eal.telemetry import Telemetry

__all__ = ["ATTACH", "MAX_SECONDARIES", "Member", "Secondaries", "Service"]

log = logs.get("lib.eal")

ATTACH: Final = "/eal/attach"
MAX_SECONDARIES: Final = 16
_PATIENCE = 10.0
"""Seconds that members are given to let go when the primary ends."""
_SLICE = 0.05


class Member:
    """A process that is attached: its pid, the ids of its lcores, and that of its interpreter."""

    def __init__(self, end: socket.socket) -> None:
        credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid: int = struct.unpack("3i", credentials)[0]  # of whoever made the pair
        self.lcores: tuple[int, ...] = ()
        self.control = -1
        self.zones: dict[str, Memzone] = {}
        self.channel = Channel(end, MAX_REQUEST)
        self.thread: threading.Thread | None = None
        self._pidfd = os.pidfd_open(self.pid)

    def __str__(self) -> str:
        return f"secondary process {self.pid}"

    @property
    def ids(self) -> tuple[int, ...]:
        """Every lcore id that this process may use."""
        return (*self.lcores, self.control) if self.control >= 0 else ()

    def dead(self) -> bool:
        """Tell whether the process has ended; the kernel says so when none of its threads runs any more."""
        return bool(select.select([self._pidfd], [], [], 0)[0])

    def close(self) -> None:
        """Hang up."""
        self.channel.close()
        os.close(self._pidfd)


Service = Callable[[Member, dict[str, Any]], Any]
"""Answers one kind of request with a plain value, or raises PollmodeError. Runs in the member's thread."""


class Secondaries:
    """The processes that are attached to this one."""

    def __init__(self, telemetry: Telemetry, memory: Memory, lcores: Lcores) -> None:
        self._memory = memory
        self._lcores = lcores
        self._version = own_version()
        self._lock = threading.Lock()
        self._members: list[Member] = []
        self._ending = False
        self._gone: list[Callable[[Member], object]] = []
        self._services: dict[str, Service] = {}
        for name, service in (("zones", self._zones), ("reserve", self._reserve), ("free", self._free)):
            self.serve(name, service)
        text = "Attaches a secondary process by the socket passed with the request. Takes no parameters"
        telemetry.register_handover(ATTACH, self._attach, text)

    @property
    def members(self) -> list[Member]:
        """Those attached now."""
        return [member for member in self._members if member.ids]

    def serve(self, name: str, service: Service) -> None:
        """Answer requests of that name with what `service(member, arguments)` returns."""
        self._services[name] = service

    def on_gone(self, callback: Callable[[Member], object]) -> None:
        """Call `callback(member)` when a member is gone and none of its threads runs; the last one is called first."""
        self._gone.insert(0, callback)

    def send_away(self) -> None:
        """Have every member let go, and let nobody in any more; returns when they are gone.

        Twice is no error, and waits for nobody again. Where one does not let go in ten seconds the memory is left as it
        is: freed zones keep their contents.
        """
        with self._lock:
            again, self._ending = self._ending, True
            members = list(self._members)
        if again:
            return
        deadline = time.monotonic() + _PATIENCE
        try:
            for member in members:
                member.channel.end_sending()
            for member in members:
                if member.thread is not None:
                    member.thread.join(max(0.0, deadline - time.monotonic()))
        finally:  # interrupted or not
            for member in self.members:
                self._memory.keep()
                log.error(f"{member} does not let go: the memory stays as it is until it ends")

    def _attach(self, _: str | None, descriptors: list[int]) -> dict[str, Any]:
        """Answer the telemetry request; takes the first of `descriptors`."""
        try:
            if not descriptors or not _is_stream(descriptors[0]):
                raise ConfigError("attaching wants a stream socket with the request")
            with self._lock:
                if self._ending or len(self._members) >= MAX_SECONDARIES:
                    why = "it is ending" if self._ending else f"it has {MAX_SECONDARIES} of them"
                    raise ConfigError(f"process {os.getpid()} takes no secondary process: {why}")
                member = Member(socket.socket(fileno=descriptors.pop(0)))
                self._members.append(member)
        except PollmodeError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"attaching failed: {error.strerror}"}
        member.thread = threading.Thread(target=self._serve, args=(member,), name=f"member-{member.pid}", daemon=True)
        member.thread.start()
        return {"pid": os.getpid()}

    def _serve(self, member: Member) -> None:
        left = False
        try:
            while not left:
                left = self._turn(member)
        except (EOFError, OSError):  # it hung up, or was told to
            pass
        finally:
            self._wait_for_end(member, left)
            self._forget(member)
            member.close()

    def _turn(self, member: Member) -> bool:
        """Answer one request; tells whether it was the last."""
        descriptor = None
        try:
            name, arguments = _request(_received(member.channel))
            if name == "left":
                return True
            if name == "hello":
                answer: dict[str, Any] = {"value": self._hello(member, arguments)}
                descriptor = self._memory.regions()[0].fd
            else:
                answer = {"value": self._called(member, name, arguments)}
        except PollmodeError as error:
            answer = error_of(error)
        except (TypeError, ValueError, KeyError, OverflowError, AttributeError) as error:  # it makes no sense
            answer = error_of(ConfigError(f"a request can't be answered: {type(error).__name__}: {error}"))
        member.channel.send(answer, descriptor)
        return False

    def _called(self, member: Member, name: str, arguments: dict[str, Any]) -> Any:
        if not member.ids:
            raise ConfigError("a secondary process says hello first")
        if name not in self._services:
            raise ConfigError(f"the primary has no {name!r} to ask for")
        try:
            return self._services[name](member, arguments)
        except OSError as error:  # of what was asked for, not of the channel
            raise HostError(f"{name}: {error.strerror or error}", errno=error.errno) from error

    def _hello(self, member: Member, asked: dict[str, Any]) -> dict[str, Any]:
        own = self._version
        theirs = {key: str(asked.get(key)) for key in own}
        if theirs != own:
            raise ConfigError(
                f"version: the primary process {os.getpid()} runs pollmode {own['version']} with layouts "
                f"{own['layouts'][:8]}, this one {theirs['version']} with {theirs['layouts'][:8]}; "
                "start both from one installation"
            )
        if member.ids:
            raise ConfigError("this process is attached already")
        with self._lock:
            self._give_ids(member, asked.get("lcores"))
        region, backing = self._memory.regions()[0], self._memory.kind
        log.info(f"{member} is attached, lcores {', '.join(map(str, member.lcores))}")
        return {
            "pid": os.getpid(),
            "address": region.address,
            "size": region.size,
            "page_size": region.page_size,
            "kind": backing,
            "iova_mode": self._memory.iova_mode,
            "lcores": member.lcores,
            "control": member.control,
        }

    def _give_ids(self, member: Member, wanted: object) -> None:
        """Give a member the lcores it wants, or one, and one more for its interpreter: pools have a cache for each."""
        owners = {lcore.id: f"the primary process {os.getpid()}" for lcore in self._lcores.all}
        owners |= {each: str(other) for other in self._members for each in other.ids}
        free = [each for each in range(MAX_LCORE) if each not in owners]
        if wanted is None:
            chosen = free[:1]
        elif isinstance(wanted, list) and wanted and all(type(each) is int for each in wanted):
            chosen = wanted
        else:
            raise ConfigError(f"lcores are a list of numbers, not {wanted!r}")
        for each in chosen:
            if each in owners:
                told = f"lcores: lcore {each} is one of {owners[each]}; no two processes have one in common"
                way = f"choose others, for example --lcores {free[0] if free else '...'}@0 for lcore and cpu"
                raise ConfigError(f"{told}: {way}")
        left = [each for each in free if each not in chosen]
        if not left or not all(0 <= each < MAX_LCORE for each in chosen):
            raise ConfigError(f"lcores: there are {MAX_LCORE} of them, {len(free)} are free; each process needs two")
        member.lcores, member.control = tuple(chosen), left[-1]

    def _zones(self, _: Member, asked: dict[str, Any]) -> list[dict[str, Any]]:
        return [vars(zone) for zone in self._memory.zones()]

    def _reserve(self, member: Member, asked: dict[str, Any]) -> dict[str, Any]:
        name, size, align = str(asked["zone"]), int(asked["size"]), int(asked["align"])
        zone = self._memory.reserve(f"{name}@{member.pid}", size, align)
        member.zones[zone.name] = zone
        return vars(zone)

    def _free(self, member: Member, asked: dict[str, Any]) -> None:
        zone = member.zones.pop(str(asked["zone"]), None)
        if zone is None:
            raise ConfigError(f"memory zone {asked['zone']!r} was not reserved by this process")
        self._memory.free(zone)

    def _wait_for_end(self, member: Member, left: bool) -> None:
        """Return when none of a member's threads can be in the memory any more."""
        while member.ids and not left and not member.dead():
            time.sleep(_SLICE)

    def _forget(self, member: Member) -> None:
        """Take back what a member had."""
        if not member.ids:
            with self._lock:
                self._members.remove(member)
            return
        for callback in self._gone:
            try:
                callback(member)
            except PollmodeError as error:
                log.error(f"{member} is gone, and what it had can't be taken back: {error}")
        for zone in member.zones.values():
            with contextlib.suppress(PollmodeError):
                self._memory.free(zone)
        with self._lock:
            self._members.remove(member)
        log.info(f"{member} is gone")


def _received(channel: Channel) -> object:
    try:
        return channel.receive()
    except ValueError as error:
        raise ConfigError(f"a request is no JSON: {error}") from error


def _request(value: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, dict) or not isinstance(value.get("ask"), str):
        raise ConfigError('a request is an object with "ask", the name of what is wanted')
    return value.pop("ask"), value


def _is_stream(descriptor: int) -> bool:
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return False
    with socket.socket(fileno=os.dup(descriptor)) as copied:
        return copied.family == socket.AF_UNIX and copied.type == socket.SOCK_STREAM
