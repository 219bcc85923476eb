# SPDX-License-Identifier: BSD-3-Clause
"""The mbuf is DPDK's: offsets and flags typed from its documentation, and asked of its headers where there are any."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pollmode.eal.layout import offset_of
from pollmode.mbuf import layout

OFFSETS = {
    "buf_addr": 0,
    "buf_iova": 8,
    "data_off": 16,
    "refcnt": 18,
    "nb_segs": 20,
    "port": 22,
    "ol_flags": 24,
    "packet_type": 32,
    "pkt_len": 36,
    "data_len": 40,
    "vlan_tci": 42,
    "hash_rss": 44,
    "hash_fdir": 48,
    "vlan_tci_outer": 52,
    "buf_len": 54,
    "pool": 56,
    "next": 64,
    "tx_offload": 72,
    "shinfo": 80,
    "priv_size": 88,
    "timesync": 90,
    "dynfield1": 92,
}

OF_DPDK = {"hash_rss": "hash.rss", "hash_fdir": "hash.fdir.hi"}


def flags() -> dict[str, int]:
    """Every RX_, TX_ flag and the two that say how the buffer is held."""
    return {
        name: value
        for name, value in vars(layout).items()
        if (name.startswith(("RX_", "TX_")) or name in ("INDIRECT", "EXTERNAL")) and isinstance(value, int)
    }


def test_every_field_is_where_dpdk_has_it() -> None:
    assert {field: offset_of(layout.MBUF, field) for field in layout.MBUF.names or ()} == OFFSETS
    assert layout.MBUF.itemsize == 128 == layout.MBUF_SIZE
    for field, offset in OFFSETS.items():
        assert getattr(layout, f"MBUF_{field.upper()}") == offset


def test_some_flags_as_documented() -> None:
    assert layout.RX_IP_CKSUM_GOOD == 0x80
    assert layout.RX_L4_CKSUM_GOOD == 0x100
    assert layout.TX_TCP_SEG == 0x4000000000000
    assert layout.TX_UDP_CKSUM == 0x30000000000000
    assert layout.INDIRECT == 0x4000000000000000
    assert all(0 <= value < 1 << 63 for value in flags().values())


def test_the_words_that_two_sides_write_are_two_cache_lines_apart() -> None:
    assert layout.RING_PRODUCER_HEAD % 128 == 0
    assert layout.RING_CONSUMER_HEAD - layout.RING_PRODUCER_HEAD == 128
    assert layout.RING_WORDS - layout.RING_CONSUMER_HEAD == 128


@pytest.mark.peer
def test_dpdks_headers_say_the_same(tmp_path: Path) -> None:
    asked = None
    if shutil.which("gcc") and shutil.which("pkg-config"):
        asked = subprocess.run(["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True, check=False)
    if asked is None or asked.returncode:
        missing = "needs gcc and DPDK's headers: apt-get install gcc pkg-config libdpdk-dev"
        if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    told = [f'printf("{name} %llu\\n", (unsigned long long)RTE_MBUF_F_{name});' for name in flags()]
    told += [
        f'printf("MBUF_{field.upper()} %zu\\n", offsetof(struct rte_mbuf, {OF_DPDK.get(field, field)}));'
        for field in OFFSETS
    ]
    source = tmp_path / "facts.c"
    source.write_text("#include <stdio.h>\n#include <rte_mbuf.h>\nint main(void) {" + "\n".join(told) + "return 0; }\n")
    program = tmp_path / "facts"
    subprocess.run(["gcc", str(source), "-o", str(program), *asked.stdout.split()], check=True)
    said = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.splitlines()
    assert {name: getattr(layout, name) for name in (line.split()[0] for line in said)} == {
        name: int(value) for name, value in (line.split() for line in said)
    }
