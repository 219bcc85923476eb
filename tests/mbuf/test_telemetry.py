# SPDX-License-Identifier: BSD-3-Clause
"""What telemetry tells about pools and rings, and that it agrees with the objects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pollmode.eal.memory import Memory
from pollmode.eal.telemetry import Telemetry
from pollmode.mbuf import create_pool, mempool, ring
from pollmode.mbuf import telemetry as mbuf_telemetry


class Client:
    """Asks without a socket."""

    def __init__(self, memory: Memory) -> None:
        self.telemetry = Telemetry()
        mbuf_telemetry.register(self.telemetry, memory)

    def ask(self, request: str) -> Any:
        (value,) = json.loads(self.telemetry.answer(request.encode())).values()
        return value


@pytest.fixture
def client(memory: Memory) -> Client:
    return Client(memory)


def test_pools_and_rings_are_listed_while_they_live(client: Client, memory: Memory) -> None:
    assert client.ask("/mempool/list") == []
    assert client.ask("/ring/list") == []
    pool, own = create_pool(memory, "mbufs", 64), ring.create(memory, "own", 8)
    assert client.ask("/mempool/list") == ["mbufs"]
    assert sorted(client.ask("/ring/list")) == ["MP_mbufs", "own"]
    pool.free()
    own.free()
    assert client.ask("/mempool/list") == client.ask("/ring/list") == []


def test_what_is_told_of_a_pool(client: Client, memory: Memory) -> None:
    pool = create_pool(memory, "mbufs", 300, cache_size=32)
    before = client.ask("/mempool/info,mbufs")
    taken = pool.get(10)
    told = client.ask("/mempool/info,mbufs")
    assert {key: told[key] for key in ("name", "size", "cache_size", "elt_size", "header_size")} == {
        "name": "mbufs",
        "size": 300,
        "cache_size": 32,
        "elt_size": 128 + 128 + 2048,
        "header_size": 64,
    }
    assert (before["common_pool_count"], told["common_pool_count"]) == (300, 290)
    assert told["common_pool_count"] + told["total_cache_count"] == pool.available()
    assert told["mz_name"] == "MP_mbufs"
    assert told["mz_len"] == memory.lookup("MP_mbufs").size
    pool.put(taken)
    assert client.ask("/mempool/info,mbufs") == before


def test_what_is_in_caches_is_told(client: Client, memory: Memory) -> None:
    pool = mempool.create(memory, "elements", 100, element_size=64, cache_size=16)
    for number in (0, 3, 127):
        pool._cache(number)["length"] = 4
    told = client.ask("/mempool/info,elements")
    assert told["total_cache_count"] == 12
    assert told["common_pool_count"] == 88
    for number in (0, 3, 127):
        pool._cache(number)["length"] = 0


def test_a_pool_without_caches_has_nothing_in_them(client: Client, memory: Memory) -> None:
    mempool.create(memory, "elements", 10, element_size=64, cache_size=0)
    told = client.ask("/mempool/info,elements")
    assert (told["cache_size"], told["total_cache_count"], told["common_pool_count"]) == (0, 0, 10)


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        ({}, ("MP", "MC")),
        ({"single_producer": True}, ("SP", "MC")),
        ({"single_consumer": True}, ("MP", "SC")),
    ],
)
def test_what_is_told_of_a_ring(client: Client, memory: Memory, flags: dict[str, bool], kinds: tuple[str, str]) -> None:
    own = ring.create(memory, "own", 16, **flags)
    own.enqueue([1, 2, 3])
    told = client.ask("/ring/info,own")
    assert (told["producer_type"], told["consumer_type"]) == kinds
    assert (told["size"], told["mask"], told["capacity"], told["used_count"]) == (16, "0xf", 15, 3)
    assert (told["mz_name"], told["mz_flags"]) == ("RG_own", "0x0")


@pytest.mark.parametrize("what", ["mempool", "ring"])
def test_an_unknown_name_is_nothing_and_a_missing_one_is_null(client: Client, memory: Memory, what: str) -> None:
    create_pool(memory, "mbufs", 64)
    assert client.ask(f"/{what}/info,nope") == {}
    assert client.ask(f"/{what}/info") is None
