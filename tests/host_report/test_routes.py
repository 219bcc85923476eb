# SPDX-License-Identifier: BSD-3-Clause
"""The interfaces of the routing table: bytes as the kernel sends them, and a namespace with routes of each sort."""

from __future__ import annotations

import struct

import pytest
from support.namespace import ip, veth_pair

from pollmode.host_report.routes import interfaces_in, routed_interfaces


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value.ljust((len(value) + 3) & ~3, b"\xa5")


def route(*attributes: bytes, table: int = 254, kind: int = 24) -> bytes:
    body = struct.pack("=8BI", 2, 24, 0, 0, table, 2, 0, 1, 0) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


DONE = struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0)


def out(interface: int) -> bytes:
    return attribute(4, struct.pack("=i", interface))


def test_routes_of_the_main_table_count() -> None:
    found: set[int] = set()
    answer = route(out(2)) + route(out(3), table=255) + route(out(4), attribute(15, struct.pack("=I", 1000)))
    answer += route(attribute(1, bytes((10, 0, 0, 0))), out(5), attribute(15, struct.pack("=I", 254)), table=252)
    assert interfaces_in(answer, found) is True
    assert found == {2, 5}
    assert interfaces_in(DONE, found) is False


def test_link_local_destinations_do_not_count() -> None:
    found: set[int] = set()
    interfaces_in(route(attribute(1, bytes((169, 254, 0, 0))), out(2)) + route(attribute(5, b"\0" * 4), out(3)), found)
    assert found == {3}


def test_each_way_of_a_route_counts() -> None:
    found: set[int] = set()
    gateway = attribute(5, bytes((192, 0, 2, 1)))
    hops = [struct.pack("=HBBi", 8 + len(gateway), 0, 0, interface) + gateway for interface in (6, 7)]
    interfaces_in(route(attribute(9, b"".join(hops))), found)
    assert found == {6, 7}


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0" * 15, struct.pack("=IHHII", 0, 24, 0, 1, 0), struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -95)],
    ids=["empty", "short", "no-length", "error"],
)
def test_an_answer_that_says_nothing_is_the_last_or_nothing(answer: bytes) -> None:
    found: set[int] = set()
    assert interfaces_in(answer, found) is (len(answer) < 16)
    assert found == set()


def test_the_kernels_own_answer() -> None:
    with veth_pair():
        assert routed_interfaces() == frozenset()
        ip("address add 192.0.2.1/24 dev va")
        assert routed_interfaces() == {"va"}
        ip("address add 198.51.100.1/24 dev vb")
        ip("route add default nexthop via 192.0.2.2 nexthop via 198.51.100.2")
        ip("route del 192.0.2.0/24 dev va")
        ip("route del 198.51.100.0/24 dev vb")
        assert routed_interfaces() == {"va", "vb"}
        ip("route del default")
        ip("route add 169.254.0.0/16 dev va")
        ip("route add unreachable 203.0.113.0/24")
        assert routed_interfaces() == frozenset()
