# SPDX-License-Identifier: BSD-3-Clause
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal.errors import ConfigError
from pollmode.l2fwd.options import Options
from pollmode.l2fwd.plan import make_plan


def test_ports_are_paired_in_their_order():
    plan = make_plan(Options(mask=0xF), [0, 1, 2, 3], [0, 1, 2, 3])
    assert plan.destinations == {0: 1, 1: 0, 2: 3, 3: 2}
    assert plan.lcores == {0: [0], 1: [1], 2: [2], 3: [3]}
    assert not plan.odd


def test_disabled_ports_are_left_out():
    plan = make_plan(Options(mask=0b1010), [0, 1, 2, 3], [4, 6])
    assert plan.destinations == {1: 3, 3: 1}
    assert plan.lcores == {4: [1], 6: [3]}


def test_the_odd_one_forwards_to_itself():
    plan = make_plan(Options(mask=0b111), [0, 1, 2], [0, 1, 2])
    assert plan.destinations == {0: 1, 1: 0, 2: 2}
    assert plan.odd


def test_an_lcore_takes_as_many_ports_as_it_may_before_the_next():
    plan = make_plan(Options(mask=0b11111, queues=2), [0, 1, 2, 3, 4], [1, 2, 7])
    assert plan.lcores == {1: [0, 1], 2: [2, 3], 7: [4]}
    assert [plan.lcore_of(port) for port in range(5)] == [1, 1, 2, 2, 7]


def test_portmap_crosses_pairs_and_leaves_out_what_it_does_not_name():
    plan = make_plan(Options(mask=0b11111, portmap=((0, 3), (1, 2))), [0, 1, 2, 3, 4], list(range(8)))
    assert plan.destinations == {0: 3, 3: 0, 1: 2, 2: 1}
    assert sorted(port for ports in plan.lcores.values() for port in ports) == [0, 1, 2, 3]


def test_portmap_may_map_a_port_to_itself_only_when_it_stands_alone():
    with pytest.raises(ConfigError, match="port 1 is used in other port pairs"):
        make_plan(Options(mask=3, portmap=((0, 1), (1, 1))), [0, 1], [0, 1])
    assert make_plan(Options(mask=1, portmap=((0, 0),)), [0], [0]).destinations == {0: 0}


@pytest.mark.parametrize(
    ("options", "ports", "lcores", "told"),
    [
        (Options(mask=1), [], [0], "No Ethernet ports - bye"),
        (Options(mask=0x5), [0, 1], [0, 1], r"Invalid portmask; possible \(0x3\)"),
        (Options(), [0, 1], [0, 1], r"All available ports are disabled\. Please set portmask\."),
        (Options(mask=3), [0, 1], [0], "Not enough cores: 2 ports, 1 lcores with -q 1"),
        (Options(mask=7, queues=2), [0, 1, 2], [0], "Not enough cores"),
        (Options(mask=1, portmap=((0, 1),)), [0, 1], [0, 1], "port 1 is not enabled in port mask"),
        (Options(mask=3, portmap=((0, 2),)), [0, 1], [0, 1], "port 2 is not present on the board"),
        (Options(mask=7, portmap=((0, 1), (1, 2))), [0, 1, 2], [0, 1, 2], "port 1 is used in other port pairs"),
    ],
)
def test_what_does_not_fit_is_told_in_dpdks_words(options, ports, lcores, told):
    with pytest.raises(ConfigError, match=told):
        make_plan(options, ports, lcores)


@given(mask=st.integers(1, (1 << 16) - 1), queues=st.integers(1, 15))
def test_every_port_is_polled_once_and_sent_to_once(mask, queues):
    plan = make_plan(Options(mask=mask, queues=queues), list(range(16)), list(range(16)))
    enabled = [port for port in range(16) if mask >> port & 1]
    assert sorted(plan.destinations) == enabled
    assert sorted(plan.destinations.values()) == enabled
    assert [port for ports in plan.lcores.values() for port in ports] == enabled
    assert all(len(ports) <= queues for ports in plan.lcores.values())
    assert all(plan.destinations[plan.destinations[port]] == port for port in enabled)
