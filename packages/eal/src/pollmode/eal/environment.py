# SPDX-License-Identifier: BSD-3-Clause
"""The environment of a process: its memory, lcores, interrupt thread and devices to make, from one command line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType

from pollmode.eal import devargs, logs, telemetry_commands
from pollmode.eal import options as eal_options
from pollmode.eal.errors import HostError
from pollmode.eal.interrupts import Interrupts
from pollmode.eal.lcore import Lcores, choose_lcores
from pollmode.eal.memory import Memory
from pollmode.eal.options import EalOptions
from pollmode.eal.runtime import Runtime, runtime_base
from pollmode.eal.telemetry import Telemetry
from pollmode.eal.telemetry_server import TelemetryServer

__all__ = ["Environment"]

log = logs.get("lib.eal")


class Environment:
    """What `start` made; a context manager that closes it.

    `options` are the parsed options, `runtime` the file prefix and its directory, `vdevs` the virtual devices of the
    command line, which a bus makes, `telemetry` the commands that are answered on the telemetry socket.
    """

    def __init__(self, options: EalOptions, words: Sequence[str] = ()) -> None:
        self.options = options
        self.vdevs: list[devargs.Devargs] = [devargs.parse(text) for text in options.vdevs]
        logs.configure(options.log_levels, color=options.log_color, timestamp=options.log_timestamp)
        with contextlib.ExitStack() as stack:
            chosen = choose_lcores(options.lcores, options.main_lcore)
            self.runtime = Runtime(options.file_prefix, files=not (options.no_shconf or options.in_memory))
            stack.callback(self.runtime.close)
            self.memory = Memory.create(options)
            stack.callback(self._close_memory)
            self.lcores = Lcores(chosen, self.memory, options.main_lcore)
            self.interrupts = Interrupts()
            stack.callback(self.interrupts.close)
            self.telemetry = Telemetry()
            telemetry_commands.register_words(self.telemetry, words)
            telemetry_commands.register_lcores(self.telemetry, self.lcores)
            telemetry_commands.register_memory(self.telemetry, self.memory)
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
        self.lcores.stop()
        self._stack.close()

    def __enter__(self) -> Environment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve_telemetry(self, stack: contextlib.ExitStack) -> None:
        """Open the telemetry socket; that it can't be opened keeps only those from starting who asked for it."""
        if self.options.telemetry is False:
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
