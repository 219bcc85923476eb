# SPDX-License-Identifier: BSD-3-Clause
"""Logs with DPDK's types and levels, written through structlog to standard error.

Every module takes a logger of a type (`logs.get("lib.vhost.config")`); each type has a level, rules of `--log-level`
change it, and rules given before a type exists apply when it appears. structlog is imported with the first line that is
printed, so that a process that prints nothing pays nothing.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pollmode.eal.errors import ConfigError, nearest

__all__ = [
    "DEBUG",
    "INFO",
    "LEVELS",
    "NOTICE",
    "WARNING",
    "LevelRule",
    "Logger",
    "configure",
    "get",
    "types",
    "warn_unmatched",
]

LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
"""Level names in order of number, from 1: DPDK's RTE_LOG_EMERG to RTE_LOG_DEBUG."""
EMERGENCY, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO, DEBUG = range(1, 9)

_COLORS = {EMERGENCY: "35;1", ALERT: "35;1", CRITICAL: "31;1", ERROR: "31", WARNING: "33", NOTICE: "1", DEBUG: "2"}


@dataclass(frozen=True)
class LevelRule:
    """One value of `--log-level`: types that `pattern` matches get `level`; an empty pattern means every type."""

    pattern: str
    level: int
    regex: bool = False

    HELP: ClassVar[LevelRule]
    """What `--log-level=help` parses to: list the types and exit."""

    @classmethod
    def parse(cls, text: str) -> LevelRule:
        """Read `level`, `glob:level` or `regex,level`; the level is a name, the start of one, or a number from 1.

        Raises ConfigError for an unknown level or a regular expression that does not compile.
        """
        if text == "help":
            return cls.HELP
        if ":" in text:
            pattern, _, level = text.rpartition(":")
            return cls(pattern, _level(level, text))
        pattern, _, level = text.rpartition(",")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"Invalid log level: {text!r}, the expression before the comma: {error}") from None
        return cls(pattern, _level(level, text), regex="," in text)

    def matches(self, type_name: str) -> bool:
        """Whether the rule changes the level of this type."""
        if not self.pattern:
            return True
        if self.regex:
            return re.match(self.pattern, type_name) is not None
        return fnmatch.fnmatchcase(type_name, self.pattern)


LevelRule.HELP = LevelRule("", 0)


def _level(text: str, whole: str) -> int:
    if text.isascii() and text.isdigit():
        if not EMERGENCY <= int(text) <= DEBUG:
            raise ConfigError(f"Invalid log level: {whole!r}, levels are 1 (emergency) to 8 (debug)")
        return int(text)
    for number, name in enumerate(LEVELS, 1):
        if text and name.startswith(text):
            return number
    raise ConfigError(f"Invalid log level: {whole!r}, levels are {', '.join(LEVELS)} or 1 to 8{nearest(text, LEVELS)}")


class Logger:
    """Prints the messages of one type; get one with `get`. A message is one line without its type."""

    def __init__(self, type_name: str, level: int) -> None:
        self.type_name = type_name
        self.level = level
        words = type_name.split(".")
        while len(words) > 1 and words[0] in ("lib", "pmd", "net", "bus", "app"):
            words = words[1:]
        self.prefix = "_".join(words).upper()

    def _log(self, level: int, message: str) -> None:
        if level <= self.level:
            _sink.write(self.prefix, level, message)

    def debug(self, message: str) -> None:
        """Detail for whoever works on this code."""
        self._log(DEBUG, message)

    def info(self, message: str) -> None:
        """A normal step."""
        self._log(INFO, message)

    def notice(self, message: str) -> None:
        """A normal step that users should see; printed unless the level was lowered."""
        self._log(NOTICE, message)

    def warning(self, message: str) -> None:
        """Something is not as asked and work goes on."""
        self._log(WARNING, message)

    def error(self, message: str) -> None:
        """Something asked for failed."""
        self._log(ERROR, message)

    def critical(self, message: str) -> None:
        """A part of the program cannot go on."""
        self._log(CRITICAL, message)

    def alert(self, message: str) -> None:
        """Someone must act now."""
        self._log(ALERT, message)

    def emergency(self, message: str) -> None:
        """The program cannot go on."""
        self._log(EMERGENCY, message)


class _Sink:
    """The structlog pipeline behind every logger, made with the first line."""

    def __init__(self) -> None:
        self.color = "auto"
        self.timestamp: str | None = None
        self._started = self._last = time.monotonic()
        self._lock = threading.Lock()
        self._emit: Callable[..., Any] | None = None

    def write(self, prefix: str, level: int, message: str) -> None:
        """Print a line; a process without free descriptors cannot import structlog, and prints it plain."""
        with self._lock:
            if self._emit is None:
                try:
                    self._emit = self._pipeline()
                except (ImportError, OSError):
                    importlib.invalidate_caches()  # it took folders that cannot be opened now for empty ones
                    _StandardError.msg(f"{prefix}: {message}")
                    return
            self._emit("msg", message, prefix=prefix, level=level)

    def _pipeline(self) -> Callable[..., Any]:
        import structlog

        wrapped = structlog.wrap_logger(
            _StandardError(), processors=[self._stamp, self._render], wrapper_class=structlog.BoundLoggerBase
        )
        return wrapped.bind()._proxy_to_logger  # type: ignore[no-any-return]  # structlog's way in for custom levels

    def _stamp(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        now = time.monotonic()
        match self.timestamp:
            case "reltime":
                event["time"] = f"[{now - self._started:12.6f}] "
            case "delta":
                event["time"] = f"[<{now - self._last:12.6f}>] "
            case "ctime":
                event["time"] = f"[{time.ctime()}] "
            case "iso":
                event["time"] = time.strftime("[%Y-%m-%dT%H:%M:%S%z] ")
        self._last = now
        return event

    def _render(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        line = f"{event.get('time', '')}{event['prefix']}: {event['event']}"
        code = _COLORS.get(event["level"])
        colored = self.color == "always" or (self.color == "auto" and _terminal_has_color())
        return f"\x1b[{code}m{line}\x1b[0m" if colored and code else line


def _terminal_has_color() -> bool:
    """Whether standard error is a terminal that knows colors, and its user has not refused them (no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")


class _StandardError:
    """The end of the pipeline; looks standard error up at each line, so that a redirection takes effect.

    A line that cannot be written is lost: whoever logs, perhaps the interrupt thread, must not fail for it.
    """

    @staticmethod
    def msg(line: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


_sink = _Sink()
_loggers: dict[str, Logger] = {}
_rules: list[LevelRule] = []
_table_lock = threading.Lock()


def get(type_name: str, default: int = NOTICE) -> Logger:
    """Return the logger of a type such as "lib.vhost.config"; `default` is its level before any rule."""
    with _table_lock:
        if type_name not in _loggers:
            applying = [rule.level for rule in _rules if rule.matches(type_name)]
            _loggers[type_name] = Logger(type_name, applying[-1] if applying else default)
        return _loggers[type_name]


def configure(rules: Iterable[LevelRule] = (), *, color: str = "auto", timestamp: str | None = None) -> None:
    """Apply the EAL's log options: level rules in order, and how lines look.

    `color` is "auto" (on a terminal that has colors, unless NO_COLOR is set), "always" or "never"; `timestamp` is None,
    "reltime", "delta", "ctime" or "iso".
    """
    _sink.color, _sink.timestamp = color, timestamp
    with _table_lock:
        for rule in rules:
            _rules.append(rule)
            for logger in _loggers.values():
                if rule.matches(logger.type_name):
                    logger.level = rule.level


def types() -> dict[str, str]:
    """Return the level name of every type known so far, by type."""
    with _table_lock:
        return {name: LEVELS[logger.level - 1] for name, logger in sorted(_loggers.items())}


def warn_unmatched(rules: Iterable[LevelRule]) -> None:
    """Warn of rules that match no type. To be called when every module that takes part has its loggers."""
    known = types()
    for rule in rules:
        if not any(map(rule.matches, known)):
            hint = nearest(rule.pattern, known)
            get("lib.eal").warning(
                f"--log-level: no log type matches {rule.pattern!r}{hint}; there are {', '.join(known)}"
            )
