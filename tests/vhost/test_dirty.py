# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest

from pollmode.vhost.dirty import mark_written

PAGE = 4096


@pytest.fixture
def log():
    return np.full(16, 0xA5A5A5A5, np.uint32)


def mark(log, address, length, size=32):
    """Mark in the middle of `log`, whose first and last words must stay as they are."""
    log[4:12] = 0
    marked = mark_written(log.ctypes.data + 16, size, address, length)
    assert (log[:4] == 0xA5A5A5A5).all()
    assert (log[12:] == 0xA5A5A5A5).all()
    return marked, {int(bit) for bit in np.flatnonzero(np.unpackbits(log[4:12].view(np.uint8), bitorder="little"))}


@pytest.mark.parametrize(
    ("address", "length", "pages"),
    [
        (0, 1, {0}),
        (PAGE - 1, 1, {0}),
        (PAGE - 1, 2, {0, 1}),
        (31 * PAGE, 2 * PAGE, {31, 32}),
        (255 * PAGE, PAGE, {255}),
        (255 * PAGE, 2 * PAGE, {255}),
        (256 * PAGE, PAGE, set()),
        (1 << 62, 1, set()),
        (-1, 1, set()),
        (0, 0, set()),
        (0, -5, set()),
        ((1 << 63) - 1, 1 << 32, set()),
    ],
)
def test_each_page_that_is_touched_is_marked_and_nothing_beyond_the_log(log, address, length, pages):
    assert mark(log, address, length) == (len(pages), pages)


def test_log_that_ends_within_a_word_is_not_written_beyond(log):
    assert mark(log, 0, 64 * PAGE, size=7) == (32, set(range(32)))


def test_marks_are_added_to_those_there_are(log):
    log[4] = 0
    base = log.ctypes.data + 16
    assert mark_written(base, 4, 3 * PAGE, 1) == 1
    assert mark_written(base, 4, 5 * PAGE, 1) == 1
    assert mark_written(base, 4, 3 * PAGE, 1) == 1
    assert log[4] == 0b101000
