# SPDX-License-Identifier: BSD-3-Clause
import time

from pollmode.eal.clock import cycles_per_second, read_cycles


def test_rate_fits_the_kernels_clock_over_a_longer_time():
    rate = cycles_per_second()
    started, first = time.monotonic(), read_cycles()
    time.sleep(0.2)
    last, ended = read_cycles(), time.monotonic()
    measured = (last - first) / rate
    assert 0.1 < measured < 2 * (ended - started)


def test_rate_is_measured_once():
    assert cycles_per_second() == cycles_per_second()
