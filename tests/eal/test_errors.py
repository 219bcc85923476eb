# SPDX-License-Identifier: BSD-3-Clause
"""Suggestions for a word that is not known: what a slip of the fingers makes of a word, and nothing far-fetched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal.errors import nearest

OPTIONS = ("--no-huge", "--vdev", "--lcores", "--main-lcore", "--log-level", "--burst", "--rxq", "--stats-period")
MODES = ("io", "mac", "macswap", "flowgen", "rxonly", "txonly", "csum", "icmpecho", "5tswap")


@pytest.mark.parametrize(
    ("word", "allowed", "meant"),
    [
        ("--no-hug", OPTIONS, "--no-huge"),
        ("--vdevs", OPTIONS, "--vdev"),
        ("--brust", OPTIONS, "--burst"),  # neighbours exchanged are one edit
        ("--loglevel", OPTIONS, "--log-level"),
        ("--lcore", OPTIONS, "--lcores"),
        ("--stats", OPTIONS, "--stats-period"),  # only the beginning
        ("maccswap", MODES, "macswap"),
        ("RXONLY", MODES, "rxonly"),
        ("icmp", MODES, "icmpecho"),
    ],
)
def test_a_slip_of_the_fingers_is_seen(word: str, allowed: tuple[str, ...], meant: str) -> None:
    assert nearest(word, allowed) == f" (did you mean {meant!r}?)"


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("--foo", OPTIONS),
        ("--tx", OPTIONS),
        ("-m", OPTIONS),
        ("--huge-pages", OPTIONS),
        ("foo", MODES),
        ("oi", MODES),
        ("noisy", MODES),
        ("net_tap", ("net_null", "net_ring", "net_vhost")),
        ("", MODES),
        ("mac", ()),
    ],
)
def test_nothing_far_fetched_is_offered(word: str, allowed: tuple[str, ...]) -> None:
    assert nearest(word, allowed) == ""


@given(st.text("abcdef", min_size=9, max_size=12), st.integers(0, 8), st.sampled_from("uvwxyz"))
def test_one_wrong_letter_in_a_long_word_is_always_near(word: str, place: int, letter: str) -> None:
    wrong = word[:place] + letter + word[place + 1 :]
    assert nearest(wrong, ["zzzzzzzzz", word]) == f" (did you mean {word!r}?)"
