# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollmode.eal.jit import INTERPRETED, compiled
from pollmode.vhost.memory import (
    ACCESS_BOTH,
    ACCESS_READ,
    ACCESS_WRITE,
    MAX_REGIONS,
    REGIONS,
    RangeTable,
    Region,
    RegionsRecord,
    find,
    guest_address,
    overlap,
    reach,
    translate,
    user_to_host,
)

EXAMPLES = 50 if INTERPRETED else 300
LOW = Region(0x1000, 0x2000, 0x7000_1000, 0x5000_0000)
HIGH = Region(0x3000, 0x1000, 0x7000_3000, 0x9000_0000)  # follows LOW for the guest, not here
FAR = Region((1 << 63) - 0x1000, 0x1000, 0x100, 0x6000_0000)


@compiled
def _translate(regions, address, length):
    return translate(regions, address, length)


def test_record_is_one_cache_line_and_aligned():
    assert REGIONS.itemsize == 64
    assert RegionsRecord().address % 64 == 0


def test_record_without_regions_translates_nothing():
    record = RegionsRecord()
    assert [_translate(record.address, address, 1) for address in (0, 1, -1, 0x1000)] == [0] * 4


@pytest.mark.parametrize(
    ("address", "length", "found"),
    [
        (0x1000, 1, 0x5000_0000),
        (0x1000, 0x2000, 0x5000_0000),
        (0x2FFF, 1, 0x5000_1FFF),
        (0x3000, 0x1000, 0x9000_0000),
        ((1 << 63) - 1, 1, 0x6000_0FFF),
        (0xFFF, 1, 0),
        (0x4000, 1, 0),
        (0x1000, -1, 0),
        (-1, 1, 0),
        (-(1 << 63), 1, 0),
        (0x1000, (1 << 63) - 1, 0),
        (0x2FFF, (1 << 32) - 1, 0),
    ],
)
def test_translate_returns_our_address_or_zero(address, length, found):
    record = RegionsRecord([LOW, HIGH, FAR])
    assert _translate(record.address, address, length) == found


def test_cve_2018_1059_range_over_two_regions_is_not_translated_though_the_guest_sees_it_whole():
    record = RegionsRecord([LOW, HIGH])
    assert _translate(record.address, 0x2FFF, 2) == 0
    assert _translate(record.address, 0x1000, 0x3000) == 0


def test_cve_2020_10725_length_zero_is_translated_only_inside_a_region():
    record = RegionsRecord([LOW])
    assert _translate(record.address, 0x1000, 0) == 0x5000_0000
    assert _translate(record.address, 0x3000, 0) == 0
    assert _translate(record.address, 0xDEAD_0000, 0) == 0


def test_hit_in_another_region_is_remembered_and_the_first_region_still_found():
    record = RegionsRecord([LOW, HIGH])
    for address, found in ((0x3000, 0x9000_0000), (0x3010, 0x9000_0010), (0x1000, 0x5000_0000)):
        assert _translate(record.address, address, 16) == found


def test_record_takes_eight_regions_and_no_more():
    regions = [Region(index << 20, 0x1000, 0, 0x10_0000 + (index << 24)) for index in range(MAX_REGIONS)]
    record = RegionsRecord(regions)
    assert [_translate(record.address, r.guest_address + 8, 8) for r in regions] == [
        r.host_address + 8 for r in regions
    ]
    with pytest.raises(ValueError, match="at most 8"):
        record.fill([*regions, FAR])


def test_filling_again_forgets_the_regions_before():
    record = RegionsRecord([LOW, HIGH])
    assert _translate(record.address, 0x3000, 1)
    record.fill([LOW])
    assert _translate(record.address, 0x3000, 1) == 0
    record.fill([])
    assert _translate(record.address, 0x1000, 1) == 0


starts = st.sampled_from([0, 0x1000, 0x2000, 0x10_0000, 1 << 40, (1 << 62)])
words = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), starts.flatmap(lambda start: st.integers(start - 3, start + 0x1003))
).map(lambda word: max(word, -(1 << 63)))


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(starts, unique=True, min_size=1, max_size=4),
    st.lists(
        st.tuples(words, st.one_of(st.integers(0, 0x1001), st.integers(0, (1 << 32) - 1))), min_size=1, max_size=6
    ),
)
def test_translation_agrees_with_arithmetic_whatever_was_asked_before(places, questions):
    regions = [Region(start, 0x1000, start, 0x7000_0000_0000 + index * 0x10_0000) for index, start in enumerate(places)]
    record = RegionsRecord(regions)
    for address, length in questions:
        expected = 0
        for region in regions:
            offset = address - region.guest_address
            if 0 <= offset < region.size and offset + length <= region.size:
                expected = region.host_address + offset
        assert _translate(record.address, address, length) == expected


def test_user_addresses_are_translated_with_their_full_length():
    regions = [LOW, HIGH]
    assert user_to_host(regions, 0x7000_1000, 0x2000) == 0x5000_0000
    assert user_to_host(regions, 0x7000_1000, 0x2001) == 0
    assert user_to_host(regions, 0x7000_3FFF, 1) == 0x9000_0FFF
    assert user_to_host(regions, 0x7000_4000, 1) == 0
    assert user_to_host(regions, 0x7000_1000, 0) == 0


@pytest.mark.parametrize(
    ("ranges", "pair"),
    [
        ([], None),
        ([(0, 10)], None),
        ([(0, 10), (10, 5)], None),
        ([(10, 5), (0, 11)], (1, 0)),
        ([(5, 1), (0, 3), (0, 1)], (2, 1)),
    ],
)
def test_overlap_names_the_two_ranges(ranges, pair):
    assert overlap(ranges) == pair


def test_record_lies_where_its_address_says():
    record = RegionsRecord([LOW])
    words = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_longlong * 4).from_address(record.address))
    assert list(words) == [LOW.guest_address, LOW.size, LOW.host_address - LOW.guest_address, ACCESS_BOTH]


@compiled
def _find(table, address, access):
    return find(table, address, access)


@compiled
def _reach(regions, address):
    return reach(regions, address)


@compiled
def _guest(table, host):
    return guest_address(table, host)


def test_find_looks_at_what_may_be_done_there():
    table = RangeTable(4)
    table.fill([(0x3000, 0x1000, 0, ACCESS_WRITE), (0x1000, 0x1000, 0, ACCESS_READ), (0x2000, 0x800, 0, ACCESS_BOTH)])
    places = (0x1000, 0x27FF, 0x2800, 0x3FFF, 0x4000, 0xFFF, -1)
    for access, there in (
        (0, [0x1000, 0x27FF, 0x3FFF]),
        (ACCESS_READ, [0x1000, 0x27FF]),
        (ACCESS_WRITE, [0x27FF, 0x3FFF]),
        (ACCESS_BOTH, [0x27FF]),
    ):
        assert [place for place in places if _find(table.address, place, access)] == there


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 100])
def test_find_among_many_ranges(count):
    table = RangeTable(100)
    table.fill([(0x1000 * number, 0x800, number, ACCESS_BOTH) for number in reversed(range(count))])
    for number in range(count + 1):
        for offset, there in ((0, True), (0x7FF, True), (0x800, False), (0xFFF, False)):
            found = _find(table.address, 0x1000 * number + offset, ACCESS_READ)
            assert (found != 0) == (there and number < count)
            if found:
                assert found == table.address + 32 * (number + 1)


def test_reach_tells_how_much_follows_and_remembers_the_range():
    record = RegionsRecord([LOW, HIGH])
    assert (_reach(record.address, 0x3010), _reach(record.address, 0x4000), _reach(record.address, -1)) == (0xFF0, 0, 0)
    assert _translate(record.address, 0x3000, 16) == 0x9000_0000
    record.use(record.table, ACCESS_READ)
    assert _reach(record.address, 0x2FFF) == 1


def test_guest_address_is_the_way_back():
    table = RegionsRecord([LOW, HIGH]).table
    for region in (LOW, HIGH):
        assert _guest(table.address, region.host_address) == region.guest_address
        assert _guest(table.address, region.host_address + region.size - 1) == region.guest_address + region.size - 1
        assert _guest(table.address, region.host_address + region.size) == -1
        assert _guest(table.address, region.host_address - 1) == -1
    assert _guest(table.address, 0) == -1
