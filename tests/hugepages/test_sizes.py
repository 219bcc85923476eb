# SPDX-License-Identifier: BSD-3-Clause
"""Sizes in DPDK's grammar."""

from __future__ import annotations

import pytest

from pollmode.eal.errors import ConfigError
from pollmode.hugepages.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2M", 2048),
        ("2m", 2048),
        ("2Mb", 2048),
        ("2MB", 2048),
        ("2048kB", 2048),
        ("1G", 1048576),
        ("4194304", 4096),
        ("4194305b", 4096),
        ("1024", 1),
        ("0", 0),
        ("512K", 512),
        ("4096G", 4294967296),
    ],
)
def test_sizes_that_can_be_read(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_so_few_bytes_are_a_unit_forgotten() -> None:
    with pytest.raises(ConfigError, match="512 are bytes, less than any page; write 512M or 512G"):
        parse_size("512")


@pytest.mark.parametrize("text", ["", "b", "M", "-2M", "2T", "2 M", "1.5G", "2MiB", "0x10", "2M\n", "٢M", "2Mbb"])
def test_sizes_that_cannot(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid size; write a number with K, M or G behind it"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(1, "1Kb"), (1023, "1023Kb"), (2048, "2Mb"), (1048576, "1Gb"), (1572864, "1Gb"), (1 << 30, "1024Gb"), (0, "0Kb")],
)
def test_sizes_are_told_in_whole_units(size: int, text: str) -> None:
    assert format_size(size) == text
