# SPDX-License-Identifier: BSD-3-Clause
from hypothesis import given
from hypothesis import strategies as st

from pollmode.ethdev import DescriptorLimits, Link
from pollmode.l2fwd.ports import LINK_CHECKS, await_links, fit


class FakePort:
    """A port whose link comes up after it was looked at some times."""

    def __init__(self, number: int, looks: int) -> None:
        self.id = number
        self._left = looks

    def link(self) -> Link:
        self._left -= 1
        return Link(up=self._left < 0, speed=10000)


def test_links_that_are_up_are_not_waited_for(capsys):
    waits: list[float] = []
    await_links([FakePort(0, 0), FakePort(1, 0)], lambda seconds: bool(waits.append(seconds)))
    assert waits == []
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "",
        "Checking link statusdone",
        "Port 0 Link up at 10 Gbps FDX Fixed",
        "Port 1 Link up at 10 Gbps FDX Fixed",
    ]


def test_a_link_that_comes_is_waited_for(capsys):
    waits: list[float] = []
    await_links([FakePort(0, 3)], lambda seconds: bool(waits.append(seconds)))
    assert waits == [0.1] * 3
    assert "Checking link status...done\nPort 0 Link up" in capsys.readouterr().out


def test_a_link_that_does_not_come_is_given_up_after_nine_seconds(capsys):
    waits: list[float] = []
    await_links([FakePort(0, 10**6)], lambda seconds: bool(waits.append(seconds)))
    assert len(waits) == LINK_CHECKS == 90
    assert capsys.readouterr().out.endswith("done\nPort 0 Link down\n")


def test_a_signal_ends_the_wait(capsys):
    await_links([FakePort(0, 10**6)], lambda seconds: True)
    assert capsys.readouterr().out.endswith("statusdone\nPort 0 Link down\n")


def test_rings_are_as_large_as_wanted_where_the_device_can():
    assert fit(DescriptorLimits(), 1024) == 1024
    assert fit(DescriptorLimits(maximum=256), 1024) == 256
    assert fit(DescriptorLimits(minimum=2048), 1024) == 2048
    assert fit(DescriptorLimits(maximum=0), 1024) == 1024
    assert fit(DescriptorLimits(align=1000), 1024) == 2000
    assert fit(DescriptorLimits(align=1000, maximum=1500), 1024) == 1000


@given(
    minimum=st.integers(0, 64),
    steps=st.integers(1, 64),
    align=st.sampled_from([1, 2, 8, 32]),
    wanted=st.integers(1, 9999),
)
def test_rings_always_fit_the_device(minimum, steps, align, wanted):
    limits = DescriptorLimits(maximum=64 + steps * align, minimum=minimum // align * align, align=align)
    count = fit(limits, wanted)
    assert max(limits.minimum, 1) <= count <= limits.maximum
    assert count % align == 0
