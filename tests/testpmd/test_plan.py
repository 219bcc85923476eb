# SPDX-License-Identifier: BSD-3-Clause
"""Who forwards what: ports, cores, topologies and the sharing of streams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal.errors import ConfigError
from pollmode.testpmd.options import Options
from pollmode.testpmd.plan import Plan, check_mode, forwarding_cores, forwarding_ports, plan_streams, transmit_port


def pairs(plan: Plan) -> list[tuple[int, int, int, int]]:
    return [(stream.rx_port, stream.rx_queue, stream.tx_port, stream.tx_queue) for stream in plan.streams]


@pytest.mark.parametrize(
    ("topology", "count", "wanted"),
    [
        ("paired", 4, [1, 0, 3, 2]),
        ("paired", 3, [1, 0, 2]),
        ("chained", 3, [1, 2, 0]),
        ("loop", 2, [0, 1]),
    ],
)
def test_topologies(topology: str, count: int, wanted: list[int]) -> None:
    assert [transmit_port(topology, place, count) for place in range(count)] == wanted


def test_two_ports_with_two_queues_go_queue_by_queue() -> None:
    plan = plan_streams(Options(rxq=2, txq=2), (0, 1), (1,))
    assert pairs(plan) == [(0, 0, 1, 0), (1, 0, 0, 0), (0, 1, 1, 1), (1, 1, 0, 1)]
    assert [core.lcore for core in plan.cores] == [1]


def test_the_fewer_queues_of_a_direction_count() -> None:
    assert len(plan_streams(Options(rxq=4, txq=2), (0, 1), (1,)).streams) == 4
    assert len(plan_streams(Options(rxq=0, txq=1), (0, 1), (1,)).streams) == 2


def test_answers_leave_by_the_port_they_came_in() -> None:
    assert pairs(plan_streams(Options(), (0, 1), (1,), to_sender=True)) == [(0, 0, 0, 0), (1, 0, 1, 0)]


def test_peers_are_testpmds_or_the_users() -> None:
    plan = plan_streams(Options(eth_peers={0: b"\x02\0\0\0\0\x63"}), (0, 1), (1,))
    assert [stream.peer.hex(":") for stream in plan.streams] == ["02:00:00:00:00:01", "02:00:00:00:00:63"]


@given(ports=st.integers(1, 8), queues=st.integers(1, 4), cores=st.integers(1, 6))
def test_every_stream_has_one_core_and_loads_differ_by_one(ports: int, queues: int, cores: int) -> None:
    plan = plan_streams(Options(rxq=queues, txq=queues), range(ports), range(cores))
    loads = [len(core.streams) for core in plan.cores]
    assert sum(loads) == ports * queues
    assert len(set(pairs(plan))) == ports * queues
    assert min(loads) >= 1
    assert max(loads) - min(loads) <= 1
    assert loads == sorted(loads)  # what is left over goes to the last cores


def test_without_ports_there_are_no_streams() -> None:
    assert plan_streams(Options(), (), (1,)) == Plan((), ())


def test_all_ports_forward_unless_said_otherwise() -> None:
    assert forwarding_ports(Options(), (0, 1, 2)) == (0, 1, 2)
    assert forwarding_ports(Options(ports=(2, 0)), (0, 1, 2)) == (2, 0)
    assert forwarding_ports(Options(nb_ports=2), (0, 1, 2)) == (0, 1)


@pytest.mark.parametrize("options", [Options(ports=(3,)), Options(nb_ports=3), Options(nb_ports=0)])
def test_a_port_that_is_not_there_is_named(options: Options) -> None:
    with pytest.raises(ConfigError, match="Invalid port"):
        forwarding_ports(options, (0, 1))


def test_workers_forward_and_a_lone_main_lcore_does() -> None:
    assert forwarding_cores(Options(), 0, (1, 2)) == (1,)
    assert forwarding_cores(Options(nb_cores=2), 0, (1, 2)) == (1, 2)
    assert forwarding_cores(Options(coremask=4), 0, (1, 2)) == (2,)
    assert forwarding_cores(Options(), 0, ()) == (0,)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (Options(nb_cores=3), "nb-cores should be > 0 and <= 2"),
        (Options(nb_cores=0), "nb-cores should be > 0 and <= 2"),
        (Options(coremask=1), "lcore 0 is the main lcore and does not forward"),
        (Options(coremask=8), "lcore 3 is not enabled"),
        (Options(coremask=0), "Invalid fwd core mask"),
    ],
)
def test_a_core_that_cannot_forward_is_named(options: Options, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        forwarding_cores(options, 0, (1, 2))
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("mode", "rxq", "txq", "told"),
    [
        ("io", 0, 1, "Either rxq or txq are 0, cannot use io fwd mode"),
        ("mac", 1, 0, "Either rxq or txq are 0, cannot use mac fwd mode"),
        ("rxonly", 0, 1, "rxq are 0, cannot use rxonly fwd mode"),
        ("txonly", 1, 0, "txq are 0, cannot use txonly fwd mode"),
    ],
)
def test_a_mode_without_the_queues_it_needs_is_refused(mode: str, rxq: int, txq: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_mode(Options(forward_mode=mode, rxq=rxq, txq=txq))
    check_mode(Options(forward_mode=mode, rxq=1, txq=1))


def test_a_mode_of_one_direction_needs_no_queues_of_the_other() -> None:
    check_mode(Options(forward_mode="rxonly", rxq=1, txq=0))
    check_mode(Options(forward_mode="txonly", rxq=0, txq=1))
