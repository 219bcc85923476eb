# SPDX-License-Identifier: BSD-3-Clause
"""The environment of a process: its memory, lcores, interrupt thread and devices to make, from one command line."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from types import TracebackType

from pollmode.eal import devargs, logs, telemetry_commands
from pollmode.eal import options as eal_options
from pollmode.eal.coremap import CoreMap
from pollmode.eal.errors import ConfigError, HostError, UnsupportedError
from pollmode.eal.interrupts import Interrupts
from pollmode.eal.lcore import Lcores, choose_lcores
from pollmode.eal.memory import Memory
from pollmode.eal.multiprocess import Primary, Secondaries
from pollmode.eal.options import EalOptions
from pollmode.eal.runtime import Runtime, runtime_base
from pollmode.eal.telemetry import Telemetry
from pollmode.eal.telemetry_server import TelemetryServer

__all__ = ["Environment"]

log = logs.get("lib.eal")


class Environment:
    """What `start` made; a context manager that closes it.

    `primary` is the process whose memory and ports a secondary uses, None in a primary; `secondaries` are those that
    use ours, None where there can't be any. `options` are the parsed options, `runtime` the file prefix and its
    directory, `vdevs` the virtual devices of the command line, which a bus makes, `telemetry` the commands that are
    answered on the telemetry socket.
    """

    def __init__(self, options: EalOptions, words: Sequence[str] = ()) -> None:
        self.options = options
        self.vdevs: list[devargs.Devargs] = [devargs.parse(text) for text in options.vdevs]
        logs.configure(options.log_levels, color=options.log_color, timestamp=options.log_timestamp)
        with contextlib.ExitStack() as stack:
            chosen = choose_lcores(options.lcores, options.main_lcore)
            self.primary: Primary | None = None
            self.secondaries: Secondaries | None = None
            if _is_secondary(options) or not self._take_prefix(options):
                self._attach(options, stack)
            else:
                self._own(options, chosen, stack)
            self.interrupts = Interrupts()
            stack.callback(self.interrupts.close)
            self.telemetry = Telemetry()
            telemetry_commands.register_words(self.telemetry, words)
            telemetry_commands.register_lcores(self.telemetry, self.lcores)
            telemetry_commands.register_memory(self.telemetry, self.memory)
            if self.runtime.directory is not None:
                self.secondaries = Secondaries(self.telemetry, self.memory, self.lcores)
            self._serve_telemetry(stack)
            self._stack = stack.pop_all()

    @classmethod
    def start(cls, argv: Sequence[str]) -> Environment:
        """Start the environment that the EAL's words ask for: no program name, no `--`.

        Raises ConfigError for words that are wrong, HostError for what the machine has not, UnsupportedError; nothing
        half-made is left behind. With --help, --version or --log-level=help, prints the answer and raises SystemExit.
        """
        options = eal_options.parse(argv)
        if answer := _answer(options):
            print(answer)
            raise SystemExit(0)
        return cls(options, argv)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call `callback()` when the environment closes, before memory and threads go; the last one is called first."""
        self._stack.callback(callback)

    def close(self) -> None:
        """Stop the lcores, call what `on_close` registered, end the threads and give everything back.

        Closing twice is no error.
        """
        if self.secondaries is not None:
            self.secondaries.send_away()
        self.lcores.stop()
        self._stack.close()

    def __enter__(self) -> Environment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_prefix(self, options: EalOptions) -> bool:
        """Become the process that has the file prefix; False when there is one and --proc-type=auto goes for that."""
        try:
            self.runtime = Runtime(options.file_prefix, files=not (options.no_shconf or options.in_memory))
        except HostError as error:
            if options.proc_type != "auto" or error.errno != errno.EAGAIN:
                raise
            return False
        return True

    def _own(self, options: EalOptions, chosen: CoreMap, stack: contextlib.ExitStack) -> None:
        """Have memory of one's own."""
        stack.callback(self.runtime.close)
        self.memory = Memory.create(options)
        stack.callback(self._close_memory)
        self.lcores = Lcores(chosen, self.memory, options.main_lcore)

    def _attach(self, options: EalOptions, stack: contextlib.ExitStack) -> None:
        """Use the memory of the process that has the file prefix."""
        wanted = None if options.lcores is None else [lcore for lcore, _ in options.lcores]
        self.runtime = Runtime(options.file_prefix, files=False)
        self.primary = primary = Primary(options.file_prefix, wanted)
        self.memory = primary.memory
        stack.callback(self._close_memory)
        stack.callback(self._leave)
        if options.base_virtaddr not in (None, (base := self.memory.regions()[0].address)):
            told = f"address: --base-virtaddr is {options.base_virtaddr:#x}, the primary's memory is at {base:#x}"
            raise ConfigError(f"{told}; leave the option out")
        anywhere = frozenset(os.sched_getaffinity(0))
        cores = options.lcores or tuple((lcore, anywhere) for lcore in primary.lcores)
        self.lcores = Lcores(cores, self.memory, options.main_lcore, control=primary.control)
        primary.on_gone(self._let_go)
        log.notice(f"memory: {self.memory.description}")

    def _leave(self) -> None:
        """Detach from the primary, unless a loop that ignores its stop word still uses its memory."""
        lcores: Lcores | None = getattr(self, "lcores", None)
        if self.primary is not None and (lcores is None or lcores.close()):
            self.primary.leave()

    def _let_go(self) -> bool:
        """End whatever of ours uses the memory of a primary that is gone; False where a loop still does."""
        ended = self.lcores.close()
        if self.primary is not None:
            self.primary.memory.leave()
        return ended

    def _serve_telemetry(self, stack: contextlib.ExitStack) -> None:
        """Open the telemetry socket; that it can't be opened keeps only those from starting who asked for it."""
        if self.primary is not None and self.options.telemetry:
            raise UnsupportedError("--telemetry in a secondary process: the primary tells about all ports")
        if self.primary is not None or self.options.telemetry is False:
            return
        try:
            server = TelemetryServer(self.telemetry, self.interrupts, runtime_base() / self.options.file_prefix)
            stack.callback(server.close)
        except HostError as error:
            if self.options.telemetry:
                raise
            log.warning(f"{error}")

    def _close_memory(self) -> None:
        """Unmap the memory unless a loop that ignores its stop word still uses it."""
        lcores: Lcores | None = getattr(self, "lcores", None)
        if lcores is None or lcores.close():
            self.memory.close()
        else:
            log.error("an lcore did not stop: its memory stays mapped until the process ends")


def _is_secondary(options: EalOptions) -> bool:
    """Tell whether this process can only use another one's memory. Raises ConfigError for options that exclude it."""
    alone = "in-memory" if options.in_memory else "no-shconf" if options.no_shconf else None
    if options.proc_type == "secondary" and alone is not None:
        raise ConfigError(f"Options 'proc-type=secondary' and '{alone}' can't be used at the same time")
    return options.proc_type == "secondary"


def _answer(options: EalOptions) -> str:
    if options.help:
        pairs = eal_options.usage()
        width = min(max(len(form) for form, _ in pairs), 32)
        return "EAL options:\n" + "\n".join(f"  {form:{width}}  {meaning}" for form, meaning in pairs)
    if options.version:
        from importlib.metadata import version

        return f"pollmode {version('pollmode-eal')}"
    if options.list_log_types:
        return "\n".join(f"{name}: {level}" for name, level in logs.types().items())
    return ""
