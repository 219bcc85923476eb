# SPDX-License-Identifier: BSD-3-Clause
"""The command. Words are DPDK's, typer reads only those that are ours; the compiler is imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pollmode.eal import console
from pollmode.eal import options as eal_options
from pollmode.eal.errors import ConfigError
from pollmode.testpmd import options

__all__ = ["main"]

OWN_OPTIONS = ("--demo", "--seconds", "--verbose")


def main(argv: Sequence[str]) -> int:
    """Run the command with the words after its name; return the exit code."""
    words, own = list(argv), [word for word in argv if word.partition("=")[0] in OWN_OPTIONS]
    if own and words[0] not in own:
        return console.run(lambda: _misplaced(own[0]))
    return console.run(lambda: _command(words, bool(own)), trace="--verbose" in own)


def _misplaced(word: str) -> int:
    raise ConfigError(f"{word} must come first: testpmd {word} ...")


def _command(words: list[str], own: bool) -> int:
    if own:
        return _own_command(words)
    return _forward(words)


def _forward(words: Sequence[str]) -> int:
    eal_words, app_words = eal_options.split(words)
    try:
        asked = eal_options.parse(eal_words)
    except ConfigError as error:
        if "--" in words:
            raise
        raise ConfigError(f"{error}; options of testpmd itself stand behind --") from None
    given = options.parse(app_words)
    if asked.help or given.help:
        from pollmode.testpmd.helppage import help_page

        print(help_page())
        return 0
    if asked.version:
        from importlib.metadata import version

        print(f"testpmd {version('pollmode-testpmd')}")
        return 0
    from pollmode.testpmd import application

    return application.run(eal_words, given)


def _own_command(words: list[str]) -> int:
    """Let typer read what is ours, up to `--`; the rest is testpmd's own grammar."""
    import typer

    command = typer.Typer(add_completion=False, rich_markup_mode=None)

    @command.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
    def testpmd(
        demo: bool = typer.Option(False, "--demo", help="Forward between a vhost and a virtio port of this process."),
        seconds: float | None = typer.Option(None, "--seconds", help="How long the demonstration lasts (10)."),
        verbose: bool = typer.Option(False, "--verbose", help="Show where an error was raised."),
        rest: list[str] = typer.Argument(None, help="[EAL options] -- [testpmd options]"),  # noqa: B008 - typer's way
    ) -> Callable[[], int]:
        if not demo and seconds is not None:
            raise ConfigError("--seconds is how long the demonstration lasts: testpmd --demo --seconds ...")
        if not demo:
            return lambda: _forward(rest or [])
        from pollmode.testpmd import demo as demonstration

        return lambda: demonstration.run(rest or [], seconds)

    try:
        run = command(args=words, standalone_mode=False)
    except Exception as error:
        # typer has no public name for what a wrong word raises; it alone can format itself for a command line.
        if not hasattr(error, "format_message"):
            raise
        raise ConfigError(f"{error.format_message()} (see testpmd --help)") from None
    # Behind typer, which would answer an output nobody reads in a way of its own. After --help there is nothing to run.
    return int(run()) if callable(run) else 0
