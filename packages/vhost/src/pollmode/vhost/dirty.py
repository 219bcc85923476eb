# SPDX-License-Identifier: BSD-3-Clause
"""Marking written pages while a guest migrates: one bit a page of 4 KiB, in an area the front end shares.

A driver that offers VHOST_F_LOG_ALL calls `mark_written` for every byte it writes to guest memory while that feature is
set (`Session.features`), with `Session.dirty_log.address` and `.size`; for the used ring of a ring whose
`Vring.log_address` is not -1 it marks what lies at that guest address. The write comes first, the mark after it: a
front end that took the mark away in between would copy the page as it was.
"""

from __future__ import annotations

from pollmode.eal.jit import compare_exchange32, compiled, fence, load_relaxed32

__all__ = ["LOG_PAGE_SHIFT", "mark_written"]

LOG_PAGE_SHIFT = 12
_WORD_SHIFT = 5  # 32 pages a word
_WORD_SIZE = 4


@compiled
def mark_written(log: int, size: int, address: int, length: int) -> int:
    """Set the bits of the pages of `length` bytes at guest `address` in the log of `size` bytes at `log`.

    Pages beyond the log are left out. Returns how many pages were marked. The front end takes bits away at the same
    time, so that each word changes by compare and exchange; a bit that is set already stays, which needs the fence:
    without it, the bit could be read before what was written to the page is visible.
    """
    if address < 0 or length <= 0:
        return 0
    fence()
    page = address >> LOG_PAGE_SHIFT
    last = (address + length - 1) >> LOG_PAGE_SHIFT
    marked = 0
    while page <= last and ((page >> _WORD_SHIFT) + 1) * _WORD_SIZE <= size:
        word = log + (page >> _WORD_SHIFT) * _WORD_SIZE
        bit = 1 << (page & 31)
        seen = load_relaxed32(word)
        while seen & bit == 0 and not compare_exchange32(word, seen, seen | bit):
            seen = load_relaxed32(word)
        marked += 1
        page += 1
    return marked
