# SPDX-License-Identifier: BSD-3-Clause
from pollmode.l2fwd.statistics import CLEAR, Counts, page

PAGE = """
Port statistics ====================================
Statistics for port 0 ------------------------------
Packets sent:                        1
Packets received:                 1234
Packets dropped:                     0
Statistics for port 3 ------------------------------
Packets sent:     18446744073709551615
Packets received:                    0
Packets dropped:                    77
Aggregate statistics ===============================
Total packets sent: 18446744073709551616
Total packets received:           1234
Total packets dropped:              77
====================================================
"""


def test_page_is_dpdks_to_the_blank():
    counts = {3: Counts(sent=2**64 - 1, dropped=77), 0: Counts(sent=1, received=1234)}
    assert page(counts) == PAGE


def test_screen_is_cleared_and_the_cursor_put_home():
    assert CLEAR == "\x1b[2J\x1b[1;1H"
